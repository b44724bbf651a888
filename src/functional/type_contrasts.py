"""How types of agents differ, from trajectories: each type's mean against that of all, group by group."""

from typing import NamedTuple

import torch
from torch import Tensor

from .agent_contrasts import NotTrajectoriesError, Play, Visits, each_channel, each_step
from .spread_over_agents import FEWEST_BLOCKS, FEWEST_VISITS, Jackknifed

MOST_TYPES = 64


class TypeSums(NamedTuple):
    """Sums over the visits of G types to C cells, by block of episodes; M outcomes and the reward, X = M + 1.

    Attributes:
        visits: with others to compare with, [K, G, C].
        mixed_visits: of those, in groups of more than one type, [K, G, C].
        contrasts: sums of contrasts with the types that were there, [X, K, G, C].
        missing: what the types' own deviations add to that where one is not there, [K, C, G, G].
    """

    visits: Tensor
    mixed_visits: Tensor
    contrasts: Tensor
    missing: Tensor

    def mean(self, channels: slice) -> Jackknifed:
        """Mean deviations of the types over their visits, [X, G, C]; NaN where a type never was."""
        visits, contrasts, missing = self.visits.sum(0), self.contrasts[channels].sum(1), self.missing.sum(0)
        left_out = [
            solve_types(
                visits - self.visits[k], contrasts - self.contrasts[channels, k], missing - self.missing[k]
            )
            for k in range(len(self.visits))
        ]
        return Jackknifed(solve_types(visits, contrasts, missing), torch.stack(left_out))

    @property
    def measured(self) -> Tensor:
        """Types and cells that met other types in blocks and visits enough for an interval, [G, C] bool."""
        enough_blocks = (self.mixed_visits > 0).sum(0) >= FEWEST_BLOCKS
        return enough_blocks & (self.mixed_visits.sum(0) >= FEWEST_VISITS)


def solve_types(visits: Tensor, contrasts: Tensor, missing: Tensor) -> Tensor:
    """Deviations d of types with n_tau d_tau + sum_tau' W_tau,tau' d_tau' = P_tau, cell by cell.

    Args:
        visits: n, [G, C].
        contrasts: P, [X, G, C].
        missing: W, [C, G, G].

    Returns:
        [X, G, C]; NaN where n is 0.
    """
    matrix = torch.diag_embed(visits.T) + missing  # [C, G, G]
    found = torch.einsum("cgt,xtc->xgc", torch.linalg.pinv(matrix, rtol=1e-12), contrasts)
    return torch.where(visits > 0, found, torch.nan)


def type_contrasts(play: Play, outcome_of: Tensor, type_of: Tensor, n_types: int) -> TypeSums:
    """Deviations of types from the mean over all agents, P^tau - P, each over the type's own visits.

    In every group g a type's mean is compared with sum_tau (N_tau / N) mean of type tau in g: exact whatever
    the composition of the group and however deviations depend on the population, where agents of a type
    are alike. A type that is not there is put in as an additive model has it, as the mean over g of
    y_j - d(type of j), plus its own d: the sums are linear in the deviations d, which solve them.

    Args:
        play: the trajectories.
        outcome_of: ranks of next states, as in ``Contrasts``, [C, S].
        type_of: number of the type of each agent, 0 .. G - 1, [N] int64.
        n_types: G.

    Raises:
        NotTrajectoriesError: more types than are told apart.
    """
    if n_types > MOST_TYPES:
        raise NotTrajectoriesError(f"{n_types} types: at most {MOST_TYPES} are told apart; leave them out")
    n_episodes, _, n_agents = play.actions.shape
    n_channels = int(outcome_of.max()) + 1
    weight = torch.bincount(type_of, minlength=n_types).double() / n_agents  # [G]
    types = type_of.repeat(n_episodes)  # [V]
    block = torch.arange(n_episodes, device=type_of.device) * play.n_blocks // n_episodes
    shape = (play.n_blocks, n_types, play.n_cells)
    visited, mixed = weight.new_zeros(shape), weight.new_zeros(shape)
    sums = weight.new_zeros(n_channels, *shape)
    missing = weight.new_zeros(play.n_blocks, play.n_cells, n_types, n_types)

    def by_block(groups: Tensor) -> Tensor:  # [G, B C] -> [B, G, C]
        return groups.reshape(n_types, n_episodes, play.n_cells).transpose(0, 1)

    for visits in each_step(play):
        count = _sums(visits, types, None, n_types, n_episodes * play.n_cells)  # [G, B C]
        absent = (count == 0).double()
        visited.index_add_(0, block, by_block(count))
        mixed.index_add_(0, block, by_block(count * ((count > 0).sum(0) > 1)))
        share = count / count.sum(0).clamp(min=1)
        put_in = weight @ absent  # weight of the types that are not there, [B C]
        for channel, values in enumerate(each_channel(visits, outcome_of, n_channels)):
            mean = _sums(visits, types, values, *count.shape) / count.clamp(min=1)
            reference = weight @ mean + put_in * (share * mean).sum(0)  # of absent types, mean is 0
            sums[channel].index_add_(0, block, by_block(count * (mean - reference)))
        owed = weight.unsqueeze(1) * absent - put_in * share  # [G, B C]
        pairs = (count.unsqueeze(1) * owed).reshape(n_types, n_types, n_episodes, play.n_cells)
        missing.index_add_(0, block, pairs.permute(2, 3, 0, 1))
    last = -sums[:-1].sum(0, keepdim=True)  # of the outcome that the others tell
    return TypeSums(visited, mixed, torch.cat([sums[:-1], last, sums[-1:]]), missing)


def _sums(visits: Visits, types: Tensor, values: Tensor | None, n_types: int, n_groups: int) -> Tensor:
    """Sums of values [V], or numbers, of the kept visits of each type to each group, [G, B C]."""
    weights = visits.kept if values is None else visits.kept * values
    rows = types * n_groups + visits.group
    return torch.bincount(rows, weights, n_types * n_groups).reshape(n_types, n_groups)
