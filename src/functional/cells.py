"""Cell statistics: all that learning needs of a batch, at a size that does not depend on N."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

EXACT_IN_FLOAT32 = 2**24  # up to which whole numbers are


class CellStatistics(NamedTuple):
    """Sums over agents, by episode, step and cell (s, a).

    Every field is a sum over agents, so statistics of disjoint groups of agents add up.

    Attributes:
        visits: of the cell, [B, T, S, A].
        reward_sum: reward collected in it, [B, T, S, A], reward units.
        next_state: of those visits, how many went to each next state, [B, T, S, A, S].
        next_cell: how many went on to each next state and action, [B, T, S, A, S, A], zero at the
            last step (no action follows it); None unless asked for.
        state_count: agents in each local state, [B, T, S]; N in total whatever agents the other
            fields count.
    """

    visits: Tensor
    reward_sum: Tensor
    next_state: Tensor
    next_cell: Tensor | None
    state_count: Tensor

    def episode(self, index: int) -> "CellStatistics":
        """The statistics of one episode, B = 1."""
        return self._map(lambda field: field[index : index + 1])

    def episodes(self, chosen: Tensor | slice) -> "CellStatistics":
        """The statistics of some episodes: indices [K] int64, or a slice."""
        return self._map(lambda field: field[chosen])

    def joined(self, other: "CellStatistics") -> "CellStatistics":
        """These episodes and those of ``other``, in that order."""
        following = None
        if self.next_cell is not None and other.next_cell is not None:
            following = torch.cat([self.next_cell, other.next_cell])
        return CellStatistics(
            torch.cat([self.visits, other.visits]),
            torch.cat([self.reward_sum, other.reward_sum]),
            torch.cat([self.next_state, other.next_state]),
            following,
            torch.cat([self.state_count, other.state_count]),
        )

    def pooled(self) -> "CellStatistics":
        """The sum over episodes, B = 1."""
        return self._map(lambda field: field.sum(0, keepdim=True))

    def to(self, dtype: torch.dtype) -> "CellStatistics":
        """The statistics in another floating type."""
        return self._map(lambda field: field.to(dtype))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "CellStatistics":
        next_cell = None if self.next_cell is None else function(self.next_cell)
        return CellStatistics(
            function(self.visits),
            function(self.reward_sum),
            function(self.next_state),
            next_cell,
            function(self.state_count),
        )

    @property
    def population(self) -> Tensor:
        """Empirical distribution of the local states, nu [B, T, S]."""
        return self.state_count / self.state_count.sum(-1, keepdim=True)


def cell_statistics(
    states: Tensor,
    actions: Tensor,
    rewards: Tensor,
    *,
    n_states: int,
    n_actions: int,
    first_agent_only: bool = False,
    count_next_cells: bool = False,
    dtype: torch.dtype = torch.float32,
) -> CellStatistics:
    """Count a batch of trajectories of N agents into cells.

    One pass a step over memory that holds [B, N] at a time, so that the peak does not hold
    [B, T, N] temporaries; nothing loops over agents or episodes.

    Args:
        states: local states, [B, T + 1, N], integers in any numeric dtype.
        actions: [B, T, N] (a longer time axis is cut), integers.
        rewards: individual rewards, [B, T, N].
        n_states: S.
        n_actions: A.
        first_agent_only: count agent 1 alone (Yardim & He 2025, Alg. 1); the population is still
            that of all agents.
        count_next_cells: also count the pairs of successive cells (needed by SARSA targets).
        dtype: of the result; sums of rewards are accumulated in float64.

    Returns:
        CellStatistics with T = rewards.shape[1] steps.
    """
    batch_size, horizon, _ = rewards.shape
    assert states.shape[1] == horizon + 1, (states.shape, rewards.shape)
    n_cells = n_states * n_actions
    offset = torch.arange(batch_size, device=states.device).unsqueeze(1)  # [B, 1]

    def count(index: Tensor, size: int, weights: Tensor | None = None) -> Tensor:
        flat = (offset * size + index).reshape(-1)
        if weights is None and flat.numel() < min(batch_size * size, EXACT_IN_FLOAT32):  # mostly empty
            held = torch.zeros(batch_size * size, dtype=dtype, device=flat.device)
            return held.index_add_(0, flat, held.new_ones(()).expand(len(flat))).reshape(batch_size, size)
        weights = None if weights is None else weights.reshape(-1).double()
        return torch.bincount(flat, weights, minlength=batch_size * size).to(dtype).reshape(batch_size, size)

    chosen = slice(0, 1) if first_agent_only else slice(None)
    shape = (batch_size, horizon, n_states, n_actions)
    reward_sums, next_cells, state_counts = [], [], []
    transitions = torch.empty(*shape, n_states, dtype=dtype, device=states.device)
    visits = torch.empty(shape, dtype=dtype, device=states.device)
    state = states[:, 0].long()  # [B, N]
    for t in range(horizon):
        next_state = states[:, t + 1].long()
        cell = state[:, chosen] * n_actions + actions[:, t, chosen].long()
        reward_sums.append(count(cell, n_cells, rewards[:, t, chosen]))
        visits[:, t] = count(cell, n_cells).reshape(visits[:, t].shape)
        following = count(cell * n_states + next_state[:, chosen], n_cells * n_states)
        transitions[:, t] = following.reshape(transitions[:, t].shape)
        if first_agent_only:
            state_counts.append(count(state, n_states))
        if count_next_cells and t + 1 < horizon:
            next_cell = next_state[:, chosen] * n_actions + actions[:, t + 1, chosen].long()
            next_cells.append(count(cell * n_cells + next_cell, n_cells * n_cells))
        elif count_next_cells:
            next_cells.append(reward_sums[0].new_zeros(batch_size, n_cells * n_cells))
        state = next_state

    next_cell_count = torch.stack(next_cells, 1).reshape(*shape, n_states, n_actions) if next_cells else None
    return CellStatistics(
        visits=visits,
        reward_sum=torch.stack(reward_sums, 1).reshape(shape),
        next_state=transitions,
        next_cell=next_cell_count,
        state_count=torch.stack(state_counts, 1) if first_agent_only else visits.sum(-1),
    )
