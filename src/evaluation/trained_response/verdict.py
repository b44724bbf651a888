"""Whether a trained deviator was strong enough for its gain to mean anything."""

import math
from typing import NamedTuple

import torch

from ...functional.frozen_flows import STANDARD_ERRORS, Bracket
from ...runners.deviations import Verdict as FrozenFlowVerdict
from .measuring import Gains
from .training import Curve

FIFTHS = 5  # parts of the batches; the last is compared with the one before it, and with all
STILL = 0.05  # of the gain: a curve that changes by more from one fifth to the next has not flattened
STILL_OF_RETURN = 0.01  # of the deviators' return, where the gain is small
ENOUGH = 0.9  # of a known answer
WIDE = 0.25  # of the deviators' return: an interval as wide that shows no gain says nothing
FLAT, RISING, FALLING, NOISY = "flat", "still rising", "falling", "too noisy to tell"


class Flatness(NamedTuple):
    """Attributes:
    verdict: FLAT, RISING, FALLING or NOISY.
    rise: gain of the last fifth less that of the one before, reward units.
    error: 2.24 standard errors of it.
    tolerated: the change that is called flat.
    """

    verdict: str
    rise: float
    error: float
    tolerated: float


class Known(NamedTuple):
    """What the deviator should have found, in a game with tables.

    Attributes:
        mean, largest: N-player exploitability by frozen flows, over agents and of the worst off; itself what
            a deviation gains that was fitted to other episodes, so with an interval of its own.
        mean_share, largest_share: of the estimate that the deviator gains, both of them points (the worst off
            type is selected); NaN where that cannot be said.
        mean_at_least, largest_at_least: the same, of the upper end by the lower end of what was gained.
        n_episodes: that the frozen flows are of.
    """

    mean: Bracket
    largest: Bracket
    mean_share: float
    largest_share: float
    mean_at_least: float
    largest_at_least: float
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
    """Whether the deviators had stopped gaining, or losing, when training ended.

    The last fifth of the batches against the fifth before it. Flat: the change, up or down, and 2.24 standard
    errors are within 5 % of the gain (or 1 % of the deviators' return). Rising: the rise is beyond that, and
    beyond its error. Falling: the last fifth is as far below any of the others. Else the curve is too noisy
    to tell. A curve may also be flat because learning never began.
    """
    size = len(curve.gain) // FIFTHS
    parts = torch.tensor(curve.gain[-FIFTHS * size :], dtype=torch.float64).view(FIFTHS, size)
    means, variances = parts.mean(1), parts.var(1)
    changes = means[-1] - means[:-1]
    errors = STANDARD_ERRORS * ((variances[-1] + variances[:-1]) / size).sqrt()
    got = sum(curve.returns[-size:]) / size
    tolerated = max(STILL * means[-1].item(), STILL_OF_RETURN * abs(got))
    rise, error = changes[-1].item(), errors[-1].item()
    if rise > max(tolerated, error):
        verdict = RISING
    elif bool((-changes > errors.clamp(min=tolerated)).any()):
        verdict = FALLING
    else:
        verdict = FLAT if abs(rise) + error <= tolerated else NOISY
    return Flatness(verdict, rise, error, tolerated)


def compare(gains: Gains, answer: FrozenFlowVerdict, *, shares_policy: bool, n_episodes: int) -> Known:
    """The gains beside N-player exploitabilities by frozen flows, which solve an agent's problem on tables.

    Where agents have policies of their own the worst off is one agent there, and a type here: no share then.
    """
    mean, largest = answer.mean, answer.largest
    alike = 1.0 if shares_policy else math.nan
    return Known(
        mean=mean,
        largest=largest,
        mean_share=share_of(gains.mean.mean, mean.estimate),
        largest_share=alike * share_of(gains.largest.mean, largest.estimate),
        mean_at_least=share_of(gains.mean.lower, mean.upper),
        largest_at_least=alike * share_of(gains.largest.lower, largest.upper),
        n_episodes=n_episodes,
    )


def share_of(part: float, whole: float) -> float:
    """Their ratio; NaN where there is no whole."""
    return part / whole if whole > 0 else math.nan


def strength(curve: Curve, gains: Gains, known: Known | None) -> Strength:
    """The verdict: too weak for any of these reasons.

    - No gain was shown and the interval is wider than a quarter of what the deviators got. What the game can
      pay is not known without tables; its horizon times the largest reward may be a hundred times what anyone
      gets, and no interval would ever be too wide.
    - Less than 90 % of a known answer, point by point, was found.
    - Where none is known: the curve still rises, or falls.

    A curve that is too noisy to tell shows neither weakness nor strength, and is reported as that.
    """
    flat, reasons = flatness(curve), []
    if gains.mean.lower <= 0 and gains.mean.upper - gains.mean.lower > WIDE * abs(gains.deviators_return):
        reasons.append(f"no gain is shown, by an interval wider than {WIDE:.0%} of the deviators' return")
    if known is not None and not math.isnan(known.mean_share):
        if known.mean_share < ENOUGH:
            found = f"it finds {known.mean_share:.1%} of the gain by frozen flows"
            reasons.append(f"{found}, less than {ENOUGH:.0%}")
    elif flat.verdict in (RISING, FALLING):
        reasons.append(f"its learning curve is {flat.verdict}")
    return Strength(flat, known, bool(reasons), "; ".join(reasons))
