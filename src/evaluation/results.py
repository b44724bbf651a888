"""Results folders, ours and EPyMARL's: finished runs as records, all others named with the reason."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .figures import Curve, as_number

RUN_FILES = ("run.json", "config.json", "metrics.json")
PROCESS_FILE = "process.json"  # what `mf-pmd compare` measured of the process that it started
LONGEST_REASON = 200  # characters
NOT_RUNS = {"models", "_sources", "tb_logs", "wandb"}
PRESENTATION = {
    "local_results_path",
    "progress",
    "log_interval",
    "use_tensorboard",
    "use_wandb",
    "save_model",
    "save_model_interval",
    "label",
    "hypergroup",
    "repeat_id",
    "seed",
    "env_args.seed",
}
"""Settings that tell runs of the same experiment apart, or say where results go: no other experiment."""
ENDS = {"FAILED": "crashed", "INTERRUPTED": "was interrupted", "RUNNING": "did not end, or is still running"}


class _Unusable(Exception):
    """Why a folder is no finished run."""


@dataclass(frozen=True)
class Skipped:
    """A run's folder that cannot be used, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: sacred's.
        config: all settings.
        metrics: key -> (environment steps [P], values [P]).
        seconds: wall time from sacred's start to its stop: training and tests.
        stopped: when, as sacred has it.
        process: what `mf-pmd compare` measured of it, see ``compare.run_all``; else empty.
        host: sacred's record of the machine.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Curve]
    seconds: float
    stopped: str
    process: dict[str, Any]
    host: dict[str, Any]

    @property
    def algorithm(self) -> str:
        """As the algorithm's yaml names itself."""
        return str(self.config.get("name", "unnamed"))

    @property
    def game(self) -> str:
        """As the environment's yaml names it; its ``key`` may be the path of a file."""
        env_args = self.config.get("env_args", {})
        return str(env_args.get("map_name") or env_args.get("key") or self.config.get("env"))

    @property
    def seed(self) -> int | None:
        """Of every generator."""
        return self.config.get("seed")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that make the experiment, see ``experiment_settings``."""
        return experiment_settings(self.config)

    @property
    def last_test(self) -> int:
        """Environment steps before the last test."""
        steps = [curve[0][-1] for key, curve in self.metrics.items() if key.startswith("test_")]
        return int(max(steps))

    def final(self, key: str) -> float | None:
        """Last value of a metric, NaN if it was not finite; None if it was never logged."""
        curve = self.metrics.get(key)
        return None if curve is None else float(curve[1][-1])


def experiment_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of all settings but those of ``PRESENTATION``, as JSON would read them back."""
    flat = dict(_flatten(json.loads(json.dumps(config))))
    return {key: value for key, value in flat.items() if key not in PRESENTATION and key[:6] != "wandb_"}


