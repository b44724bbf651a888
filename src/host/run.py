"""One experiment under sacred: from a configuration to a results folder."""

from __future__ import annotations

import copy
import logging
import os
import platform
import re
import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..errors import UserError
from .assembly import Pieces, assemble, check_config, game_name, make_args
from .loop import Loop
from .utils.checkpoints import find_checkpoint, load_checkpoint
from .utils.logger import Logger, console_logger
from .utils.random_states import random_states, restore_random_states, seed_everything
from .utils.wandb_sink import Draw

Finish = Callable[[Path], None]
ARTIFACTS = "population.npz"
NO_GPU = "use_cuda=True, but torch finds no GPU here: running on the CPU"


@dataclass(frozen=True)
class RunResult:
    """Where a run left its things.

    Attributes:
        results_dir: sacred's folder: ``config.json``, ``metrics.json``, ``info.json``, ``run.json``.
        models_dir: folder of the checkpoints.
        checkpoint: the newest checkpoint, or None if none was written.
        t_env: environment steps done.
    """

    results_dir: Path
    models_dir: Path
    checkpoint: Path | None
    t_env: int


def train(config: dict[str, Any], finish: Finish | None = None, draw: Draw | None = None) -> RunResult:
    """Run one experiment: train, or evaluate a checkpoint.

    Everything that can be refused is refused before the first file is written.

    Args:
        config: plain nested settings, as `load_config` gives them.
        finish: called with the results folder after the run, even one that failed or was interrupted; what
            it raises is a warning.
        draw: makes the pictures that W&B shows of each test, from the runner's artifacts.

    Raises:
        UserError: settings that cannot be served, an unusable checkpoint or results folder.
        DivergenceError: a learner met a value that is not finite.
    """
    config = copy.deepcopy(config)
    console = console_logger()
    check_config(config)
    drawn = _draw_seed(config)
    if config["threads"] > 0:
        torch.set_num_threads(config["threads"])
    results = Path(config["local_results_path"]).expanduser().resolve()
    token = _token(config)
    logger = Logger(console)
    seed_everything(config["seed"])
    pieces = _assemble(make_args(config, token), logger)
    loop = Loop(pieces, config, results / "models" / token)
    _restore(loop)
    _require_writable(results, config["local_results_path"])
    if config["use_cuda"] and not pieces.args.use_cuda:
        console.warning(NO_GPU)
    if drawn:
        console.info("seed=%d (drawn)", config["seed"])
    experiment, observer = _experiment(config, results)
    try:
        _run_under_sacred(loop, experiment, observer, results, draw)
    except KeyboardInterrupt:
        console.warning("interrupted at t_env %d; %s", pieces.runner.t_env, loop.describe_checkpoint())
        raise
    finally:
        pieces.runner.close_env()
        if observer.dir is not None:  # the run has started: what there is of it is worth its pictures
            if finish is not None:
                _call_finish(finish, Path(observer.dir), console)
            console.info("results: %s", observer.dir)
    return RunResult(Path(observer.dir), loop.models_dir, loop.checkpoint, pieces.runner.t_env)


def _assemble(args: SimpleNamespace, logger: Logger) -> Pieces:
    """`assemble`, where a setting that a piece asks for and no yaml file gives is a UserError."""
    try:
        return assemble(args, logger)
    except AttributeError as error:
        if error.obj is not args:
            raise
        raise UserError(
            f"{error.name} is missing: the yaml of the algorithm or of the environment must set it, or "
            f"learner={args.learner} and mac={args.mac} do not belong together"
        ) from error


def _draw_seed(config: dict[str, Any]) -> bool:
    """Fill in a seed if there is none; returns whether it was drawn."""
    drawn = config["seed"] is None
    if drawn:
        config["seed"] = secrets.randbelow(2**31)
    if not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed={config['seed']}: a whole number from 0 to 2**32 - 1 is needed")
    return drawn


def _token(config: dict[str, Any]) -> str:
    """Name of the run's folders, of characters that every file system takes."""
    now = datetime.now().strftime("%Y%m%dT%H%M%S-%f")
    return re.sub(r"[^\w.-]", "-", f"{config['name']}_seed{config['seed']}_{game_name(config)}_{now}")


