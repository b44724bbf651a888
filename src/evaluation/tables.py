"""The comparison as a table: markdown to read, csv to compute with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .aggregate import (
    FEWEST_FOR_AN_INTERVAL,
    FEWEST_FOR_QUARTILES,
    LEVEL,
    REPETITIONS,
    Estimate,
    estimate,
)
from .figures import MEAN_FIELD
from .results import Run, return_curve

MEAN, LARGEST = "test_exploitability_mean", "test_exploitability_max"
TOO_WEAK = "test_exploitability_too_weak"
UNIFORM = "uniform_mean_field_exploitability"
SPEED = "agent_steps_per_second"
RETURN, SECONDS, MEMORY, STEPS = "test_return_mean", "wall_time_s", "peak_rss_mib", "environment_steps"
CPU = "cpu_time_s"
N_PLAYER = (MEAN, LARGEST)
COLUMNS = {
    MEAN_FIELD: "mean-field exploitability",
    MEAN: "N-player exploitability, mean over agents",
    f"{MEAN}_bracket": "its bracket",
    LARGEST: "N-player exploitability, the worst off",
    f"{LARGEST}_bracket": "its bracket",
    RETURN: "test return",
    SECONDS: "wall time, s",
    CPU: "CPU time of the process, s",
    SPEED: "agent-steps/s",
    MEMORY: "peak memory, MiB",
}
COSTS = (SECONDS, CPU, SPEED, MEMORY)
DASH = "–"
MARK = "†"
FEW = 5  # seeds; with no more of them, intervals are visibly too short
READING = (
    f"Cells: interquartile mean over seeds [{LEVEL:.0%} interval of a percentile bootstrap over seeds, "
    f"{REPETITIONS} draws] of the last test (Agarwal et al. 2021). `(k of n)`: only k of the n seeds have "
    "the value. Exploitabilities are in reward units summed over the horizon, 0 at an equilibrium; returns "
    "do not rank policies in a general-sum game. A bracket runs from the interquartile mean of the runs' "
    "lower ends to that of their upper ends. Nothing is marked as best: see whether intervals overlap."
)


@dataclass(frozen=True)
class Group:
    """Runs of one algorithm on one game with the same settings, one a seed.

    Attributes:
        game: label of the game, with what of its settings tells it from its namesakes.
        algorithm: label of the algorithm, likewise.
        runs: the finished runs.
        of: how many seeds there should be.
    """

    game: str
    algorithm: str
    runs: Sequence[Run]
    of: int

    @cached_property
    def values(self) -> dict[str, list[float]]:
        """Key -> its value at the last test of every run; runs without it are left out."""
        collected: dict[str, list[float]] = {}
        for run in self.runs:
            for key, value in final_values(run).items():
                collected.setdefault(key, []).append(value)
        return collected

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Key -> estimate over the seeds."""
        return {key: estimate([np.array(values)]) for key, values in self.values.items()}

    @cached_property
    def returns(self) -> str:
        """What the returns are: mean over agents, or sum over agents; empty without returns."""
        return " or ".join(sorted({found[1] for found in map(return_curve, self.runs) if found is not None}))

    @property
    def too_weak(self) -> int:
        """Runs whose last test flags its deviators as too weak."""
        return sum(value > 0 for value in self.values.get(TOO_WEAK, ()))


def final_values(run: Run) -> dict[str, float]:
    """What a run ends with: the last test's exploitabilities and return, what it cost, the uniform policy's.

    The speed is the median of the run's readings, for the last one alone is noise.
    """
    found = {
        key: run.final(key) for key in run.metrics if key.startswith("test_") and "exploitability" in key
    }
    values = {key: value for key, value in found.items() if value is not None}
    returns = return_curve(run)
    if returns is not None:
        values[RETURN] = float(returns[0][1][-1])
    speeds = run.metrics[SPEED][1] if SPEED in run.metrics else np.array([])
    if np.isfinite(speeds).any():
        values[SPEED] = float(np.median(speeds[np.isfinite(speeds)]))
    if UNIFORM in run.metrics:
        values[UNIFORM] = float(run.metrics[UNIFORM][1][-1])
    for key, measured in ((MEMORY, "peak_rss_mib"), (CPU, "cpu_seconds")):
        if measured in run.process:
            values[key] = float(run.process[measured])
    return values | {SECONDS: run.seconds, STEPS: float(run.last_test)}


def markdown(groups: Sequence[Group], notes: Sequence[str], title: str) -> str:
    """A heading and a table for every game, then the notes."""
    parts = [f"# {title}"]
    for game in games(groups):
        here = [group for group in groups if group.game == game]
        keys = [key for key in COLUMNS if any(_cell(group, key) != DASH for group in here)]
        head = ["algorithm", "seeds", *(COLUMNS[key] for key in keys)]
        rows = [[group.algorithm, _seeds(group), *(_cell(group, key) for key in keys)] for group in here]
        if RETURN in keys and len(kinds_of_returns(groups)) > 1:
            column = head.index(COLUMNS[RETURN])
            for group, row in zip(here, rows, strict=True):
                row[column] += f" ({group.returns})" if row[column] != DASH else ""
        parts += [f"## {game}", _facts(here), _grid(head, rows)]
    lines = [READING, *_warnings(groups), *notes]
    parts.append("\n".join(f"- {line}" for line in lines))
    return "\n\n".join(filter(None, parts)) + "\n"


def games(groups: Iterable[Group]) -> list[str]:
    """The games in the order in which they come."""
    return list(dict.fromkeys(group.game for group in groups))


