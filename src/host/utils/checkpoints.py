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
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
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


def load_checkpoint(folder: Path, load_models: Callable[[str], None]) -> dict[str, Any]:
    """Restore the learner from a checkpoint and return the host's part.

    Raises:
        UserError: a file of it is missing or damaged, or the learner refuses it.
    """
    try:
        host_state = torch.load(folder / HOST_FILE, map_location="cpu", weights_only=True)
        load_models(str(folder))
    except UNREADABLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"checkpoint_path={folder}: not a whole checkpoint of these settings ({reason[0]}); "
            "take another one, or the settings it was trained with"
        ) from error
    return host_state