def _require_writable(results: Path, given: str) -> None:
    """Make the results folder and try it, leaving no trace of a failure."""
    probe = results / f".probe-{os.getpid()}"
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"local_results_path={given}: cannot be written to ({error.strerror}); name another folder"
        ) from error


def _restore(loop: Loop) -> None:
    """Load the checkpoint that the settings name, if any."""
    args = loop.args
    if not args.checkpoint_path:
        return
    folder = find_checkpoint(args.checkpoint_path, args.load_step)
    loop.load_state_dict(load_checkpoint(folder, loop.learner.load_models, name=args.name))
    loop.checkpoint = folder
    loop.logger.console_logger.info("loaded %s", folder)
    if not args.evaluate and not args.save_replay and loop.runner.t_env >= args.t_max:
        raise UserError(
            f"t_max={args.t_max}: the checkpoint is at t_env {loop.runner.t_env}; a larger t_max is needed"
        )


def _run_under_sacred(loop: Loop, experiment: Any, observer: Any, results: Path, draw: Draw | None) -> None:
    """Run the loop as a sacred experiment."""
    states = random_states()

    @experiment.main
    def main(_run: Any) -> None:
        restore_random_states(states)  # sacred has seeded them once more
        _setup_logger(loop, _run, results, draw)
        failed = True
        try:
            if loop.args.evaluate or loop.args.save_replay:
                loop.evaluate()
            else:
                loop.train()
            failed = False
        finally:
            _save_artifacts(loop.runner, Path(observer.dir), loop.logger.console_logger)
            loop.logger.finish(failed=failed)

    experiment.run()


def _experiment(config: dict[str, Any], results: Path) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        from sacred import SETTINGS, Experiment
        from sacred.observers import FileStorageObserver
        from sacred.utils import apply_backspaces_and_linefeeds

    SETTINGS["CAPTURE_MODE"] = "sys"  # the default replaces the terminal by a pipe
    SETTINGS["DISCOVER_SOURCES"] = "none"
    SETTINGS["HOST_INFO"]["INCLUDE_CPU_INFO"] = False  # starts processes and takes a second
    SETTINGS["HOST_INFO"]["INCLUDE_GPU_INFO"] = False
    experiment: Any = Experiment("mf-pmd", save_git_info=False)
    experiment.logger = logging.getLogger("mf_pmd.sacred")
    experiment.logger.setLevel(logging.CRITICAL)  # what fails is told by the command line
    experiment.captured_out_filter = apply_backspaces_and_linefeeds
    observer = FileStorageObserver(
        results / "sacred" / config["name"] / game_name(config), copy_sources=False
    )
    experiment.observers.append(observer)
    experiment.add_config(copy.deepcopy(config))
    return experiment, observer


def _setup_logger(loop: Loop, run: Any, results: Path, draw: Draw | None) -> None:
    logger, args = loop.logger, loop.args
    logger.setup_sacred(run)
    logger.record("models_dir", str(loop.models_dir))
    logger.record(
        "versions", {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    )
    if args.use_tensorboard:
        logger.setup_tensorboard(results / "tb_logs" / args.unique_token)
    if args.use_wandb:
        logger.setup_wandb(loop.config, results, draw)


def _save_artifacts(runner: Any, results_dir: Path, console: logging.Logger) -> None:
    """Arrays that the runner wants to keep, as ``population.npz``; a failure is a warning."""
    try:
        arrays = runner.artifacts() if hasattr(runner, "artifacts") else {}
        if arrays:
            np.savez_compressed(results_dir / ARTIFACTS, **arrays)
    except Exception as error:
        (results_dir / ARTIFACTS).unlink(missing_ok=True)  # half of it would be read as damaged
        console.warning("%s could not be written (%r)", ARTIFACTS, error)


def _call_finish(finish: Finish, results_dir: Path, console: logging.Logger) -> None:
    try:
        finish(results_dir)
    except Exception as error:
        console.warning("the results are kept, their pictures are not complete (%r)", error)
