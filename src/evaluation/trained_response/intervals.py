"""Means of paired differences, and where they lie."""

from typing import NamedTuple

from torch import Tensor

from ...functional.student_t import t_quantile

MISS = 0.0125  # probability that one end misses, that of 2.24 normal standard errors


class Interval(NamedTuple):
    """A mean over episodes and where it lies, in reward units summed over the horizon.

    Attributes:
        mean: of the paired differences.
        lower, upper: that less and plus t standard errors, each end missing with probability .0125.
    """

    mean: float
    lower: float
    upper: float


def interval(differences: Tensor, *, tests: int = 1) -> Interval:
    """Mean and ends of [B] differences, by Student's t; the lower ends of several tests hold all at once."""
    n_episodes = len(differences)
    error = differences.std().item() / n_episodes**0.5
    mean = differences.mean().item()
    width = t_quantile(1 - MISS / tests, n_episodes - 1) * error
    return Interval(mean, mean - width, mean + width)
