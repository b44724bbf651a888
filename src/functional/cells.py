"""Cell statistics: all that learning needs of a batch, at a size that does not depend on N."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .distributions import count_values
from .integers import as_index, as_integers, paired, tally

EXACT_IN_FLOAT32 = 2**24  # up to which whole numbers are
AGENTS_AT_ONCE = 2**16  # whose labels, and rewards in float64, stay in a core's cache; more for large tables


class CellStatistics(NamedTuple):
    """Sums over agents, by episode, step and cell (s, a).

    Every field but ``reach`` is a sum over agents, so statistics of disjoint groups of agents add up.

    Attributes:
        visits: of the cell, [B, T, S, A].
        reward_sum: reward collected in it, [B, T, S, A], reward units.
        next_state: of those visits, how many went to each next state, [B, T, S, A, W]: W = S, all in order,
            or the few that ``reach`` names.
        next_cell: how many went on to each next state and action, [B, T, S, A, S, A], zero at the
            last step (no action follows it); None unless asked for.
        state_count: agents in each local state, [B, T, S]; N in total whatever agents the other
            fields count.
        reach: the next states that each cell was counted by, [S, A, W] int64, those of a cell all different,
            alike for all episodes and steps; None for all S.
    """

    visits: Tensor
    reward_sum: Tensor
    next_state: Tensor
    next_cell: Tensor | None
    state_count: Tensor
    reach: Tensor | None = None

    def episode(self, index: int) -> "CellStatistics":
        """The statistics of one episode, B = 1."""
        return self._map(lambda field: field[index : index + 1])

    def episodes(self, chosen: Tensor | slice) -> "CellStatistics":
        """The statistics of some episodes: indices [K] int64, or a slice."""
        return self._map(lambda field: field[chosen])

    def joined(self, other: "CellStatistics") -> "CellStatistics":
        """These episodes and those of ``other``, of the same game, in that order.

        Next states are counted over all S of them where the two name different ones.
        """
        if not self.reaches_as(other):
            return self.over_all_states().joined(other.over_all_states())
        following = None
        if self.next_cell is not None and other.next_cell is not None:
            following = torch.cat([self.next_cell, other.next_cell])
        return CellStatistics(
            torch.cat([self.visits, other.visits]),
            torch.cat([self.reward_sum, other.reward_sum]),
            torch.cat([self.next_state, other.next_state]),
            following,
            torch.cat([self.state_count, other.state_count]),
            self.reach,
        )

    def reaches_as(self, other: "CellStatistics") -> bool:
        """Whether the next states of both are numbered alike."""
        if self.reach is None or other.reach is None:
            return self.reach is other.reach
        return torch.equal(self.reach, other.reach)

    def pooled(self) -> "CellStatistics":
        """The sum over episodes, B = 1."""
        return self if len(self.visits) == 1 else self._map(lambda field: field.sum(0, keepdim=True))

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
            self.reach,
        )

    @property
    def population(self) -> Tensor:
        """Empirical distribution of the local states, nu [B, T, S]."""
        return self.state_count / self.state_count.sum(-1, keepdim=True)

    def over_all_states(self) -> "CellStatistics":
        """The same with next states counted over all S of them, [B, T, S, A, S]."""
        if self.reach is None:
            return self
        found = self.next_state.new_zeros(*self.visits.shape, self.visits.shape[2])
        found.scatter_add_(-1, self.reach.expand_as(self.next_state), self.next_state)
        return self._replace(next_state=found, reach=None)

    def arrivals(self) -> Tensor:
        """Agents by the state they went to and the action that they took before, [B, T, S, A]."""
        batch, n_actions = self.visits.shape[:2], self.visits.shape[3]
        if self.reach is None:
            return self.next_state.sum(2).transpose(-1, -2)
        taken = torch.arange(n_actions, device=self.reach.device).unsqueeze(1)
        where = (self.reach * n_actions + taken).flatten().expand(*batch, -1)  # s' A + a
        found = self.visits.new_zeros(*batch, self.visits[0, 0].numel())
        return found.scatter_add_(-1, where, self.next_state.flatten(2)).unflatten(-1, self.visits.shape[2:])

    def value_reached(self, values: Tensor, steps: slice = slice(None)) -> Tensor:
        """Sum over the visits of each cell of what the next state is worth: values [B or 1, T', S].

        Args:
            values: of the next states of the T' steps.
            steps: which steps these are.

        Returns:
            [B, T', S, A].
        """
        moves = self.next_state[:, steps]
        if self.reach is not None:
            return (moves * values[..., self.reach]).sum(-1)
        return (moves.flatten(2, 3) @ values.unsqueeze(-1)).reshape(moves.shape[:-1])

    def values_backwards(self, weight: Tensor, offset: Tensor) -> Tensor:
        """V_h(s) = offset_h(s) + sum_a weight_h(s, a) sum_s' (visits that went to s') V_{h+1}(s'), V_T = 0.

        Args:
            weight: [B, T, S, A].
            offset: [B, T, S].

        Returns:
            V of the steps 0 .. T, [B, T + 1, S].
        """
        value = torch.zeros_like(offset[:, 0]).unsqueeze(-1)  # [B, S, 1]
        first, values = offset.unsqueeze(-1).unbind(1), [value]
        if self.reach is None:
            passed = (weight.unsqueeze(-2) @ self.next_state).squeeze(-2).unbind(1)  # of [B, T, S, S]
            for h in reversed(range(len(passed))):
                value = torch.baddbmm(first[h], passed[h], value)
                values.append(value)
        else:
            passed = (weight.unsqueeze(-1) * self.next_state).flatten(3).unbind(1)
            reach = self.reach.flatten(1)  # [S, A W]
            for h in reversed(range(len(passed))):
                value = first[h] + (passed[h] * value[:, reach, 0]).sum(-1, keepdim=True)
                values.append(value)
        return torch.stack(values[::-1], 1).squeeze(-1)


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

    A step at a time, and of many agents a part at a time, so that labels stay in the cache, but as many as a
    table has entries, so that adding up the tables of the parts costs no more than counting. Of main memory
    every state is read twice (where it is left, where it is reached), every action and every reward once,
    in the types they are stored in; with ``count_next_cells`` every state a third time and every action
    twice; with ``first_agent_only`` these are agent 1's, and everyone's states are read once.
    Nothing loops over agents or episodes.

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
    batch_size, horizon, n_agents = rewards.shape
    assert states.shape[1] == horizon + 1, (states.shape, rewards.shape)
    n_followed = 1 if first_agent_only else n_agents
    shape = (batch_size, horizon, n_states, n_actions)
    visits = torch.empty(shape, dtype=dtype, device=states.device)
    reward_sum, next_state = torch.empty_like(visits), visits.new_empty(*shape, n_states)
    next_cell = visits.new_zeros(*shape, n_states, n_actions) if count_next_cells else None
    for t in range(horizon):
        tables = _StepTables(batch_size, n_states, n_actions, visits, n_labels=batch_size * n_followed)
        for part in tables.parts(n_followed, pairs=count_next_cells):
            cells = tables.cells(states[:, t, part], actions[:, t, part])
            label = tables.add(cells, rewards[:, t, part], states[:, t + 1, part])
            if next_cell is not None and t + 1 < horizon:
                tables.add_pairs(label, tables.cells(states[:, t + 1, part], actions[:, t + 1, part]))
        visits[:, t] = tables.visits().reshape(visits[:, t].shape)
        reward_sum[:, t] = tables.reward_sum.reshape(visits[:, t].shape)
        next_state[:, t] = tables.next_state.reshape(next_state[:, t].shape)
        if next_cell is not None and t + 1 < horizon:
            next_cell[:, t] = tables.next_cell.reshape(next_cell[:, t].shape)
    if first_agent_only:
        everyone = [count_values(as_integers(states[:, t]), n_states).to(dtype) for t in range(horizon)]
        return CellStatistics(visits, reward_sum, next_state, next_cell, torch.stack(everyone, 1))
    return CellStatistics(visits, reward_sum, next_state, next_cell, visits.sum(-1))


class _StepTables:
    """What agents did at one step, by episode and cell, laid end to end.

    Counts are whole numbers of int64; where there are fewer agents than cells to go to, of the float type of
    the result, which holds them exactly, so that nothing of the size of a table is made twice.

    Args:
        batch_size, n_states, n_actions: B, S, A.
        like: of the type and on the device of the result.
        n_labels: agents to be counted, of all episodes together.
    """

    def __init__(
        self, batch_size: int, n_states: int, n_actions: int, like: Tensor, *, n_labels: int
    ) -> None:
        self.sizes = (batch_size, n_states, n_actions)
        self.n_cells, self.n_labels, self.like = n_states * n_actions, n_labels, like
        self.episodes = torch.arange(batch_size, device=like.device).unsqueeze(1)  # [B, 1]
        self.reward_sum = like.new_zeros(batch_size * self.n_cells, dtype=torch.float64)  # [B C]
        self.next_state = self._table(batch_size * self.n_cells * n_states)  # [B C S]
        self.next_cell = like.new_empty(0)  # [B C C] once pairs were added
        sparse = self.next_state.is_floating_point()
        self._visits = self._table(len(self.reward_sum)) if sparse else None

    def parts(self, n_agents: int, *, pairs: bool) -> list[slice]:
        """Some agents at a time: AGENTS_AT_ONCE of all episodes, or as many as the largest full table."""
        sizes = [len(self.reward_sum) * goals for goals in (self.sizes[1], self.n_cells if pairs else 1)]
        at_once = max(AGENTS_AT_ONCE, *(0 if self._is_sparse(size) else size for size in sizes))
        width = max(1, at_once // self.sizes[0])
        return [slice(start, min(start + width, n_agents)) for start in range(0, n_agents, width)]

    def cells(self, states: Tensor, actions: Tensor) -> Tensor:
        """[B, n] each."""
        return paired(as_integers(states), as_integers(actions), *self.sizes[1:])

    def add(self, cells: Tensor, rewards: Tensor, next_states: Tensor) -> Tensor:
        """Add some agents, [B, n] each; returns their numbers of episode and cell, [B, n]."""
        batch_size, n_states, _ = self.sizes
        label = paired(self.episodes, cells, batch_size, self.n_cells)
        self.reward_sum.index_add_(0, as_index(label.reshape(-1)), rewards.reshape(-1).double())
        count_into(self.next_state, paired(label, as_integers(next_states), len(self.reward_sum), n_states))
        if self._visits is not None:
            count_into(self._visits, label)
        return label

    def add_pairs(self, label: Tensor, next_cells: Tensor) -> None:
        """Add where they went on to, [B, n] each."""
        if not len(self.next_cell):
            self.next_cell = self._table(len(self.reward_sum) * self.n_cells)
        count_into(self.next_cell, paired(label, next_cells, len(self.reward_sum), self.n_cells))

    def visits(self) -> Tensor:
        """[B C]."""
        return self.next_state.reshape(-1, self.sizes[1]).sum(-1) if self._visits is None else self._visits

    def _is_sparse(self, size: int) -> bool:
        """Whether a table of this size stays mostly empty, in a type that holds its counts."""
        return self.n_labels < min(size, EXACT_IN_FLOAT32)

    def _table(self, size: int) -> Tensor:
        return self.like.new_zeros(size, dtype=self.like.dtype if self._is_sparse(size) else torch.int64)


def count_into(table: Tensor, labels: Tensor) -> None:
    """Add to a table [K] how often each label 0 .. K - 1 occurs, any shape: in place.

    A table of floats is one that is mostly empty, and only what occurs is touched.
    """
    flat = labels.reshape(-1)
    if table.is_floating_point():
        table.index_add_(0, as_index(flat), table.new_ones(()).expand(len(flat)))
    else:
        table += tally(flat, len(table))
