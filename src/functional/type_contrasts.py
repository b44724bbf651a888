"""How types of agents differ, from trajectories: each type's mean against that of all, group by group."""

from typing import NamedTuple

import torch
from torch import Tensor

from .agent_contrasts import MOST_ENTRIES, NotTrajectoriesError, Play, Visits, each_channel, each_step
from .spread_over_agents import FEWEST_BLOCKS, FEWEST_VISITS, Jackknifed

MOST_TYPES = 64


class TypeSums(NamedTuple):
    """Sums over the visits of G types to C cells, by step and block; M outcomes and the reward, X = M + 1.

    Attributes:
        visits: with others to compare with, [T, K, G, C].
        mixed_visits: of those, in groups of more than one type, [T, K, G, C].
        contrasts: sums of contrasts with the types that were there, [T, K, X, G, C].
        missing: what the types' own deviations add to that where one is not there, [T, K, C, G, G].
    """

    visits: Tensor
    mixed_visits: Tensor
    contrasts: Tensor
    missing: Tensor

    def mean(self) -> Jackknifed:
        """Mean deviations of the types over their visits, [X, G, C]; NaN where a type never was."""
        parts = [part.sum(1) for part in self]
        left_out = [
            mean_deviations(*(part - own[:, k] for part, own in zip(parts, self, strict=True)))
            for k in range(self.visits.shape[1])
        ]
        return Jackknifed(mean_deviations(*parts), torch.stack(left_out))

    @property
    def measured(self) -> Tensor:
        """Types and cells that met other types in blocks and visits enough for an interval, [G, C] bool."""
        mixed = self.mixed_visits.sum(0)  # [K, G, C]
        return ((mixed > 0).sum(0) >= FEWEST_BLOCKS) & (mixed.sum(0) >= FEWEST_VISITS)


def mean_deviations(visits: Tensor, mixed_visits: Tensor, contrasts: Tensor, missing: Tensor) -> Tensor:
    """Means over visits of deviations d that solve n_tau d_tau + sum_tau' W_tau,tau' d_tau' = P_tau.

    They are solved step by step, for they vary with the population and the population with the step; for
    types that met no other at a step, those of all steps together are taken.

    Args:
        visits: n, [T, G, C].
        mixed_visits: in groups of more than one type, [T, G, C].
        contrasts: P, [T, X, G, C].
        missing: W, [T, C, G, G].

    Returns:
        [X, G, C]; NaN where n is 0 at every step.
    """
    count = visits.sum(0)
    if not bool(missing.any()):
        return torch.where(count > 0, contrasts.sum(0) / count, torch.nan)
    overall = _solved(count, contrasts.sum(0), missing.sum(0))  # [X, G, C]
    met = mixed_visits > 0
    rows = met.transpose(1, 2).unsqueeze(-1)  # [T, C, G, 1]
    n = torch.where(met, visits, 1.0)
    of_step = _solved(n, torch.where(met.unsqueeze(1), contrasts, overall), torch.where(rows, missing, 0.0))
    return torch.where(count > 0, (visits.unsqueeze(1) * of_step).sum(0) / count, torch.nan)


def _solved(visits: Tensor, contrasts: Tensor, missing: Tensor) -> Tensor:
    """d from n [..., G, C], P [..., X, G, C] and W [..., C, G, G]; the smallest where it is not unique."""
    matrix = torch.diag_embed(visits.transpose(-1, -2)) + missing
    return torch.einsum("...cgt,...xtc->...xgc", torch.linalg.pinv(matrix, rtol=1e-12), contrasts)


def type_contrasts(play: Play, outcome_of: Tensor, type_of: Tensor, n_types: int) -> TypeSums:
    """Deviations of types from the mean over all agents, P^tau - P, each over the type's own visits.

    In every group g a type's mean is compared with sum_tau (N_tau / N) mean of type tau in g: exact whatever
    the composition of the group and however deviations depend on the population, where agents of a type
    are alike. A type that is not there is put in as an additive model has it, as the mean over g of
    y_j - d(type of j), plus its own d at that step: the sums are linear in the deviations d, which solve
    them.

    Args:
        play: the trajectories.
        outcome_of: ranks of next states, as in ``Contrasts``, [C, S].
        type_of: number of the type of each agent, 0 .. G - 1, [N] int64.
        n_types: G.

    Raises:
        NotTrajectoriesError: more types than are told apart.
    """
    n_episodes, horizon, n_agents = play.actions.shape
    entries = horizon * play.n_blocks * play.n_cells * n_types**2
    if n_types > MOST_TYPES or entries > MOST_ENTRIES:
        raise NotTrajectoriesError(
            f"{n_types} types: fewer must be told apart, at most {MOST_TYPES}; leave them out"
        )
    n_channels = int(outcome_of.max()) + 1
    weight = torch.bincount(type_of, minlength=n_types).double() / n_agents  # [G]
    types = type_of.repeat(n_episodes)  # [V]
    block = torch.arange(n_episodes, device=type_of.device) * play.n_blocks // n_episodes
    shape = (horizon, play.n_blocks, n_types, play.n_cells)
    visited, mixed = weight.new_zeros(shape), weight.new_zeros(shape)
    sums = weight.new_zeros(n_channels, *shape)
    missing = weight.new_zeros(horizon, play.n_blocks, play.n_cells, n_types, n_types)

    def by_episode(groups: Tensor) -> Tensor:  # [G, B C] -> [B, G, C]
        return groups.reshape(n_types, n_episodes, play.n_cells).transpose(0, 1)

    for h, visits in enumerate(each_step(play)):
        count = _sums(visits, types, None, n_types, n_episodes * play.n_cells)  # [G, B C]
        absent = (count == 0).double()
        visited[h].index_add_(0, block, by_episode(count))
        mixed[h].index_add_(0, block, by_episode(count * ((count > 0).sum(0) > 1)))
        share = count / count.sum(0).clamp(min=1)
        put_in = weight @ absent  # weight of the types that are not there, [B C]
        for channel, values in enumerate(each_channel(visits, outcome_of, n_channels)):
            mean = _sums(visits, types, values, *count.shape) / count.clamp(min=1)
            reference = weight @ mean + put_in * (share * mean).sum(0)  # of absent types, mean is 0
            sums[channel, h].index_add_(0, block, by_episode(count * (mean - reference)))
        owed = weight.unsqueeze(1) * absent - put_in * share  # [G, B C]
        pairs = (count.unsqueeze(1) * owed).reshape(n_types, n_types, n_episodes, play.n_cells)
        missing[h].index_add_(0, block, pairs.permute(2, 3, 0, 1))
    last = -sums[:-1].sum(0, keepdim=True)  # of the outcome that the others tell
    contrasts = torch.cat([sums[:-1], last, sums[-1:]])
    return TypeSums(visited, mixed, contrasts.permute(1, 2, 0, 3, 4), missing)


def _sums(visits: Visits, types: Tensor, values: Tensor | None, n_types: int, n_groups: int) -> Tensor:
    """Sums of values [V], or numbers, of the kept visits of each type to each group, [G, B C]."""
    weights = visits.kept if values is None else visits.kept * values
    rows = types * n_groups + visits.group
    return torch.bincount(rows, weights, n_types * n_groups).reshape(n_types, n_groups)
