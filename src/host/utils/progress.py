"""Progress of a run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import sys
import time

from tqdm import tqdm

from .logger import Logger

EXPLOITABILITY = "test_mean_field_exploitability"
SPEED = "agent_steps_per_second"
BAR = "{percentage:3.0f}% |{bar:10}| {n_fmt}/{total_fmt} steps{postfix}, {remaining} left"  # fits 80 columns
PREFIXES = {"G": 1e9, "M": 1e6, "k": 1e3}


class Progress:
    """Shows how far a run is, how fast, and how far from an equilibrium.

    Args:
        mode: ``bar``, ``lines``, ``none``, or ``auto``: a bar if standard output is a terminal, else lines. A
            terminal without a size gets lines in place of the bar.
        logger: where the shown numbers are.
        start: environment steps already done.
        total: environment steps of the run.
    """

    def __init__(self, mode: str, logger: Logger, *, start: int, total: int):
        self._mode = ("bar" if sys.stdout.isatty() else "lines") if mode == "auto" else mode
        if self._mode == "bar" and _has_no_columns():
            self._mode = "lines"
        self._logger = logger
        self._start, self._total = start, total
        self._began = time.monotonic()
        self._bar = (
            tqdm(total=total, initial=start, file=sys.stderr, dynamic_ncols=True, bar_format=BAR)
            if self._mode == "bar"
            else None
        )

    def update(self, t_env: int) -> None:
        """Move on to `t_env`."""
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(), refresh=False)
            self._bar.update(min(t_env, self._total) - self._bar.n)

    def report(self, t_env: int) -> None:
        """Print the recent statistics and the time left, where lines are wanted."""
        if self._mode == "lines":
            self._logger.print_recent_stats()
        if self._mode == "lines" and t_env > self._start:
            self._logger.console_logger.info(
                "t_env %d of %d, %s left", t_env, self._total, _clock(self._seconds_left(t_env))
            )

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def summarise(self) -> None:
        """Print what a finished run reached: first and last exploitability, and the speed."""
        parts = []
        first, last = self._logger.first(EXPLOITABILITY), self._logger.latest(EXPLOITABILITY)
        if first is not None and last is not None:
            parts.append(f"{EXPLOITABILITY} {first:.3f} -> {last:.3f}")
        speed = self._logger.latest(SPEED)
        if speed is not None:
            parts.append(f"{_short(speed)} agent-steps/s")
        if parts and self._mode != "none":
            self._logger.console_logger.info(", ".join(parts))

    def _figures(self) -> str:
        exploitability, speed = self._logger.latest(EXPLOITABILITY), self._logger.latest(SPEED)
        figures = []
        if exploitability is not None:
            figures.append(f"expl {exploitability:.3f}")
        if speed is not None:
            figures.append(f"{_short(speed)}/s")
        return ", ".join(figures)

    def _seconds_left(self, t_env: int) -> float:
        done = t_env - self._start
        return (time.monotonic() - self._began) * max(self._total - t_env, 0) / done if done > 0 else 0.0


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:d}:{minutes:02d}:{seconds:02d}"


def _short(number: float) -> str:
    """Three digits or so: ``1.3 M``."""
    for prefix, unit in PREFIXES.items():
        if number >= unit:
            return f"{number / unit:.1f} {prefix}"
    return f"{number:.0f}"


def _has_no_columns() -> bool:
    """Whether the bar's terminal is one that does not know its size."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):  # no terminal at all
        return False
