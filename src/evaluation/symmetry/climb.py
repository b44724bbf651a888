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


def climb(
    objective: Callable[[Tensor], Tensor], points: Tensor, neighbours: Callable[[Tensor], Tensor]
) -> Peak:
    """The largest value that is met, no smaller than that of any given point.

    Args:
        objective: points [Q, d] -> values [Q].
        points: to start from, [Q, d].
        neighbours: a point [d] -> points around it [K, d].
    """
    best = _highest(objective, points)
    for _ in range(ROUNDS):
        found = _highest(objective, neighbours(best.point))
        if found.value <= best.value:
            break
        best = found
    return best


def _highest(objective: Callable[[Tensor], Tensor], points: Tensor) -> Peak:
    values = objective(points)
    where = int(values.argmax())
    return Peak(values[where].item(), points[where])
