"""Interquartile means over seeds, with bootstrap intervals.

As Agarwal et al. 2021 ("Deep Reinforcement Learning at the Edge of the Statistical Precipice") ask for it:
the mean of the middle half of the runs, with a percentile interval of a bootstrap that draws runs anew within
each stratum. Their library rliable is archived; what it draws with is arch (Sheppard), which is kept up,
honours a seed, and allows strata of unequal size. It is imported when first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

FEWEST_FOR_AN_INTERVAL = 3
FEWEST_FOR_QUARTILES = 4  # with fewer, nothing is cut off and the interquartile mean is the mean
LEVEL = 0.95
REPETITIONS = 2000
SEED = 0  # of the bootstrap: the same runs always give the same interval
INSTALL = "pip install 'mf-pmd[compare]'"


@dataclass(frozen=True)
class Estimate:
    """An interquartile mean over runs.

    Attributes:
        value: float, or an array with one entry a point of a curve; NaN if no run has a finite value.
        lower, upper: ends of the 95 % interval, None with fewer than three finite values.
        held: how many runs it was computed from.
        of: how many there were.
    """

    value: Any
    lower: Any
    upper: Any
    held: int
    of: int


def require_bootstrap() -> Any:
    """The module ``arch.bootstrap``.

    Raises:
        UserError: it is not installed.
    """
    try:
        from arch import bootstrap
    except ImportError as error:
        raise UserError(f"intervals need the package arch ({error}): {INSTALL}") from error
    return bootstrap


def interquartile_mean(values: NDArray[Any]) -> Any:
    """Mean over axis 0 of [K, ...] without the floor(K / 4) smallest and as many of the largest.

    Agarwal et al. 2021, Sec. 4.3. With K < 4 it is the mean, with K < 8 all but one at either end count.
    """
    count = len(values)
    assert count > 0, "no value to average"
    cut = count // 4
    return np.sort(values, axis=0)[cut : count - cut].mean(axis=0)


def estimate(strata: Sequence[NDArray[Any]]) -> Estimate:
    """Interquartile mean over the runs of all strata together, and its stratified bootstrap interval.

    Args:
        strata: values of the runs, [K_i] or [K_i, P] each, one array a stratum (a game; one stratum makes it
            the plain bootstrap). Runs with a value that is not finite are left out.

    Returns:
        The estimate; without an interval if a stratum has fewer than three runs.
    """
    of = sum(map(len, strata))
    kept = [values[np.isfinite(values.reshape(len(values), -1)).all(1)] for values in strata]
    held = sum(map(len, kept))
    if held == 0:
        return Estimate(np.full(strata[0].shape[1:], np.nan)[()], None, None, 0, of)
    value = interquartile_mean(np.concatenate(kept))
    if min(map(len, kept)) < FEWEST_FOR_AN_INTERVAL:
        return Estimate(value, None, None, held, of)

    def statistic(*drawn: NDArray[Any]) -> NDArray[Any]:
        return np.atleast_1d(interquartile_mean(np.concatenate(drawn)))

    drawing = require_bootstrap().IndependentSamplesBootstrap(*kept, seed=SEED)
    lower, upper = drawing.conf_int(statistic, reps=REPETITIONS, method="percentile", size=LEVEL)
    if np.ndim(value) == 0:
        lower, upper = lower[0], upper[0]
    return Estimate(value, lower, upper, held, of)


def on_common_steps(
    curves: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Curves of several runs on one grid: steps [P] and values [K, P].

    The grid is that of the run with the fewest points, within the steps that all runs cover. Runs with other
    steps (EPyMARL's runners test when they get to it) are interpolated linearly; equal grids stay as they
    are.
    """
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    fewest = min((steps for steps, _ in curves), key=len)
    grid = fewest[(fewest >= first) & (fewest <= last)]
    return grid, np.array([np.interp(grid, steps, values) for steps, values in curves])
