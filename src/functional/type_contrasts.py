"""How types of agents differ, from trajectories: each type's mean against that of all, group by group."""

from typing import NamedTuple

import torch
from torch import Tensor

from .agent_contrasts import Contrasts, Play, Visits, each_channel, each_step
from .spread_over_agents import FEWEST_BLOCKS, Jackknifed


class TypeSums(NamedTuple):
    """Sums over the visits of G types to C cells, by block of episodes.

    Attributes:
        visits: with others to compare with, [K, G, C].
        sums: of deviations from the mean over all N agents: M outcomes, then the reward, [M + 1, K, G, C].
    """

    visits: Tensor
    sums: Tensor

    def mean(self, channels: slice) -> Jackknifed:
        """Mean deviations of the types over their visits, [X, G, C]; NaN where a type never was."""
        sums, count = self.sums[channels], self.visits.sum(0)
        total = sums.sum(1)
        left_out = [(total - sums[:, k]) / (count - self.visits[k]) for k in range(len(self.visits))]
        return Jackknifed(total / count, torch.stack(left_out))

    @property
    def measured(self) -> Tensor:
        """Types and cells with blocks enough for an interval, [G, C] bool."""
        return (self.visits > 0).sum(0) >= FEWEST_BLOCKS


def type_contrasts(play: Play, contrasts: Contrasts, type_of: Tensor, n_types: int) -> TypeSums:
    """Deviations of types from the mean over all agents, P^tau - P, each over the type's own visits.

    In every group g the type's mean is compared with sum_tau (N_tau / N) mean of type tau in g: exact
    whatever the composition of the group and however deviations depend on the population, where agents of
    a type are alike. A type that is missing from a group is put in by an additive model, the mean over g of
    y_j - a_j plus the mean of a over the type.

    Args:
        play: the trajectories.
        contrasts: of the same, for a and the outcomes.
        type_of: number of the type of each agent, 0 .. G - 1, [N] int64.
        n_types: G.
    """
    n_episodes, _, n_agents = play.actions.shape
    n_groups, n_channels = n_episodes * play.n_cells, len(contrasts.effects)
    weight = torch.bincount(type_of, minlength=n_types).double() / n_agents  # [G]
    effect_of_type = _means_of_types(contrasts, type_of, n_types)  # [X, G, C]
    block = torch.arange(n_episodes, device=type_of.device) * play.n_blocks // n_episodes
    shape = (play.n_blocks, n_types, play.n_cells)
    visited, sums = weight.new_zeros(shape), weight.new_zeros(n_channels, *shape)
    types = type_of.repeat(n_episodes)  # [V]
    for visits in each_step(play):
        rows = types * n_groups + visits.group
        there = _count(visits, rows, None, n_types, n_groups)  # [G, B C]
        for channel, values in enumerate(each_channel(visits, contrasts.outcome_of, n_channels)):
            mean = _count(visits, rows, values, n_types, n_groups) / there.clamp(min=1)
            rest = values - contrasts.effects[channel].flatten()[visits.place]
            common = _count(visits, visits.group, rest, 1, n_groups) / there.sum(0).clamp(min=1)  # [1, B C]
            put_in = common + effect_of_type[channel].repeat(1, n_episodes)
            reference = weight @ torch.where(there > 0, mean, put_in)  # [B C]
            deviation = (there * (mean - reference)).reshape(n_types, n_episodes, play.n_cells)
            sums[channel].index_add_(0, block, deviation.transpose(0, 1))
        visited.index_add_(0, block, there.reshape(n_types, n_episodes, play.n_cells).transpose(0, 1))
    last = -sums[:-1].sum(0, keepdim=True)  # of the outcome that the others tell
    return TypeSums(visited, torch.cat([sums[:-1], last, sums[-1:]]))


def _count(visits: Visits, rows: Tensor, values: Tensor | None, n_rows: int, n_groups: int) -> Tensor:
    """Sums of values [V], or numbers, of the kept visits in each row of groups, [n_rows, B C]."""
    weights = visits.kept if values is None else visits.kept * values
    return torch.bincount(rows, weights, n_rows * n_groups).reshape(n_rows, n_groups)


def _means_of_types(contrasts: Contrasts, type_of: Tensor, n_types: int) -> Tensor:
    """Mean of a over the agents of each type that were in the cell, 0 where none was, [X, G, C]."""
    there = (contrasts.visits.sum(0) > 0).double()  # [N, C]
    n_there = there.new_zeros(n_types, there.shape[1]).index_add_(0, type_of, there)
    total = there.new_zeros(len(contrasts.effects), *n_there.shape)
    total.index_add_(1, type_of, contrasts.effects * there)
    return total / n_there.clamp(min=1)
