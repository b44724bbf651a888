"""A population game that is its tables, and samples from them."""

import torch
from torch import Tensor

from ..functional.distributions import count_values
from .base import PopulationGame, Step

ENTRIES_AT_ONCE = 2**24  # of the transition tables that one call makes, 128 MiB


class TableGame(PopulationGame):
    """A game whose author gives ``transition_table`` and ``reward_table`` and nothing else.

    Every agent's next state is drawn from the row of its own cell, at the distribution mu over S x A
    that it meets, itself left out exactly (or counted in, with ``population="all"``). Unlike a
    ``sample_step`` of one's own, kernels may depend on the others' actions too. A step costs
    O(B N) and, whatever N, the tables of G types at S A populations an episode.

    Args:
        See PopulationGame.
    """

    def step(self, states: Tensor, actions: Tensor, h: int = 0) -> Step:
        """Advance all agents of all episodes by environment step h; [B, N] int64 each."""
        cells = states * self.n_actions + actions
        n_cells = self.n_states * self.n_actions
        counts = count_values(cells, n_cells).double()
        met = self.distribution_met(counts).clamp(min=0.0)  # rows of empty cells are never looked up
        types, type_of = torch.unique(self.personal, return_inverse=True)  # [G], [N]
        laws, rewards = self._rows(met, types.double(), torch.tensor(h, device=met.device))
        rows = type_of * n_cells + cells  # [B, N]
        next_states = self._draw(laws.flatten(1, 2), rows)
        return Step(next_states, rewards.flatten(1, 2).gather(1, rows).float())

    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor, h: int = 0) -> Step:
        """The same as ``step``; what ``others`` tells of the states is not enough here."""
        return self.step(states, actions, h)

    def _rows(self, met: Tensor, types: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The row of every own cell at what an agent there meets.

        Args:
            met: [B, C, C], a distribution over the C = S A cells for each own cell.
            types: distinct personal parameters [G].
            step: h, a scalar.

        Returns:
            Laws [B, G, C, S] and rewards [B, G, C].
        """
        (batch_size, n_cells, _), n_types = met.shape, len(types)
        at_once = max(1, ENTRIES_AT_ONCE // (batch_size * n_types * n_cells * self.n_states))
        laws, rewards = [], []
        for own in torch.arange(n_cells, device=met.device).split(at_once):
            mu = met[:, None, own].reshape(batch_size, 1, len(own), self.n_states, self.n_actions)
            batch = (batch_size, n_types, len(own))
            law = self.transition_at(step, mu, types[:, None]).flatten(-3, -2)  # [..., C, S]
            law = law.expand(*batch, n_cells, self.n_states)
            reward = self.reward_at(step, mu, types[:, None]).flatten(-2).expand(*batch, n_cells)
            here = torch.arange(len(own), device=met.device)
            laws.append(law[:, :, here, own])
            rewards.append(reward[:, :, here, own])
        return torch.cat(laws, 2), torch.cat(rewards, 2)

    def _draw(self, laws: Tensor, rows: Tensor) -> Tensor:
        """Next states from laws [B, K, S], one for each agent's row [B, N], by inverting their sums."""
        draws = self.uniforms(rows.shape[0]).double()
        possible_later = laws.flip(-1).cumsum(-1).flip(-1)[..., 1:] > 0
        thresholds = torch.where(possible_later, laws.cumsum(-1)[..., :-1], torch.inf)
        next_states = torch.zeros_like(rows)
        for k in range(self.n_states - 1):
            next_states += draws >= thresholds[..., k].gather(1, rows)
        return next_states