def _flatten(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def read_results(root: str | Path) -> tuple[list[Run], list[Skipped]]:
    """Every run below a folder, in the order of their paths.

    Args:
        root: a results folder of ours or of EPyMARL's, or any folder above or below its ``sacred``.

    Returns:
        The finished runs; and the folders that are empty, half-written, of crashed runs, or of runs that
        trained nothing.

    Raises:
        UserError: no such folder, or no run in it.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; name a results folder, the one that holds `sacred`")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"{root}: may not be read; name another results folder, or change its permissions")
    runs, skipped = scan(root)
    if not runs and not skipped:
        raise UserError(f"{root}: holds no run, that is, no folder sacred/ALGORITHM/GAME/NUMBER")
    return runs, skipped


def scan(root: Path) -> tuple[list[Run], list[Skipped]]:
    """``read_results`` of a folder that may be empty, or not there."""
    runs: list[Run] = []
    skipped: list[Skipped] = []
    for folder in find_run_folders(root):
        try:
            runs.append(_read_run(folder))
        except _Unusable as reason:
            skipped.append(Skipped(folder, str(reason)))
    return runs, skipped


def find_run_folders(root: Path) -> list[Path]:
    """Folders that sacred made for a run: with one of its files, or numbered and without subfolders."""
    found = []
    for path, folders, files in os.walk(root):
        if not files or not set(files) & set(RUN_FILES):
            folders[:] = sorted(set(folders) - NOT_RUNS)
            if folders or not Path(path).name.isdigit():
                continue
        folders[:] = []
        found.append(Path(path))
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Run 10 comes after run 9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in path.parts]


def _read_run(folder: Path) -> Run:
    if not any(folder.iterdir()):
        raise _Unusable("empty")
    run = _read_json(folder / "run.json")
    status = run.get("status")
    if status != "COMPLETED":
        error = str((run.get("fail_trace") or [""])[-1]).strip()
        detail = f": {_first_line(error)}" if status == "FAILED" and error else ""
        raise _Unusable(f"{ENDS.get(str(status), f'has status {status}')}{detail}")
    config = _read_json(folder / "config.json")
    if not isinstance(config.get("env_args", {}), dict):
        raise _Unusable(f"config.json: env_args={config['env_args']} names no game")
    if config.get("evaluate") or config.get("save_replay"):
        raise _Unusable("evaluates a checkpoint, trains nothing")
    metrics = _read_curves(folder / "metrics.json")
    if not any(key.startswith("test_") for key in metrics):
        raise _Unusable("no test in metrics.json")
    process = _read_json(folder / PROCESS_FILE) if (folder / PROCESS_FILE).is_file() else {}
    seconds = _seconds(run.get("start_time"), run.get("stop_time"))
    return Run(folder, config, metrics, seconds, str(run.get("stop_time")), process, run.get("host") or {})


def _first_line(text: str) -> str:
    """The first line, and no more of it than a footnote holds: an error may print whole tensors."""
    return textwrap.shorten(text.splitlines()[0], LONGEST_REASON, placeholder=" ...")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _Unusable(f"half-written: no {file.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _Unusable(f"{file.name} cannot be read ({error})") from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        raise _Unusable(f"half-written: {file.name} is {'cut off' if text.strip() else 'empty'}") from None
    if not isinstance(value, dict):
        raise _Unusable(f"{file.name} is not one of sacred's")
    return value


def _read_curves(file: Path) -> dict[str, Curve]:
    curves = {}
    for key, series in _read_json(file).items():
        try:
            steps = np.array([as_number(step) for step in series["steps"]])
            values = np.array([as_number(value) for value in series["values"]])
        except (KeyError, TypeError):
            raise _Unusable(f"{file.name}: {key} is not a series of sacred's") from None
        if len(steps) != len(values) or not np.isfinite(steps).all():
            raise _Unusable(f"half-written: {file.name}, {key} has {len(steps)} steps, {len(values)} values")
        if len(steps):
            curves[key] = (steps.astype(np.int64), values)
    return curves


def _seconds(start: Any, stop: Any) -> float:
    try:
        return (datetime.fromisoformat(stop) - datetime.fromisoformat(start)).total_seconds()
    except (TypeError, ValueError):
        return float("nan")


def return_curve(run: Run) -> tuple[Curve, str] | None:
    """Test returns of a run and what they are: 'mean over agents', or 'sum over agents'.

    EPyMARL's own runners log a team's return (of ``common_reward``, summed over agents by default), or the
    agents' one by one with their total. They become means over agents where the number of agents is known.
    """
    metrics, config = run.metrics, run.config
    agents = [curve for key, curve in metrics.items() if _is_agent_return(key)]
    n_agents = len(agents) or config.get("env_args", {}).get("n_agents")
    if "test_return_mean" in metrics:
        curve = metrics["test_return_mean"]
        team = config.get("runner") != "population" and config.get("common_reward")
        total = bool(team and config.get("reward_scalarisation", "sum") == "sum")
    elif "test_total_return_mean" in metrics:
        curve, total = metrics["test_total_return_mean"], True
    elif agents and len({len(curve[0]) for curve in agents}) == 1:
        curve, total = (agents[0][0], _mean([values for _, values in agents])), False
    else:
        return None
    if total and n_agents:
        return (curve[0], curve[1] / n_agents), "mean over agents"
    return curve, "sum over agents" if total else "mean over agents"


def _is_agent_return(key: str) -> bool:
    return key.startswith("test_agent_") and key.endswith("_return_mean")


def _mean(values: list[NDArray[Any]]) -> NDArray[Any]:
    return np.mean(values, axis=0)
