"""A population game that is its tables, and samples from them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.distributions import count_values
from ..functional.integers import paired
from ..functional.parts import in_parts
from ..functional.sampling import draw_from_rows, row_thresholds
from .base import PopulationGame, Step


class Types(NamedTuple):
    """Which agents are alike.

    Attributes:
        of: the personal parameters u [N] that they were told from.
        version: how often those had been written to.
        different: u of the types, ascending, [G] float64.
        of_agents: the type of every agent, [N] int64.
    """

    of: Tensor
    version: int
    different: Tensor
    of_agents: Tensor


class TableGame(PopulationGame):
    """A game whose author gives ``transition_table`` and ``reward_table`` and nothing else.

    Every agent's next state is drawn from the row of its own cell, at the distribution mu over S x A
    that it meets, itself left out exactly (or counted in, with ``population="all"``). Unlike a
    ``sample_step`` of one's own, kernels may depend on the others' actions too. A step costs
    O(B N log S) and, whatever N, the tables of G types at S A populations an episode; at one population
    with ``population="all"`` or a ``local_reward``, and none for a ``fixed_transition``.

    Args:
        See PopulationGame.
    """

    _types: Types | None = None
    _kept: tuple[Tensor, Tensor] | None = None  # types, and thresholds of a fixed transition

    def step(self, states: Tensor, actions: Tensor, h: int = 0) -> Step:
        """Advance all agents of all episodes by environment step h; [B, N] int64 each."""
        return self._move(states, states * self.n_actions + actions, self.draws(len(states)), h)

    def advance(self, states: Tensor, actions: Tensor, counts: Tensor, draws: Tensor, h: int = 0) -> Step:
        return self._move(states, paired(states, actions, self.n_states, self.n_actions), draws, h)

    def types(self) -> Types:
        """Who is of which type, found anew only when ``personal`` changed: it takes sorting all agents."""
        version = self.personal._version
        if self._types is None or self._types.of is not self.personal or self._types.version != version:
            different, of_agents = torch.unique(self.personal.double(), return_inverse=True)
            self._types = Types(self.personal, version, different, of_agents)
        return self._types

    def _move(self, states: Tensor, cells: Tensor, draws: Tensor, h: int) -> Step:
        """A step of agents in cells [B, N], integers; next states in the type of ``states`` [B, N]."""
        n_cells = self.n_states * self.n_actions
        counts = count_values(cells, n_cells).double().unsqueeze(1)  # [B, 1, C]
        types, type_of = self.types().different, self.types().of_agents  # [G], [N]
        step = torch.full((), h, device=self.device)
        rewards = self.own_rewards(counts, types, step).flatten(1)  # [B, G C]
        thresholds, first_row = self._thresholds(counts, types, step)

        def looked_up(
            cells: Tensor, draws: Tensor, type_of: Tensor, rewards: Tensor, first_row: Tensor
        ) -> Step:
            rows = type_of * n_cells + cells  # [B, n]
            next_states = draw_from_rows(thresholds, rows + first_row, draws, self.n_states)
            return Step(next_states.to(states.dtype), rewards.gather(1, rows).float())

        agents = (cells, draws, type_of.expand_as(cells))
        return Step(*in_parts(looked_up, agents, (rewards, first_row)))

    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor, h: int = 0) -> Step:
        """The same as ``step``; what ``others`` tells of the states is not enough here."""
        return self.step(states, actions, h)

    def _thresholds(self, counts: Tensor, types: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """What next states are drawn from, by type and cell, and the first row of every episode, [B, 1]."""
        episodes = torch.arange(len(counts), device=counts.device).unsqueeze(1)
        if self.fixed_transition:
            return self._fixed_thresholds(counts, types, step), torch.zeros_like(episodes)
        laws = self.own_laws(counts, types, step)  # [B, G, C, S]
        laws = torch.where(counts.unsqueeze(-1) > 0, laws, 1 / self.n_states)  # cells that nobody holds
        return row_thresholds(laws.flatten(0, 2)), episodes * math.prod(laws.shape[1:3])

    def _fixed_thresholds(self, counts: Tensor, types: Tensor, step: Tensor) -> Tensor:
        """Those of a ``fixed_transition``, made once for all steps and episodes."""
        if self._kept is None or self._kept[0] is not types:
            self._kept = types, row_thresholds(self.own_laws(counts[:1], types, step).flatten(0, 2))
        return self._kept[1]