def kinds_of_returns(groups: Iterable[Group]) -> list[str]:
    """What the returns of some groups are, see ``results.return_curve``; two kinds are not to be compared."""
    return sorted({group.returns for group in groups} - {""})


def _seeds(group: Group) -> str:
    return str(len(group.runs)) if len(group.runs) == group.of else f"{len(group.runs)} of {group.of}"


def _facts(groups: Sequence[Group]) -> str:
    """Environment steps before the last test, by algorithm where they differ; the uniform policy's value."""
    steps = {group.algorithm: sorted(set(map(int, group.values.get(STEPS, ())))) for group in groups}
    held = {name: found for name, found in steps.items() if found}
    facts = []
    if len({tuple(found) for found in held.values()}) == 1:
        facts.append(f"{_range(next(iter(held.values())))} environment steps.")
    elif held:
        each = ", ".join(f"{name} {_range(found)}" for name, found in held.items())
        facts.append(f"Environment steps are NOT equal: {each}.")
    uniform = [value for group in groups for value in group.values.get(UNIFORM, ())]
    if uniform:
        facts.append(f"The uniform policy's mean-field exploitability is {uniform[0]:.3f}.")
    return " ".join(facts)


def _range(steps: Sequence[int]) -> str:
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def _cell(group: Group, key: str) -> str:
    """Text of a cell."""
    name = key.removesuffix("_bracket")
    if name != key:
        ends = [group.estimates.get(f"{name}_{end}") for end in ("lower", "upper")]
        if ends[0] is None or ends[1] is None or not ends[0].held:
            return DASH
        return f"{number(ends[0].value)} to {number(ends[1].value)}"
    found = group.estimates.get(key)
    if found is None or found.held == 0:
        return DASH
    digits = 3 if key in COSTS else 0
    text = number(found.value, digits=digits)
    if found.lower is not None:
        text += f" [{number(found.lower, digits=digits)}, {number(found.upper, digits=digits)}]"
    if found.held < group.of:
        text += f" ({found.held} of {group.of})"
    if key in N_PLAYER and group.too_weak:
        text += f" {MARK} {group.too_weak} of {len(group.runs)} too weak"
    return text


def number(value: float, *, digits: int = 0) -> str:
    """Three decimals for what is below 100, three digits beyond; or so many digits all along."""
    if not math.isfinite(value):
        return DASH
    for size, prefix in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if size == 1e4 else size):.3g}{prefix}"
    if digits:
        return f"{value:.{max(digits, len(str(int(abs(value)))))}g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join(
        [line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]
    )


def _warnings(groups: Sequence[Group]) -> list[str]:
    """What the numbers of this table cannot say."""
    lines = []
    most = max((len(group.runs) for group in groups), default=0)
    fewest = min((len(group.runs) for group in groups), default=0)
    if fewest < FEWEST_FOR_AN_INTERVAL:
        lines.append("One or two seeds allow no interval: such cells have none.")
    if fewest < FEWEST_FOR_QUARTILES:
        lines.append(
            "Of fewer than four seeds the interquartile mean is the mean: there is no quarter to leave out."
        )
    if FEWEST_FOR_AN_INTERVAL <= most <= FEW:
        lines.append(
            "A bootstrap over few seeds cannot leave the range of their values: of normally distributed ones "
            "it covers the truth about 74 % of the time with 3 seeds, 92 % with 5 (docs/compare.md)."
        )
    if any(group.too_weak for group in groups):
        lines.append(
            f"{MARK} the last test of these runs flagged its deviators as too weak (`{TOO_WEAK}`): however "
            "small the number, it says nothing about how exploitable the policy is. Take more test episodes "
            "(`test_nepisode`)."
        )
    kinds = kinds_of_returns(groups)
    if len(kinds) == 1:
        lines.append(f"Returns: {kinds[0]}.")
    elif kinds:
        lines.append(
            "Returns are NOT of one kind: each row says which its are. Sums over agents are of teams whose "
            "number of agents the folder does not tell; do not compare them with means over agents."
        )
    return [*lines, *_overruns(groups)]


def _overruns(groups: Sequence[Group]) -> list[str]:
    """Runs of more steps than they were asked for, for they end with a whole batch of episodes."""
    longer = []
    for group in groups:
        asked = group.runs[0].config.get("t_max") if group.runs else None  # the same for all seeds
        played = sorted({run.last_test for run in group.runs})
        if isinstance(asked, int) and played[-1] > asked:
            longer.append(f"{group.algorithm} on {group.game} played {_range(played)} of {asked}")
    if not longer:
        return []
    return [f"Runs end with a whole batch of episodes, at or beyond t_max: {'; '.join(longer)} steps."]


def as_csv(groups: Sequence[Group]) -> str:
    """One line for every game, algorithm and metric: estimate, interval, how many seeds it holds.

    ``kind`` is what a return is: mean over agents, or sum over agents.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "game",
            "algorithm",
            "metric",
            "iqm",
            "low",
            "high",
            "seeds_held",
            "seeds",
            "runs_too_weak",
            "run_values",
            "kind",
        ]
    )
    for group in groups:
        for key, found in sorted(group.estimates.items()):
            values = " ".join(map(_plain, group.values[key]))
            row = [_plain(found.value), _plain(found.lower), _plain(found.upper), found.held, group.of]
            kind = group.returns if key == RETURN else ""
            writer.writerow([group.game, group.algorithm, key, *row, group.too_weak, values, kind])
    return text.getvalue()


def _plain(value: Any) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))
