"""A comparison on disk: table.md, table.csv and the pictures, with what a reader has to know beside them."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from ..errors import UserError
from . import plots, tables
from .results import Run, Skipped
from .tables import Group

MOST_LISTED = 20  # skipped folders, one by one


def require_writable(folder: Path, option: str) -> None:
    """Make a folder and try it.

    Raises:
        UserError: it cannot be written to; names the option that gave it.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{option}={folder}: cannot be written to ({error.strerror}); name another folder"
        ) from error


def write_report(groups: Sequence[Group], notes: Sequence[str], title: str, folder: Path) -> str:
    """Write the table and the pictures into an existing folder.

    Returns:
        The table, as table.md has it.
    """
    text = tables.markdown(groups, notes, title)
    (folder / "table.md").write_text(text, encoding="utf-8")
    (folder / "table.csv").write_text(tables.as_csv(groups), encoding="utf-8")
    if any(group.runs for group in groups):
        plots.draw(groups, folder)
    return text


def skipped_notes(skipped: Sequence[Skipped], root: Path) -> list[str]:
    """One note on all folders that were skipped, each with its reason."""
    if not skipped:
        return []
    named = [f"`{_below(found.folder, root)}` ({found.reason})" for found in skipped[:MOST_LISTED]]
    more = f"; and {len(skipped) - MOST_LISTED} more" if len(skipped) > MOST_LISTED else ""
    return [f"Folders skipped: {len(skipped)}. {'; '.join(named)}{more}."]


def _below(folder: Path, root: Path) -> Path:
    return folder.relative_to(root) if folder.is_relative_to(root) else folder


def machine_note(runs: Sequence[Run]) -> list[str]:
    """The machines that the runs ran on, as far as their folders tell."""
    if not runs:
        return []
    machines = Counter(str(run.process.get("machine") or _host(run)) for run in runs)
    if len(machines) == 1:
        return [f"Machine: {next(iter(machines))}."]
    counted = (f"{name} ({count} run{'s' * (count > 1)})" for name, count in machines.items())
    return [f"Machines: {'; '.join(counted)}."]


def _host(run: Run) -> str:
    """What sacred kept of the machine; what it did not keep is left out."""
    host = run.host
    python = host.get("python_version")
    known = [host.get("cpu"), (host.get("os") or [None])[0], python and f"Python {python}"]
    return ", ".join(str(part) for part in known if part) or "not recorded"


def describe_machine() -> str:
    """This machine: processor, cores, graphics cards, torch. Without torch: it would fill the memory."""
    return f"{_cpu_model()}, {os.cpu_count()} cores, {_gpus()}, torch {metadata.version('torch')}"


def _gpus() -> str:
    """What NVIDIA's driver says there is."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "no GPU"
    return " and ".join(answer.split("\n")[:-1]) or "no GPU"


def _cpu_model() -> str:
    """The processor's name, as Linux or else as Python knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
