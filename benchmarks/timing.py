"""Wall times of things that are run in turn."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Parts = dict[str, float]
"""Seconds of the parts of one repetition, by name."""


@dataclass(frozen=True)
class Target:
    """What a number should reach.

    Attributes:
        limit: in the unit of the row.
        at_least: whether the number should be at least the limit; at most, otherwise.
    """

    limit: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether the value reaches it."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One line of the table: a number measured several times, or why it was not.

    Attributes:
        section: the benchmark it belongs to.
        what: what was timed.
        game: which game, or an empty string.
        agents: N.
        threads: of torch.
        unit: ``agent-steps/s``, ``s`` or ``ratio``.
        values: one a repetition.
        target: if the project has one for it.
        missing: why nothing was measured.
    """

    section: str
    what: str
    game: str
    agents: int
    threads: int
    unit: str
    values: list[float] = field(default_factory=list)
    target: Target | None = None
    missing: str = ""

    @property
    def median(self) -> float:
        """Of the repetitions."""
        return statistics.median(self.values)


def alternate(contestants: Mapping[str, Callable[[], Parts]], repeats: int) -> dict[str, list[Parts]]:
    """Run all contestants in turn, A B A B, so that whatever else the machine does falls on all alike.

    Args:
        contestants: each does one repetition and returns the seconds of its parts.
        repeats: rounds that count; one more goes before them, to warm up.

    Returns:
        The parts of every repetition, by contestant.
    """
    measured: dict[str, list[Parts]] = {name: [] for name in contestants}
    for round_number in range(repeats + 1):
        for name, contestant in contestants.items():
            parts = contestant()
            if round_number > 0:
                measured[name].append(parts)
    return measured


def column(measured: list[Parts], part: str) -> list[float]:
    """Seconds of one part, repetition by repetition."""
    return [parts[part] for parts in measured]


def rates(amount: float, seconds: list[float]) -> list[float]:
    """Amount a second, repetition by repetition."""
    return [amount / value for value in seconds]


def ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """Ratios of what was measured in the same round."""
    return [top / bottom for top, bottom in zip(numerators, denominators, strict=True)]
