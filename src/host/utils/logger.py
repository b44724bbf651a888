"""Where numbers go: sacred, the console, Weights & Biases, TensorBoard."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...errors import UserError
from .wandb_sink import Draw, WandbSink


class _ConsoleHandler(logging.Handler):
    """Lines on standard output, above the progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stdout)
        except Exception:
            self.handleError(record)


def console_logger() -> logging.Logger:
    """The logger of the console, which leaves the root logger and other people's loggers alone."""
    logger = logging.getLogger("mf_pmd")
    if not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        handler = _ConsoleHandler()
        handler.setFormatter(logging.Formatter("[%(levelname)s %(asctime)s] %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger


class Logger:
    """Takes every statistic of a run and hands it on.

    Only the first and the last value of a key are kept here, for the console. A value that is not finite is
    stored as null, for ``metrics.json`` to remain JSON, and reported once a key.

    Args:
        console: receives the lines; the contract's name for it is ``console_logger``.
    """

    def __init__(self, console: logging.Logger):
        self.console_logger = console
        self.stats: dict[str, tuple[int, float]] = {}
        self._first: dict[str, tuple[int, float]] = {}
        self._run: Any = None
        self._info: dict[str, Any] = {}
        self._wandb: WandbSink | None = None
        self._tensorboard: Any = None
        self._not_finite: set[str] = set()

    def setup_sacred(self, run: Any) -> None:
        """Send metrics and info to a sacred run."""
        self._run = run

    def setup_wandb(self, config: dict[str, Any], directory: Path, draw: Draw | None = None) -> None:
        """Send metrics, pictures and models to Weights & Biases too; a failure of theirs is a warning."""
        self._wandb = WandbSink(config, directory, self.console_logger, draw)

    def setup_tensorboard(self, directory: Path) -> None:
        """Send metrics to TensorBoard too.

        Raises:
            UserError: the package is missing.
        """
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._tensorboard = SummaryWriter(str(directory))

    def log_stat(self, key: str, value: Any, t: int, to_sacred: bool = True) -> None:
        """Log a scalar.

        Args:
            key: its name.
            value: a number, or an array or tensor of one.
            t: environment steps.
            to_sacred: also store it in sacred's metrics and info.
        """
        number = float(value.item() if hasattr(value, "item") else value)
        t = int(t)
        if not math.isfinite(number) and key not in self._not_finite:
            self._not_finite.add(key)
            self.console_logger.warning("%s is %s at t_env %d; stored as null", key, number, t)
        self.stats[key] = (t, number)
        self._first.setdefault(key, (t, number))
        stored = number if math.isfinite(number) else None
        if self._run is not None and to_sacred:
            self._info.setdefault(f"{key}_T", []).append(t)
            self._info.setdefault(key, []).append(stored)
            self._run.log_scalar(key, stored, t)
        if self._wandb is not None:
            self._wandb.log(key, number, t)
        if self._tensorboard is not None:
            self._tensorboard.add_scalar(key, number, t)

    def record(self, key: str, value: Any) -> None:
        """Put a plain value that is not a series into sacred's info."""
        self._info[key] = value

    def latest(self, key: str) -> float | None:
        """The last value of a key, or None."""
        return self.stats[key][1] if key in self.stats else None

    def first(self, key: str) -> float | None:
        """The first value of a key, or None if there is no later one."""
        if key not in self.stats or self.stats[key][0] == self._first[key][0]:
            return None
        return self._first[key][1]

    def print_recent_stats(self) -> None:
        """One block of lines: the last value of every key. The key ``episode`` must be there."""
        t_env, episode = self.stats["episode"]
        cells = [f"{key}: {value:.4g}" for key, (_, value) in sorted(self.stats.items()) if key != "episode"]
        rows = ["   ".join(cells[start : start + 3]) for start in range(0, len(cells), 3)]
        head = f"t_env {t_env}, episode {int(episode)}"
        self.console_logger.info("\n  ".join([head, *rows]))

    def flush(self) -> None:
        """Hand sacred the info as of now.

        Sacred writes it from a thread of its own, so it is given a copy that no one changes.
        """
        if self._run is not None:
            self._run.info = {
                key: list(value) if isinstance(value, list) else value for key, value in self._info.items()
            }

    def log_test(self, runner: Any, t: int) -> None:
        """Tell W&B, if it listens, that a test has ended whose numbers were logged.

        Args:
            runner: may offer ``artifacts()``, the arrays that pictures are made of.
            t: environment steps.
        """
        if self._wandb is not None:
            self._wandb.log_test(getattr(runner, "artifacts", dict), t)

    def log_model(self, folder: Path, t: int) -> None:
        """Log a checkpoint to the W&B run, if there is one."""
        if self._wandb is not None:
            self._wandb.save(folder, t)

    def finish(self, *, failed: bool = False) -> None:
        """Flush and close everything; W&B is told whether the run failed."""
        self.flush()
        if self._wandb is not None:
            self._wandb.finish(failed=failed)
        if self._tensorboard is not None:
            self._tensorboard.close()


def require_tensorboard() -> None:
    """Raise a UserError if TensorBoard's package is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError("use_tensorboard=True: the package is missing; pip install tensorboard") from error
