"""Whether a trained deviator was strong enough for its gain to mean anything."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ...functional.frozen_flows import STANDARD_ERRORS
from ...runners.deviations import Verdict as FrozenFlowVerdict
from .measuring import Gains
from .training import Curve

WINDOW = 5  # the last fifth of the batches is compared with the fifth before it
STILL = 0.05  # of the gain: a curve that rises by more from one window to the next has not flattened
STILL_OF_RETURN = 0.01  # of the deviators' return, where the gain is small
ENOUGH = 0.9  # of a known answer
FLAT, RISING, NOISY = "flat", "still rising", "too noisy to tell"


class Flatness(NamedTuple):
    """Attributes:
    verdict: FLAT, RISING or NOISY.
    rise: gain of the last window less that of the one before, reward units.
    error: 2.24 standard errors of it.
    tolerated: the rise that is called flat.
    """

    verdict: str
    rise: float
    error: float
    tolerated: float


class Known(NamedTuple):
    """What the deviator should have found, in a game with tables.

    Attributes:
        mean, largest: N-player exploitability by frozen flows, over agents and of the worst off.
        mean_share, largest_share: of it that the deviator gains; NaN where that cannot be said.
        n_episodes: that the frozen flows are of.
    """

    mean: float
    largest: float
    mean_share: float
    largest_share: float
    n_episodes: int


class Strength(NamedTuple):
    """Attributes:
    flatness: of the learning curve.
    known: the known answer, None in a game without tables.
    too_weak: whether the deviator was.
    why: in words; empty where it was not.
    """

    flatness: Flatness
    known: Known | None
    too_weak: bool
    why: str


def flatness(curve: Curve) -> Flatness:
    """Whether the deviators had stopped gaining when training ended.

    The last fifth of the batches against the fifth before it. Flat: even the rise plus 2.24 standard errors
    is within 5 % of the gain (or 1 % of the deviators' return). Rising: the rise is beyond that, and beyond
    its error. Else the curve is too noisy to tell. A curve may also be flat because learning never began.
    """
    size = len(curve.gain) // WINDOW
    last, before = (torch.tensor(part) for part in (curve.gain[-size:], curve.gain[-2 * size : -size]))
    rise = (last.mean() - before.mean()).item()
    error = STANDARD_ERRORS * ((last.var() + before.var()) / size).sqrt().item()
    tolerated = max(STILL * last.mean().item(), STILL_OF_RETURN * mean(curve.returns[-size:]))
    if rise + error <= tolerated:
        return Flatness(FLAT, rise, error, tolerated)
    return Flatness(RISING if rise > max(tolerated, error) else NOISY, rise, error, tolerated)


def mean(values: Sequence[float]) -> float:
    """Of at least one number."""
    return sum(values) / len(values)


def compare(gains: Gains, answer: FrozenFlowVerdict, *, shares_policy: bool, n_episodes: int) -> Known:
    """The gains beside N-player exploitabilities by frozen flows, which solve an agent's problem exactly.

    Where agents have policies of their own the worst off is one agent there, and a type here: no share then.
    """
    return Known(
        mean=answer.mean.estimate,
        largest=answer.largest.estimate,
        mean_share=share_of(gains.mean.mean, answer.mean.estimate),
        largest_share=share_of(gains.largest.mean, answer.largest.estimate) if shares_policy else math.nan,
        n_episodes=n_episodes,
    )


def share_of(part: float, whole: float) -> float:
    """Their ratio; NaN where there is no whole."""
    return part / whole if whole > 0 else math.nan


def strength(curve: Curve, known: Known | None) -> Strength:
    """The verdict: too weak with less than 90 % of a known answer; where none is known, if the curve rises.

    A curve that is too noisy to tell shows neither weakness nor strength, and is reported as that.
    """
    flat = flatness(curve)
    if known is not None and not math.isnan(known.mean_share):
        weak = known.mean_share < ENOUGH
        why = f"it finds {known.mean_share:.0%} of the exact gain, less than {ENOUGH:.0%}" if weak else ""
    else:
        weak = flat.verdict == RISING
        why = "its learning curve is still rising" if weak else ""
    return Strength(flat, known, weak, why)
