"""The agent that deviates most: a lower bound by sample splitting, an upper bound for all agents at once."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .spread_over_agents import Jackknifed
from .student_t import t_quantile

NEARLY_NORMAL = 1000  # degrees of freedom
TILTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95)  # lambda of the upper bound, fixed beforehand


class LowerBound(NamedTuple):
    """Attributes:
    value: a lower bound of the largest deviation of any agent from the mean of all, 0 at least.
    estimate: what the agents that were chosen deviate by in the mean, on the half they were not chosen on,
        from the mean of those who were in the cell.
    cell: s A + a, where they do; -1 where the bound is 0.
    n_agents: how many were chosen.
    everyone: whether all agents (types, where known) were in that cell; if not, the bound is divided by
        2 (N - 1) / N, see ``exceeds``.
    """

    value: float
    estimate: float
    cell: int
    n_agents: int
    everyone: bool


class UpperBound(NamedTuple):
    """Attributes:
    value: an upper bound of the deviation of every agent in every cell that it visited.
    by_cell: the same of every cell, [C]; 0 where nobody was.
    cell: where it is largest, s A + a; -1 where nobody was anywhere.
    agent: whose it is; -1 likewise.
    """

    value: float
    by_cell: Tensor
    cell: int
    agent: int


class Chosen(NamedTuple):
    """Agents of every cell, first those that deviated most, with the signs of their deviations.

    Attributes:
        order: of the agents, [N, C] int64.
        signs: of the deviations of every agent and channel, [X, N, C]; 0 of who was not in the cell.
    """

    order: Tensor
    signs: Tensor


def exceeds(everyone: Tensor, n_agents: int) -> Tensor:
    """How many times alpha a deviation from the mean of those who were in a cell can be, [C] float64.

    Once where all were. Else the difference of two agents is 2 alpha at most, and so is that of an agent and
    the mean of n who are there, itself among them, times (n - 1) / n <= (N - 1) / N.

    Args:
        everyone: whether all were there, [C].
        n_agents: N.
    """
    return torch.where(everyone, 1.0, max(1.0, 2 * (n_agents - 1) / n_agents)).double()


def largest_at_least(
    sums: Tensor, visits: Tensor, everyone: Tensor, *, level: float, largest: float, resolution: float
) -> LowerBound:
    """Lower bound of max_i sum_s' |dev_i(s')| over agents and cells, by splitting the blocks.

    A mean over some agents of sum_s' sign_i(s') dev_i(s') is at most the largest l1 norm, whatever agents and
    signs are taken. Half of the blocks choose them: a quarter ranks the agents of every cell by their
    |deviation| sqrt(visits), another finds the cell and how many of the first to take (1, 2, 4, ...) by the
    largest lower end, simultaneous over what it tries, and both rank again. The other half measures: its
    mean less Student's quantile of its error over blocks, and less largest ln(2 / (1 - level)) / n, by which
    n draws all alike may miss an event (so that few visits do not pass for certainty). Means are jackknifed:
    they are ratios, see ``Jackknifed.corrected``.

    Args:
        sums: of deviations, [X, K, N, C]: of all outcomes of a cell, none where none differs, or of rewards.
        visits: [K, N, C].
        everyone: cells that all agents were in, [C] bool; bounds from others are divided by ``exceeds``.
        level: probability that this bound and the other side's hold, each missing with half of the rest.
        largest: what the deviation of one visit can be at most, 2 or 1.
        resolution: of the data; taken off the bound.
    """
    if len(sums) == 0:
        return LowerBound(0.0, 0.0, -1, 0, True)
    ranking, choosing, measuring = slice(0, None, 4), slice(2, None, 4), slice(1, None, 2)
    (_, n_blocks, n_agents, n_cells), miss = sums.shape, (1 - level) / 2
    sizes = _powers_of_two(n_agents)
    rare = largest * math.log(1 / miss)
    taken = _take(_choose(sums[:, ranking], visits[ranking]), sums[:, choosing], visits[choosing], sizes)
    steady = t_quantile(1 - miss / (len(sizes) * n_cells), NEARLY_NORMAL)  # or a few lucky agents win
    ends = taken.mean - steady * taken.pooled_error - rare / taken.visits  # [P, C]
    over = exceeds(everyone, n_agents)
    ends = torch.where(taken.seen, ends / over, -torch.inf)
    best, cell = divmod(int(ends.argmax()), ends.shape[1])
    if not bool(taken.seen[best, cell]):
        return LowerBound(0.0, 0.0, -1, 0, True)
    sums, visits = sums[:, :, :, cell : cell + 1], visits[:, :, cell : cell + 1]
    chosen = _choose(sums[:, ::2], visits[::2])
    taken = _take(chosen, sums[:, measuring], visits[measuring], sizes[best : best + 1])
    if not bool(taken.seen):
        return LowerBound(0.0, 0.0, -1, int(sizes[best]), bool(everyone[cell]))
    quantile = t_quantile(1 - miss, n_blocks // 2 - 1)
    end = (taken.mean - quantile * taken.error - rare / taken.visits - resolution).item()
    place = cell if end > 0 else -1
    value = max(0.0, end / over[cell].item())
    return LowerBound(value, taken.mean.item(), place, int(sizes[best]), bool(everyone[cell]))


def _choose(sums: Tensor, visits: Tensor) -> Chosen:
    """Rank agents by sum_s' |T_i| / sqrt(n_i) in these blocks, [X, K, N, C] and [K, N, C]."""
    total, count = sums.sum(1), visits.sum(0)
    score = total.abs().sum(0) / count.clamp(min=1).sqrt()
    ranked = torch.where(count > 0, score, -1.0).argsort(dim=0, descending=True, stable=True)
    return Chosen(ranked, total.sign())


class Taken(NamedTuple):
    """The first m agents of every cell, for P numbers m; [P, C] each.

    Attributes:
        mean: of their signed deviations, jackknifed.
        error: standard error of it, over the blocks.
        pooled_error: the same from what all agents' blocks scatter: steadier, and blind to what agents share.
        visits: n.
        seen: whether every block saw one of them; without, the spread tells nothing.
    """

    mean: Tensor
    error: Tensor
    pooled_error: Tensor
    visits: Tensor
    seen: Tensor


def _take(chosen: Chosen, sums: Tensor, visits: Tensor, sizes: Tensor) -> Taken:
    """What the chosen deviate by in these blocks, [X, K, N, C] and [K, N, C]."""
    n_blocks = len(visits)
    signed = (sums * chosen.signs.unsqueeze(1)).sum(0)  # [K, N, C]
    counted = visits * (chosen.signs != 0).any(0)
    order = chosen.order.expand(n_blocks, -1, -1)
    found, count = (part.gather(1, order).cumsum(1)[:, sizes - 1] for part in (signed, counted))
    n = count.sum(0)
    mean = found.sum(0) / n
    widen = n_blocks / (n_blocks - 1)
    scatter = ((found - mean * count) ** 2).sum(0)
    own_mean = signed.sum(0) / counted.sum(0).clamp(min=1)
    own_scatter = ((signed - own_mean * counted) ** 2).sum((0, 1)) / counted.sum((0, 1))  # [C], a visit
    left_out = (found.sum(0) - found) / (n - count)  # [K, P, C]
    return Taken(
        mean=Jackknifed(mean, left_out).corrected,
        error=(widen * scatter).sqrt() / n,
        pooled_error=(widen * own_scatter / n).sqrt(),
        visits=n,
        seen=(count > 0).all(0),
    )


def _powers_of_two(n: int) -> Tensor:
    """1, 2, 4, ... up to n, and n itself."""
    return torch.tensor(sorted({*(2**k for k in range(n.bit_length()) if 2**k <= n), n}))


def largest_at_most(
    sums: Tensor,
    scatter: Tensor,
    visits: Tensor,
    *,
    log_events: float,
    times: float,
    level: float,
    largest: float,
) -> UpperBound:
    """Upper bound of max_i sum_s' |dev_i(s')|, for all agents and cells at once, from all blocks.

    The l1 norm of a deviation that sums to zero is twice its largest sum over a set of next states. The
    contrast of a visit with its reference, summed over any set, is at most h = 1 - the share of the same
    outcome in the reference, in [0, 1]. So one bound from the sums of h^2 holds for all 2^S - 2 sets
    together, those of next states never seen included. Of a reward there are two events, its signs. What is
    bounded is the noise of these contrasts; the corrections for who was there that ``sums`` hold are fitted
    to the same data and taken as they are. Deviations are from the mean of those who were in the cell.

    Args:
        sums: of deviations, [X, K, N, C].
        scatter: sums of squares of what bounds the contrasts of an agent's visits, [N, C].
        visits: [K, N, C].
        log_events: logarithm of the number of events for each agent and cell.
        times: 2 for an l1 norm, 1 for a reward.
        level: probability that this bound and the other side's hold, each missing with half of the rest.
        largest: what a deviation can be at most.
    """
    count = visits.sum(0)
    met = count > 0
    log_odds = log_events + math.log(met.numel()) + math.log(2 / (1 - level))
    ends = (sums.sum(1).abs().sum(0) + times * noise_at_most(scatter, log_odds)) / count
    ends = torch.where(met, ends.clamp(max=largest), 0.0)
    agent, cell = divmod(int(ends.argmax()), ends.shape[1]) if bool(met.any()) else (-1, -1)
    return UpperBound(ends.max().item(), ends.amax(0), cell, agent)


def noise_at_most(scatter: Tensor, log_odds: float) -> Tensor:
    """A bound on sum_t (x_t - m_t), x_t in [-1, 1] of conditional means m_t, from V = sum_t x_t^2: [...].

    exp(lambda sum (x_t - m_t) - psi(lambda) sum x_t^2) is a supermartingale for every lambda in [0, 1),
    psi(lambda) = -ln(1 - lambda) - lambda (Fan, Grama & Liu 2015; the empirical Bernstein bound of Howard et
    al. 2021 rests on it), so that the sum is at most (ln(1 / p) + psi V) / lambda with probability 1 - p,
    whenever one stops: how often an agent comes back to a cell depends on where its noise took it. The best
    of ten lambda is taken, each at p / 10. Normal quantiles are too short for few and rare events.

    Args:
        scatter: V = sum x_t^2, [...].
        log_odds: ln(1 / p).
    """
    bounds = [
        (log_odds + math.log(len(TILTS)) + (-math.log1p(-tilt) - tilt) * scatter) / tilt for tilt in TILTS
    ]
    return torch.stack(bounds).amin(0)
