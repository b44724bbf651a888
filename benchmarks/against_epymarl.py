"""Training a thousand agents here and with what a user of EPyMARL would take instead, in one run.

A section of ``benchmarks/run.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rows import (
    IPPO_EPISODES,
    IPPO_THREADS,
    LEARNERS,
    NO_CUDA,
    NO_HOME,
    RATE,
    RATIO,
    SPEED_TARGETS,
    TARGET_GAME,
    Options,
    no_cuda,
)
from timing import Parts, Row, Target, alternate, column, rates, ratios
from training import Training
from upstream import upstream_epochs

CENTRAL = ("ippo", "mappo")  # those with a critic, which sees the index
BYTES = "bytes"
TARGET_AGENTS = 1000
RATIO_TARGETS = {"mf_pmd_tabular": Target(1000, at_least=True), "mf_pmd": Target(300, at_least=True)}


class Theirs(NamedTuple):
    """An algorithm of EPyMARL; ``index``: whether its critic sees the agent's one-hot index, as upstream."""

    algorithm: str
    index: bool

    @property
    def what(self) -> str:
        """As a row calls it."""
        return f"EPyMARL's {self.algorithm}" + ("" if self.index else ", critic without index")


def contestants_of(algorithms: list[str]) -> Iterator[Theirs]:
    """Each as it is, and those with a critic without the index as well."""
    for name in algorithms:
        yield Theirs(name, index=True)
        if name in CENTRAL:
            yield Theirs(name, index=False)


def epymarl(options: Options) -> list[Row]:
    """Play and learn on a_sis: ours at their defaults, EPyMARL's under its parallel runner; ratios."""
    return [row for agents in options.upstream_agents for row in _epymarl(options, agents)]


def _epymarl(options: Options, agents: int) -> list[Row]:
    """All rows at one N."""
    row = partial(Row, "epymarl", game=TARGET_GAME, agents=agents, threads=options.threads[0])
    theirs = {it.what: it for it in contestants_of(options.upstream_algorithms)}
    if no_cuda(options):
        return [row(what=name, unit=RATE, missing=NO_CUDA) for name in (*LEARNERS, *theirs)]
    missing = dict.fromkeys(theirs, _why_not(options))
    ours = {name: _training(options, name, agents) for name in LEARNERS}
    contestants: dict[str, Callable[[], Parts]] = {
        name: partial(training.epochs, options.epochs) for name, training in ours.items()
    }
    with ExitStack() as stack:
        for name, it in theirs.items():
            if not missing[name]:
                try:
                    epoch = stack.enter_context(_upstream(it, agents))
                    epoch()
                    contestants[name] = epoch
                except RuntimeError as error:
                    missing[name] = str(error)
        measured = alternate(contestants, options.repeats)
    horizon = ours[LEARNERS[0]].runner.game.horizon
    steps = dict.fromkeys(theirs, IPPO_EPISODES * horizon * agents)
    steps |= {name: training.agent_steps * options.epochs for name, training in ours.items()}
    speed = {name: rates(steps[name], column(parts, "total")) for name, parts in measured.items()}
    rows = _speeds(row, speed) + _ratios(row, speed)
    rows += [row(what=name, unit=RATE, missing=reason) for name, reason in missing.items() if reason]
    for name in (name for name in theirs if name in measured):
        peak = max(column(measured[name], "peak"))
        rows.append(row(what=f"{name}: peak memory, its runner's processes apart", unit=BYTES, values=[peak]))
    return rows


def _why_not(options: Options) -> str:
    """Why EPyMARL is not measured, if so."""
    if options.device != "cpu":
        return "measured on the CPU alone"
    return "" if os.environ.get("EPYMARL_HOME") else NO_HOME


def _upstream(it: Theirs, agents: int) -> AbstractContextManager[Callable[[], Parts]]:
    return upstream_epochs(
        Path(os.environ["EPYMARL_HOME"]),
        runner="parallel",
        agents=agents,
        episodes=IPPO_EPISODES,
        threads=IPPO_THREADS,
        algorithm=it.algorithm,
        index=it.index,
    )


def _speeds(row: Callable[..., Row], speed: Mapping[str, list[float]]) -> list[Row]:
    rows = [row(what=name, unit=RATE, values=values) for name, values in speed.items()]
    return [
        replace(it, target=SPEED_TARGETS.get(it.what)) if it.agents == TARGET_AGENTS else it for it in rows
    ]


def _ratios(row: Callable[..., Row], speed: Mapping[str, list[float]]) -> list[Row]:
    """Ours over each of theirs, round by round; ippo as it is has the targets."""
    rows = []
    for ours in LEARNERS:
        for name in (name for name in speed if name not in LEARNERS):
            over = row(what=f"{ours} over {name}", unit=RATIO, values=ratios(speed[ours], speed[name]))
            named = name == Theirs("ippo", index=True).what and over.agents == TARGET_AGENTS
            rows.append(replace(over, target=RATIO_TARGETS[ours]) if named else over)
    return rows


def _training(options: Options, name: str, agents: int) -> Training:
    return Training(name, TARGET_GAME, agents=agents, threads=options.threads[0], device=options.device)


AGAINST: dict[str, Callable[[Options], list[Row]]] = {"epymarl": epymarl}
