"""A grid of algorithms, games and seeds: what has to be run, what is there already, and the running of it.

Every run is a process of its own, so that the crash of one costs no other, memory is measured run by run, and
no run inherits anything from the one before.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from .results import PROCESS_FILE, Run, experiment_settings, scan

TESTS = 10  # of a run, besides the one before its first step, where the words do not say otherwise
POLL = 0.05  # seconds
PATIENCE = 15.0  # seconds that an interrupted run has to save what it has
OPTIONS = {"t_max": "--t-max", "seed": "--seeds", "local_results_path": "--results"}
BAR = "{n_fmt}/{total_fmt} runs |{bar:20}| {elapsed}, {remaining} left{postfix}"


@dataclass(frozen=True, eq=False)
class Planned:
    """A run of the grid.

    Attributes:
        algorithm, game: as the command line names them.
        config: all its settings.
        words: the ``key=value`` words that make them of the yaml files.
    """

    algorithm: str
    game: str
    seed: int
    config: dict[str, Any]
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """To a reader."""
        return f"{self.algorithm} on {self.game}, seed {self.seed}"

    def folder(self, results: Path) -> Path:
        """Where sacred puts the runs of this algorithm on this game."""
        env_args = self.config["env_args"]
        return results / "sacred" / self.config["name"] / str(env_args.get("map_name") or env_args["key"])

    def is_done_by(self, run: Run) -> bool:
        """Whether a finished run is this one: the same seed and settings, and it came to its end."""
        return (
            run.seed == self.seed
            and run.algorithm == self.config["name"]
            and run.settings == experiment_settings(self.config)
            and run.last_test >= self.config["t_max"]
        )


@dataclass(frozen=True)
class Failure:
    """A run that did not come to its end: its exit status, the last line it printed, its log."""

    planned: Planned
    status: int
    reason: str
    log: Path


Configure = Callable[[str, str, Sequence[str]], dict[str, Any]]


def plan(
    algorithms: Sequence[str],
    games: dict[str, dict[str, Any]],
    seeds: Sequence[int],
    words: Sequence[str],
    *,
    results: Path,
    t_max: int | None,
    configure: Configure,
) -> list[Planned]:
    """The grid, seed by seed, so that an interrupted one has something of every algorithm.

    Args:
        algorithms: names.
        games: name -> the settings of the game's yaml.
        seeds: of each algorithm on each game.
        words: ``key=value`` changes for all runs.
        results: the results folder.
        t_max: environment steps of every run, None for the game's own.
        configure: (algorithm, game, words) -> all settings.

    Raises:
        UserError: a word that an option is for, or that some algorithm does not know.
    """
    for word in words:
        option = OPTIONS.get(word.partition("=")[0])
        if option:
            raise UserError(f"{word}: give it by {option}, which is the same for all runs")
    planned = []
    for seed in seeds:
        for game, settings in games.items():
            equal = equal_words(settings, t_max)
            for algorithm in algorithms:
                own = (*equal, f"seed={seed}", f"local_results_path={results}", "progress=none", *words)
                try:
                    config = configure(algorithm, game, own)
                except UserError as error:
                    raise UserError(f"{algorithm} on {game}: {error}") from error
                planned.append(Planned(algorithm, game, seed, config, own))
    return planned


def equal_words(settings: dict[str, Any], t_max: int | None) -> tuple[str, ...]:
    """What all algorithms of a game get alike: length, tests, episodes a test; no checkpoints."""
    steps = settings["t_max"] if t_max is None else t_max
    return (
        f"t_max={steps}",
        f"test_interval={max(1, -(-steps // TESTS))}",
        f"test_nepisode={settings['test_nepisode']}",
        "save_model=False",
    )


def find_done(planned: Sequence[Planned], results: Path) -> dict[Planned, Run]:
    """The runs of the grid that the results folder holds, finished; the newest where there are several."""
    folders = {run.folder(results) for run in planned}
    there = [run for folder in sorted(folders) for run in scan(folder)[0]]
    done = {}
    for wanted in planned:
        fitting = [run for run in there if wanted.is_done_by(run)]
        if fitting:
            done[wanted] = max(fitting, key=lambda run: run.stopped)
    return done


def run_all(
    planned: Sequence[Planned], *, done: int, jobs: int, results: Path, logs: Path, machine: str, main: Path
) -> list[Failure]:
    """Run what is planned, ``jobs`` at a time, under a progress bar.

    Args:
        planned: what is left to run.
        done: how many runs of the grid need not be run.
        jobs: processes side by side.
        results: the results folder, where each run's process is described too (``PROCESS_FILE``).
        logs: an existing folder for what the runs print.
        machine: its description, kept with the runs.
        main: the script that trains.

    Returns:
        The runs that failed. An interruption ends all processes and is passed on.
    """
    waiting, failures = list(planned), list[Failure]()
    running: list[_Process] = []
    total = done + len(planned)
    bar = tqdm(total=total, initial=done, file=sys.stderr, bar_format=BAR, disable=None)
    try:
        with _terminated_like_interrupted():
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(_Process(waiting.pop(0), main, logs))
                bar.set_postfix_str("; ".join(process.planned.name for process in running))
                ended = [process for process in running if process.poll()]
                for process in ended:
                    running.remove(process)
                    failures += _settle(process, results, machine)
                    done += 1
                    bar.update()
                    tqdm.write(f"{done}/{total} {process.describe()}", file=sys.stderr)
                if not ended:
                    time.sleep(POLL)
    finally:
        _stop(running)
        bar.close()
    return failures


class _Process:
    """A run's process; its output goes to a log."""

    def __init__(self, planned: Planned, main: Path, logs: Path):
        self.planned = planned
        self.log = (
            logs
            / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', f'{planned.algorithm}-{planned.game}')}-{planned.seed}.log"
        )
        command = [sys.executable, str(main), f"--config={planned.algorithm}", f"--env-config={planned.game}"]
        with self.log.open("w", encoding="utf-8") as log:
            # a session of its own: Ctrl-C reaches it once, from us
            self.process = subprocess.Popen(
                [*command, "with", *planned.words], stdout=log, stderr=log, start_new_session=True
            )
        self.began = time.monotonic()
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.peak_rss_mib = 0.0

    def poll(self) -> bool:
        """Whether it has ended; then what it took is known."""
        ended, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if ended:
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.seconds = time.monotonic() - self.began
            self.cpu_seconds = usage.ru_utime + usage.ru_stime
            self.peak_rss_mib = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        return bool(ended)

    @property
    def status(self) -> int:
        """The exit status; negative for the number of a signal."""
        return int(self.process.returncode)

    def last_line(self) -> str:
        """The last line of the log that is not empty."""
        lines = [line.strip() for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "it printed nothing")

    def describe(self) -> str:
        """One line about its end."""
        how = (
            f"{self.seconds:.0f} s" if self.status == 0 else f"exit status {self.status}: {self.last_line()}"
        )
        return f"{self.planned.name}: {how}"


def _settle(process: _Process, results: Path, machine: str) -> list[Failure]:
    """Keep what was measured of a process beside its run; the failure if there is one."""
    if process.status != 0:
        return [Failure(process.planned, process.status, process.last_line(), process.log)]
    run = find_done([process.planned], results).get(process.planned)
    if run is None:
        reason = "it ended well, but left no finished run with these settings"
        return [Failure(process.planned, process.status, reason, process.log)]
    measured = {
        "peak_rss_mib": round(process.peak_rss_mib, 1),
        "process_seconds": round(process.seconds, 2),
        "cpu_seconds": round(process.cpu_seconds, 2),
        "machine": machine,
    }
    (run.folder / PROCESS_FILE).write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return []


def _stop(running: Sequence[_Process]) -> None:
    """Interrupt what still runs, give it time to save what it has, then end it."""
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.process.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for process in running:
        try:
            process.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.process.pid, signal.SIGKILL)
            process.process.wait()


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, of `timeout` or of a cluster, ends the grid as Ctrl-C does, and leaves no process behind."""

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
