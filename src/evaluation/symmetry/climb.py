"""Local improvement: from the best of many points, step to the best neighbour while that helps."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

ROUNDS = 5  # steps at most


class Peak(NamedTuple):
    """Attributes:
    value: the largest met.
    point: where, [d].
    """

    value: float
    point: Tensor


def highest(values: Tensor, points: Tensor) -> Peak:
    """The best of points [Q, d] with values [Q]."""
    where = int(values.argmax())
    return Peak(values[where].item(), points[where])


def climb(objective: Callable[[Tensor], Tensor], start: Peak, neighbours: Callable[[Tensor], Tensor]) -> Peak:
    """The largest value that is met on the way up, no smaller than that of the start.

    Args:
        objective: points [Q, d] -> values [Q].
        start: where to begin.
        neighbours: a point [d] -> points around it [K, d].
    """
    best = start
    for _ in range(ROUNDS):
        around = neighbours(best.point)
        found = highest(objective(around), around)
        if found.value <= best.value:
            break
        best = found
    return best
