"""Weights & Biases, kept at arm's length: no failure of it may stop a run."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


class WandbSink:
    """Sends metrics to one W&B run, all of one step together.

    The first exception is reported once and ends the sending; sacred's ``metrics.json`` holds every metric
    whatever happens here.

    Args:
        config: the configuration, plain values.
        directory: where W&B keeps its files.
        console: receives the warning.
    """

    def __init__(self, config: dict[str, Any], directory: Path, console: logging.Logger):
        self._console = console
        self._run: Any = None
        self._step = -1
        self._row: dict[str, float] = {}
        self._run = self._guard(lambda: self._start(config, directory))

    def log(self, key: str, value: float, t: int) -> None:
        """Log a scalar at environment step `t`."""
        if t != self._step:
            self._send()
            self._step = t
        self._row[key] = value

    def save(self, folder: Path) -> None:
        """Copy a folder into the files of the run."""
        if self._run is not None:
            target = Path(self._run.dir) / "models" / folder.parent.name / folder.name
            self._guard(lambda: shutil.copytree(folder, target, dirs_exist_ok=True))

    def finish(self) -> None:
        """Send what is left and close the run."""
        self._send()
        if self._run is not None:
            self._guard(self._run.finish)

    def _start(self, config: dict[str, Any], directory: Path) -> Any:
        if config["wandb_mode"] == "offline":
            # an offline run of wandb still reports its own errors over the network, unless told not to
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        directory.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            entity=config["wandb_team"],
            project=config["wandb_project"],
            config=config,
            group=group_name(config),
            mode=config["wandb_mode"],
            dir=str(directory),
            settings=wandb.Settings(silent=True),
        )
        self._console.info("W&B run %s (%s), group %s", run.id, config["wandb_mode"], group_name(config))
        return run

    def _send(self) -> None:
        row, step = self._row, self._step
        self._row = {}
        if row and self._run is not None:
            self._guard(lambda: self._run.log({**row, "t_env": step}, step=step))

    def _guard(self, action: Callable[[], Any]) -> Any:
        """Do it; after a failure warn, and do no more."""
        try:
            return action()
        except Exception as error:
            self._run = None
            self._console.warning(
                "W&B failed and is switched off for this run (%s: %s); metrics.json still gets every metric",
                type(error).__name__,
                error,
            )
            return None


def group_name(config: dict[str, Any]) -> str:
    """``algorithm_game_hash``: the same for runs that differ by their seed alone."""
    settings = copy.deepcopy(config)
    settings.pop("seed", None)
    settings["env_args"].pop("seed", None)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    game = config["env_args"].get("map_name") or config["env_args"].get("key") or config["env"]
    return f"{config['name']}_{game}_{digest}"
