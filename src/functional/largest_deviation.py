"""The agent that deviates most: a lower bound by sample splitting, an upper bound for all agents at once."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .student_t import t_quantile

NEARLY_NORMAL = 1000  # degrees of freedom
TILTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95)  # lambda of the upper bound, fixed beforehand


class LowerBound(NamedTuple):
    """Attributes:
    value: a lower bound of the largest deviation of any agent, 0 at least.
    estimate: what the agents that were chosen deviate by in the mean, on the half they were not chosen on.
    cell: s A + a, where they do; -1 where nobody could be chosen.
    n_agents: how many were chosen.
    """

    value: float
    estimate: float
    cell: int
    n_agents: int


class UpperBound(NamedTuple):
    """Attributes:
    value: an upper bound of the deviation of every agent in every cell that it visited.
    by_cell: the same of every cell, [C]; 0 where nobody was.
    cell: where it is largest, s A + a.
    agent: whose it is.
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


def largest_at_least(
    sums: Tensor, visits: Tensor, *, level: float, largest: float, resolution: float
) -> LowerBound:
    """Lower bound of max_i sum_s' |dev_i(s')| over agents and cells, by splitting the blocks.

    A mean over some agents of sum_s' sign_i(s') dev_i(s') is at most the largest l1 norm, whatever agents and
    signs are taken. Half of the blocks choose them: a quarter ranks the agents of every cell by their
    |deviation| sqrt(visits), another finds the cell and how many of the first to take (1, 2, 4, ...) by the
    largest lower end, simultaneous over what it tries, and both rank again. The other half measures: its
    mean less Student's quantile of its error over blocks, and less largest ln(2 / (1 - level)) / n, by which
    n draws all alike may miss an event (so that few visits do not pass for certainty).

    Args:
        sums: of deviations, [X, K, N, C]: of all outcomes of a cell, none where none differs, or of rewards.
        visits: [K, N, C].
        level: probability that this bound and the other side's hold, each missing with half of the rest.
        largest: what the deviation of one visit can be at most, 2 or 1.
        resolution: of the data; taken off the bound.
    """
    if len(sums) == 0:
        return LowerBound(0.0, 0.0, -1, 0)
    ranking, choosing, measuring = slice(0, None, 4), slice(2, None, 4), slice(1, None, 2)
    (_, n_blocks, n_agents, n_cells), miss = sums.shape, (1 - level) / 2
    sizes = _powers_of_two(n_agents)
    rare = largest * math.log(1 / miss)
    taken = _take(_choose(sums[:, ranking], visits[ranking]), sums[:, choosing], visits[choosing], sizes)
    steady = t_quantile(1 - miss / (len(sizes) * n_cells), NEARLY_NORMAL)  # or a few lucky agents win
    ends = taken.mean - steady * taken.pooled_error - rare / taken.visits  # [P, C]
    ends = torch.where(taken.seen, ends, -torch.inf)
    best, cell = divmod(int(ends.argmax()), ends.shape[1])
    if not bool(taken.seen[best, cell]):
        return LowerBound(0.0, 0.0, -1, 0)
    sums, visits = sums[:, :, :, cell : cell + 1], visits[:, :, cell : cell + 1]
    chosen = _choose(sums[:, ::2], visits[::2])
    taken = _take(chosen, sums[:, measuring], visits[measuring], sizes[best : best + 1])
    if not bool(taken.seen):
        return LowerBound(0.0, 0.0, cell, int(sizes[best]))
    quantile = t_quantile(1 - miss, n_blocks // 2 - 1)
    end = taken.mean - quantile * taken.error - rare / taken.visits - resolution
    return LowerBound(max(0.0, end.item()), taken.mean.item(), cell, int(sizes[best]))


def _choose(sums: Tensor, visits: Tensor) -> Chosen:
    """Rank agents by sum_s' |T_i| / sqrt(n_i) in these blocks, [X, K, N, C] and [K, N, C]."""
    total, count = sums.sum(1), visits.sum(0)
    score = total.abs().sum(0) / count.clamp(min=1).sqrt()
    ranked = torch.where(count > 0, score, -1.0).argsort(dim=0, descending=True, stable=True)
    return Chosen(ranked, total.sign())


class Taken(NamedTuple):
    """The first m agents of every cell, for P numbers m; [P, C] each.

    Attributes:
        mean: of their signed deviations.
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
    return Taken(
        mean=mean,
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
    contrast of a visit, summed over any set, is at most h = 1 - the share of the others with the same
    outcome, in [0, 1]. So one bound from the sums of h^2 holds for all 2^S - 2 sets together, those of next
    states never seen included. Of a reward there are two events, its signs.

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
    log_odds = log_events + math.log(max(1, int(met.sum()))) + math.log(2 / (1 - level))
    ends = (sums.sum(1).abs().sum(0) + times * noise_at_most(scatter, log_odds)) / count
    ends = torch.where(met, ends.clamp(max=largest), 0.0)
    agent, cell = divmod(int(ends.argmax()), ends.shape[1])
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
