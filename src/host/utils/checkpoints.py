"""Checkpoints: folders ``models/TOKEN/T_ENV`` that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch

from ...errors import UserError

HOST_FILE = "host.th"
CONFIG_FILE = "config.json"
UNREADABLE = (OSError, EOFError, KeyError, RuntimeError, ValueError, UnpicklingError, BadZipFile)
WHAT_TO_GIVE = "give a run's models/TOKEN or models/TOKEN/T_ENV"


def save_checkpoint(
    folder: Path,
    *,
    save_models: Callable[[str], None],
    host_state: dict[str, Any],
    config: dict[str, Any],
) -> None:
    """Write a checkpoint into a temporary folder beside `folder`, then rename it.

    Args:
        folder: ``models/TOKEN/T_ENV``; an older checkpoint there is replaced.
        save_models: the learner's, which is given the path.
        host_state: the host's part: counters, random states, runner, buffer.
        config: the configuration of the run, plain values.

    Raises:
        UserError: the disk is full, say; nothing of the new checkpoint is left.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write(folder, save_models=save_models, host_state=host_state, config=config)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "writing failed"
        raise UserError(
            f"{folder}: the checkpoint cannot be written ({reason}); make room there, name another "
            "local_results_path, or set save_model=False"
        ) from error


def _write(
    folder: Path, *, save_models: Callable[[str], None], host_state: dict[str, Any], config: dict[str, Any]
) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_models(str(partial))
        torch.save(host_state, partial / HOST_FILE)
        (partial / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def find_checkpoint(path: str, load_step: int = 0) -> Path:
    """The folder of a checkpoint.

    Args:
        path: a checkpoint, or a folder of checkpoints named by their environment steps.
        load_step: the checkpoint nearest to this many steps; 0 is the newest.

    Raises:
        UserError: there is none.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"checkpoint_path={path}: no such folder; {WHAT_TO_GIVE}")
    if (folder / HOST_FILE).is_file():
        return folder
    steps = [int(child.name) for child in folder.iterdir() if child.name.isdigit() and child.is_dir()]
    if not steps:
        raise UserError(f"checkpoint_path={path}: no checkpoint there; {WHAT_TO_GIVE}")
    step = min(steps, key=lambda step: abs(step - load_step)) if load_step else max(steps)
    return folder / str(step)


def load_checkpoint(folder: Path, load_models: Callable[[str], None], *, name: str) -> dict[str, Any]:
    """Restore the learner from a checkpoint and return the host's part.

    Args:
        folder: as :func:`find_checkpoint` gives it.
        load_models: the learner's, which is given the path.
        name: of the algorithm here, which must be the checkpoint's.

    Raises:
        UserError: it is another algorithm's, a file of it is missing or damaged, or the learner refuses it.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if config["name"] != name:
            raise UserError(
                f"checkpoint_path={folder}: name is {config['name']} there and {name} here; "
                f"take a checkpoint of {name}, or --config={config['name']}"
            )
        host_state = torch.load(folder / HOST_FILE, map_location="cpu", weights_only=True)
        load_models(str(folder))
    except UNREADABLE as error:
        raise UserError(f"checkpoint_path={folder}: {_diagnosis(folder, error)}") from error
    return host_state


def _diagnosis(folder: Path, error: Exception) -> str:
    """Which file of a checkpoint is to blame, and the remedy."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"{Path(error.filename).name} is missing; take another checkpoint"
    damaged = [path.name for path in (folder / CONFIG_FILE, *sorted(folder.glob("*.th"))) if _damaged(path)]
    if damaged:
        return f"{damaged[0]} is damaged; take another checkpoint"
    return f"it was made with other settings; take another one, or the settings in its {CONFIG_FILE}"


def _damaged(path: Path) -> bool:
    try:
        if path.name == CONFIG_FILE:
            json.loads(path.read_text(encoding="utf-8"))["name"]
        else:
            torch.load(path, map_location="cpu", weights_only=True)
    except (*UNREADABLE, TypeError):
        return True
    return False
