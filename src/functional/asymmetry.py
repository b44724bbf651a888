"""Every figure of alpha or of beta, from contrasts of agents: spreads, types, bounds on the largest."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .agent_contrasts import Contrasts
from .largest_deviation import LowerBound, UpperBound, exceeds, largest_at_least, largest_at_most
from .spread_over_agents import Jackknifed, measured, variance_over_agents
from .student_t import t_quantile

EXACT_RESOLUTION = 1e-12  # of float64 sums


class Interval(NamedTuple):
    """Attributes, all of one shape; NaN where the data does not tell:
    estimate: biased upwards by the noise that absolute values, or roots of what is positive, let through.
    lower: lower ends, 0 at least.
    upper: upper ends.
    """

    estimate: Tensor
    lower: Tensor
    upper: Tensor


class Largest(NamedTuple):
    """Interval of a maximum over the cells, and types, that were measured; its ends hold for all at once.

    Attributes:
        estimate: the largest of the estimates, biased upwards.
        lower: the largest lower end, of any cell.
        upper: the largest upper end, of any cell.
        cell: s A + a where the estimate is the largest; -1 where that is rounding, or nothing was measured.
        type: number of the type there; -1 likewise, and in a figure that is not one of types.
        measured: whether anything was; if not, estimate and upper end are the largest value that there can
            be, and the lower end is 0.
    """

    estimate: float
    lower: float
    upper: float
    cell: int
    type: int
    measured: bool


class Asymmetry(NamedTuple):
    """How far agents are from the induced game: alpha (transitions, l1 norms) or beta (rewards).

    Deviations are from the mean of the agents, and where some (types, where they are known) never are in a
    cell, of those who were: ``everyone`` tells. All lower ends and bounds of such a cell are divided by
    ``largest_deviation.exceeds``, and hold for the mean of all agents too. Upper ends do not.

    The lower ends of types, ``at_least`` and ``rms_at_least`` are lower bounds of alpha, or beta. Those of
    the rms are of beta, but not of alpha in cells of m > 2 next states: a sum of roots of means may exceed
    the mean of sums, up to sqrt(m / 2) times, for

        sum_s' sqrt(Var_i dev_i(s')) <= sqrt(m mean_i |dev_i|_2^2) <= sqrt(m / 2) max_i |dev_i|_1,

    since |d|_2^2 <= |d|_1^2 / 2 where d sums to zero.

    Attributes:
        rms: root-mean-square deviation over agents, sum_s' sqrt(Var_i dev_i(s')), of every cell; intervals
            one by one, [S, A].
        largest_rms: its maximum over cells.
        rms_at_least: lower bound of alpha, or beta, that the rms gives: the largest of its simultaneous
            lower ends, over sqrt(m / 2) where m > 2.
        by_type: norm of the mean deviation of a type in a cell, intervals simultaneous, [G, S, A]; None
            where types are not known.
        largest_by_type: its maximum over types and cells; None likewise.
        at_least: lower bound of the maximum over agents and cells, by sample splitting.
        at_most: upper bound of the same; the two hold together at the level.
        everyone: cells that all agents were in, or where types are known all types, [S, A] bool.
    """

    rms: Interval
    largest_rms: Largest
    rms_at_least: float
    by_type: Interval | None
    largest_by_type: Largest | None
    at_least: LowerBound
    at_most: UpperBound
    everyone: Tensor


class Quantity(NamedTuple):
    """What makes alpha, and what makes beta: X channels whose absolute deviations add up.

    Attributes:
        sums, noise: as of Contrasts, [X, K, N, C] each; X = 0 where no cell has two outcomes.
        scatter: as of Contrasts, [N, C].
        of_types: mean deviations of types, [X, G, C]; None where types are not known.
        n_free: intervals that a cell needs, [C].
        rms_over: how many times alpha, or beta, the rms can be, [C].
        times: of the largest sum over a set of channels, their norm.
        log_events: logarithm of the number of such sets.
        resolution: deviations below it are rounding.
        largest: what a deviation can be at most.
    """

    sums: Tensor
    noise: Tensor
    scatter: Tensor
    of_types: Jackknifed | None
    n_free: Tensor
    rms_over: Tensor
    times: float
    log_events: float
    resolution: float
    largest: float


def of_transitions(contrasts: Contrasts, types: Jackknifed | None) -> Quantity:
    """All outcomes of a cell; two mirror each other, so that one interval serves both, and one needs none."""
    outcomes = list(contrasts.outcomes())
    none = contrasts.sums[:0]
    m = contrasts.n_outcomes
    return Quantity(
        sums=torch.stack([sums for sums, _ in outcomes]) if outcomes else none,
        noise=torch.stack([noise for _, noise in outcomes]) if outcomes else none,
        scatter=contrasts.scatter[0],
        of_types=types and Jackknifed(types.value[: len(outcomes)], types.left_out[:, : len(outcomes)]),
        n_free=torch.where(m > 2, m, (m - 1).clamp(min=0)),
        rms_over=(m.double() / 2).clamp(min=1).sqrt(),
        times=2.0,
        log_events=contrasts.outcome_of.shape[1] * math.log(2),
        resolution=EXACT_RESOLUTION,
        largest=2.0,
    )


def of_rewards(contrasts: Contrasts, types: Jackknifed | None, *, resolution: float) -> Quantity:
    """The reward, one number a cell; its rounding is ``resolution``."""
    sums, noise = (part.unsqueeze(0) for part in contrasts.reward)
    return Quantity(
        sums=sums,
        noise=noise,
        scatter=contrasts.scatter[1],
        of_types=types and Jackknifed(types.value[-1:], types.left_out[:, -1:]),
        n_free=torch.ones_like(contrasts.n_outcomes),
        rms_over=torch.ones_like(contrasts.n_outcomes, dtype=torch.float64),
        times=1.0,
        log_events=math.log(2),
        resolution=resolution,
        largest=1.0,
    )


def asymmetry(
    quantity: Quantity,
    contrasts: Contrasts,
    types_told: Tensor | None,
    *,
    shape: tuple[int, int],
    level: float,
) -> Asymmetry:
    """Every figure of one quantity.

    Args:
        quantity: ``of_transitions`` or ``of_rewards``.
        contrasts: of agents.
        types_told: types and cells that were measured, [G, C]; None where types are not known.
        shape: S and A.
        level: confidence of each figure.
    """
    visits, everyone = contrasts.visits, contrasts.everyone
    over = exceeds(everyone, visits.shape[1])
    told = measured(visits, contrasts.dropped)
    rms, all_rms = spread(quantity, visits, told, over, level=level)
    by_type = None if types_told is None else deviation_of_types(quantity, types_told, over, level=level)
    bounds = {"level": level, "largest": quantity.largest}
    at_least = largest_at_least(quantity.sums, visits, everyone, resolution=quantity.resolution, **bounds)
    at_most = largest_at_most(
        quantity.sums,
        quantity.scatter,
        visits,
        log_events=quantity.log_events,
        times=quantity.times,
        **bounds,
    )
    return Asymmetry(
        rms=_by_cell(rms, shape),
        largest_rms=largest_of(all_rms, quantity.largest, resolution=quantity.resolution),
        rms_at_least=torch.where(told, all_rms.lower / quantity.rms_over, 0.0).max().item(),
        by_type=by_type and _by_cell(by_type, shape),
        largest_by_type=by_type and largest_of(by_type, quantity.largest, resolution=quantity.resolution),
        at_least=at_least,
        at_most=at_most._replace(by_cell=at_most.by_cell.reshape(shape)),
        everyone=everyone.reshape(shape),
    )


def spread(
    quantity: Quantity, visits: Tensor, told: Tensor, over: Tensor, *, level: float
) -> tuple[Interval, Interval]:
    """Root-mean-square deviations of every cell, intervals one by one [C], and the same simultaneous.

    The interval of a sum of roots is made of those of its variances, each at its share of the miss.

    Args:
        quantity: alpha's or beta's.
        visits: [K, N, C].
        told: cells that were measured, [C].
        over: what lower ends are divided by, [C].
        level: confidence of each interval, and of all at once.
    """
    variances = [
        variance_over_agents(sums, noise, visits)
        for sums, noise in zip(quantity.sums, quantity.noise, strict=True)
    ]
    estimate = torch.zeros_like(told, dtype=visits.dtype)
    for found in variances:
        estimate += found.value.clamp(min=0).sqrt()

    def ends(n_intervals: Tensor) -> Interval:
        quantile = quantiles(n_intervals, level, len(visits) - 1)
        low, high = torch.zeros_like(estimate), torch.zeros_like(estimate)
        for found in variances:
            half = quantile * found.error
            low += ((found.value - half).clamp(min=0).sqrt() - quantity.resolution).clamp(min=0)
            high += (found.value + half).clamp(min=0).sqrt() + quantity.resolution
        return _told(Interval(estimate, low / over, high.clamp(max=quantity.largest)), told)

    n_all = torch.where(told, quantity.n_free, 0).sum().expand_as(told)
    return ends(quantity.n_free), ends(n_all)


def deviation_of_types(quantity: Quantity, told: Tensor, over: Tensor, *, level: float) -> Interval:
    """Norms of the mean deviations of types, [G, C], simultaneous.

    Args:
        quantity: with ``of_types``.
        told: types and cells that were measured, [G, C].
        over: what lower ends are divided by, [C].
        level: confidence, of all at once.
    """
    assert quantity.of_types is not None
    mean = quantity.of_types
    n_all = torch.where(told, quantity.n_free, 0).sum()
    half = quantiles(n_all, level, len(mean.left_out) - 1) * mean.error + quantity.resolution
    size = mean.corrected.abs()
    low, high = (size - half).clamp(min=0).sum(0), (size + half).sum(0)
    return _told(Interval(size.sum(0), low / over, high.clamp(max=quantity.largest)), told)


def quantiles(n_intervals: Tensor, level: float, degrees: int) -> Tensor:
    """Student's two-sided quantiles where ``level`` is shared out among numbers of intervals, any shape."""
    numbers = {n: t_quantile(1 - (1 - level) / 2 / max(1, n), degrees) for n in n_intervals.unique().tolist()}
    flat = [numbers[n] for n in n_intervals.flatten().tolist()]
    return torch.tensor(flat, dtype=torch.float64, device=n_intervals.device).reshape(n_intervals.shape)


def largest_of(found: Interval, largest: float, *, resolution: float = 0.0) -> Largest:
    """The maximum over cells [C], or types and cells [G, C], from simultaneous intervals."""
    told = found.upper.isfinite()
    if not bool(told.any()):
        return Largest(largest, 0.0, largest, -1, -1, measured=False)
    estimate, lower, upper = (torch.where(told, part, -torch.inf) for part in found)
    kind, cell = divmod(int(estimate.argmax()), told.shape[-1])
    somewhere = bool(estimate.max() > resolution)
    return Largest(
        estimate=estimate.max().item(),
        lower=lower.max().item(),
        upper=upper.max().item(),
        cell=cell if somewhere else -1,
        type=kind if somewhere and told.dim() == 2 else -1,
        measured=True,
    )


def _told(found: Interval, told: Tensor) -> Interval:
    """NaN where nothing was measured."""
    return Interval(*(torch.where(told, part, torch.nan) for part in found))


def _by_cell(found: Interval, shape: tuple[int, int]) -> Interval:
    """[..., C] -> [..., S, A]."""
    return Interval(*(part.unflatten(-1, shape) for part in found))
