"""Slopes of power laws on logarithmic axes, with their standard errors over seeds."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Statistic = Callable[[Tensor], Tensor]
"""Of samples [R, K, ...], R seeds at K places, an estimate at every place: [K]."""
CLEAR = 2.0  # standard errors that an estimate must lie above 0 to be fitted: its logarithm is taken


class Slope(NamedTuple):
    """d log y / d log x by least squares.

    Attributes:
        value: NaN where fewer than two places could be fitted.
        error: standard error over seeds (delete-one jackknife).
        intercept: of log y at log x = 0.
        n_places: how many were fitted.
    """

    value: float
    error: float
    intercept: float
    n_places: int

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.2f}" if math.isnan(self.error) else f"{self.value:.2f} ± {self.error:.2f}"

    def at(self, x: Sequence[float]) -> list[float]:
        """The fitted law at some places."""
        return [math.exp(self.intercept + self.value * math.log(place)) for place in x]


class Curve(NamedTuple):
    """Attributes:
    value: the estimate at every place, [K].
    error: its standard error over seeds, [K].
    """

    value: Tensor
    error: Tensor


def mean(samples: Tensor) -> Tensor:
    """The mean over seeds: [R, K] -> [K]."""
    return samples.mean(0)


def jackknife(samples: Tensor, statistic: Statistic) -> tuple[Tensor, Tensor]:
    """A statistic of R >= 2 seeds and its delete-one standard error.

    sqrt((R - 1) / R sum_r (theta_-r - mean theta_-r)^2), which for a mean is its usual standard error
    (Efron & Tibshirani 1993, eq. 11.5).
    """
    n_seeds = samples.shape[0]
    keep = ~torch.eye(n_seeds, dtype=torch.bool)
    without = torch.stack([statistic(samples[others]) for others in keep])
    spread = (without - without.mean(0)).square().sum(0)
    return statistic(samples), (spread * (n_seeds - 1) / n_seeds).sqrt()


def curve(samples: Tensor, statistic: Statistic = mean) -> Curve:
    """Estimates with their standard errors: samples [R, K, ...]."""
    return Curve(*jackknife(samples, statistic))


def fitted_slope(
    x: Sequence[float], samples: Tensor, *, statistic: Statistic = mean, among: Sequence[bool] | None = None
) -> Slope:
    """The exponent of estimate ~ x^slope over the places whose estimate is clearly positive.

    Args:
        x: [K] > 0.
        samples: [R, K, ...] of R >= 2 seeds, or [1, K] for an exact curve, whose slope has no error.
        statistic: what is fitted.
        among: [K], places that may be fitted; None for all.
    """
    places = torch.tensor([True] * len(x) if among is None else list(among))
    if samples.shape[0] == 1:
        chosen = places & (statistic(samples) > 0)
    else:
        value, error = jackknife(samples, statistic)
        chosen = places & (value > CLEAR * error)
    if chosen.sum() < 2:
        return Slope(math.nan, math.nan, math.nan, int(chosen.sum()))
    logs = torch.tensor(x, dtype=torch.float64).log()[chosen]

    def line(some: Tensor) -> Tensor:
        return least_squares(logs, statistic(some)[chosen].clamp(min=1e-300).log())

    if samples.shape[0] == 1:
        fit, spread = line(samples), torch.full((2,), math.nan)
    else:
        fit, spread = jackknife(samples, line)
    return Slope(fit[0].item(), spread[0].item(), fit[1].item(), int(chosen.sum()))


def least_squares(x: Tensor, y: Tensor) -> Tensor:
    """Slope and intercept of y = slope x + intercept: [2]."""
    centred = x - x.mean()
    slope = (centred * (y - y.mean())).sum() / centred.square().sum()
    return torch.stack([slope, y.mean() - slope * x.mean()])


def squared_bias(samples: Tensor) -> Tensor:
    """|E X - target|^2 without the sampling error in it: differences [R, K, D] -> [K].

    |mean_r x_r|^2 - (1/R) sum_d Var_r, which has expectation |E x|^2 whatever the spread over seeds
    is, and may therefore be negative.
    """
    n_seeds = samples.shape[0]
    return (samples.mean(0).square() - samples.var(0) / n_seeds).sum(-1)


def squared_error(samples: Tensor) -> Tensor:
    """E |X - target|^2: differences [R, K, D] -> [K]."""
    return samples.square().sum(-1).mean(0)
