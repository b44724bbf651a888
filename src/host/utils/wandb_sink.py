"""Weights & Biases, kept at arm's length: no failure of it may stop a run."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .exploitability_summary import bracket_lines, ranking, summarise

Draw = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""A runner's artifacts -> name -> picture, [height, width, 3] of bytes."""

BRACKET = "exploitability_bracket"
SMALL_CHART = 20  # tests; up to here the chart is sent anew after each
CHART_GROWTH = 1.05  # and later whenever it is this much longer, so that all of them together stay small
LONGEST_TAG = 64  # characters
NOT_SETTINGS = (
    "seed",
    "repeat_id",
    "evaluate",
    "save_replay",
    "render",
    "checkpoint_path",
    "load_step",
    "local_results_path",
    "progress",
)
"""What runs of one group may differ by."""


class WandbSink:
    """Sends metrics, pictures and checkpoints to one W&B run; all metrics of one step together.

    The first exception is reported once and ends the sending; sacred's ``metrics.json`` holds every metric
    whatever happens here. A picture that cannot be drawn ends the pictures alone.

    Args:
        config: the configuration, plain values.
        directory: where W&B keeps its files.
        console: receives the warning.
        draw: makes pictures of a runner's artifacts; None for none.
    """

    def __init__(
        self, config: dict[str, Any], directory: Path, console: logging.Logger, draw: Draw | None = None
    ):
        self._console = console
        self._draw = draw
        self._run: Any = None
        self._step = -1
        self._row: dict[str, Any] = {}
        self._curves: dict[str, dict[int, float]] = {}
        self._tests = self._charted = 0
        self._best_saved = math.inf
        self._name = run_name(config)
        self._about = {"algorithm": config["name"], "game": game_of(config), "seed": config["seed"]}
        self._run = self._guard(lambda: self._start(config, directory))

    def log(self, key: str, value: float, t: int) -> None:
        """Log a scalar at environment step `t`."""
        self._turn_to(t)
        self._row[key] = value
        if "exploitability" in key:
            self._curves.setdefault(key, {})[t] = value

    def log_test(self, artifacts: Callable[[], Mapping[str, Any]], t: int) -> None:
        """What a test that ended at environment step `t` adds to its numbers: pictures and the bracket.

        Args:
            artifacts: gives the runner's arrays; not called if nothing is drawn.
            t: environment steps.
        """
        if self._run is None:
            return
        self._turn_to(t)
        self._tests += 1
        if self._tests <= SMALL_CHART or self._tests >= CHART_GROWTH * self._charted:
            self._add_chart()
        if self._draw is not None:
            self._add_pictures(artifacts)

    def save(self, folder: Path, t: int) -> None:
        """Log a checkpoint, whose files stay as they are, as a version of the run's model."""
        if self._run is None:
            return
        scores = {
            key: curve[t] for key, curve in self._curves.items() if math.isfinite(curve.get(t, math.nan))
        }
        self._guard(lambda: self._log_model(folder, t, scores))

    def finish(self, *, failed: bool = False) -> None:
        """Send what is left and close the run."""
        if self._charted < self._tests:
            self._add_chart()
        self._send()
        if self._run is not None:
            self._guard(lambda: self._run.summary.update(summarise(self._curves)))
        if self._run is not None:
            self._guard(lambda: self._run.finish(exit_code=int(failed)))

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
            name=self._name,
            job_type="evaluate" if config["evaluate"] or config["save_replay"] else "train",
            tags=tags(config),
            mode=config["wandb_mode"],
            dir=str(directory),
            settings=wandb.Settings(silent=True),
        )
        run.define_metric("t_env")
        run.define_metric("*", step_metric="t_env")
        self._console.info("W&B run %s (%s), group %s", run.id, config["wandb_mode"], group_name(config))
        return run

    def _turn_to(self, t: int) -> None:
        """Send the row of an earlier step, begin that of step `t`."""
        if t != self._step:
            self._send()
            self._step = t

    def _add_chart(self) -> None:
        lines = bracket_lines(self._curves)
        self._charted = self._tests
        if lines:
            self._row |= self._guard(lambda: {BRACKET: line_chart(lines)}) or {}

    def _add_pictures(self, artifacts: Callable[[], Mapping[str, Any]]) -> None:
        assert self._draw is not None
        try:
            pictures = self._draw(artifacts())
        except Exception as error:
            self._draw = None
            self._console.warning("no more pictures for W&B: they could not be drawn (%r)", error)
            return
        self._row |= self._guard(lambda: images(pictures)) or {}

    def _log_model(self, folder: Path, t: int, scores: dict[str, float]) -> None:
        import wandb

        artifact = wandb.Artifact(
            f"{self._name}-{self._run.id}",
            type="model",
            metadata={**self._about, "t_env": t, **scores},
        )
        # a checkpoint is never written twice, so nothing needs a copy of it
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            artifact.add_file(
                str(file), name=str(file.relative_to(folder)), policy="immutable", skip_cache=True
            )
        self._run.log_artifact(artifact, aliases=["latest", f"t_env-{t}", *self._best_alias(t)])

    def _best_alias(self, t: int) -> list[str]:
        """``best`` for a checkpoint whose own test beats those of the checkpoints before it."""
        score = ranking(self._curves).get(t, math.inf)
        if score >= self._best_saved:
            return []
        self._best_saved = score
        return ["best"]

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


def game_of(config: dict[str, Any]) -> str:
    """What the environment calls the game, or the environment's own name."""
    return config["env_args"].get("map_name") or config["env_args"].get("key") or config["env"]


def run_name(config: dict[str, Any]) -> str:
    """``algorithm-game-seed1``, of characters that W&B takes in names of artifacts too."""
    return re.sub(r"[^\w.-]", "-", f"{config['name']}-{game_of(config)}-seed{config['seed']}")


def tags(config: dict[str, Any]) -> list[str]:
    """Algorithm, game, number of agents and the user's own group, those that there are."""
    agents = config["env_args"].get("n_agents")
    words = [config["name"], game_of(config), agents and f"N={agents}", config.get("hypergroup")]
    return list(dict.fromkeys(str(word)[:LONGEST_TAG] for word in words if word))


def group_name(config: dict[str, Any]) -> str:
    """``algorithm_game_hash``: the same for runs that differ by `NOT_SETTINGS` alone."""
    settings = copy.deepcopy(config)
    for key in NOT_SETTINGS:
        settings.pop(key, None)
    settings["env_args"].pop("seed", None)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    return f"{config['name']}_{game_of(config)}_{digest}"


def images(pictures: Mapping[str, Any]) -> dict[str, Any]:
    """Pictures [height, width, 3] of bytes as what W&B logs."""
    import wandb

    return {name: wandb.Image(pixels) for name, pixels in pictures.items()}


def line_chart(lines: Mapping[str, Mapping[int, float]]) -> Any:
    """One chart of many lines over environment steps; what is not finite is left out."""
    import wandb

    points = {
        label: [(t, value) for t, value in line.items() if math.isfinite(value)]
        for label, line in lines.items()
    }
    return wandb.plot.line_series(
        xs=[[t for t, _ in line] for line in points.values()],
        ys=[[value for _, value in line] for line in points.values()],
        keys=list(points),
        title="N-player exploitability, with its bracket",
        xname="environment steps",
    )
