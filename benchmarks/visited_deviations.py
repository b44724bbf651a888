"""What alpha and beta from trajectories estimate: closed forms averaged over the visits that were made."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mf_pmd.evaluation.symmetry.from_trajectories import Trajectories
from mf_pmd.games import PopulationGame


class VisitedDeviations(NamedTuple):
    """Sums over visits that had others to compare with, C = S A cells.

    Attributes:
        visits: [K, N, C], by block of episodes.
        sums: of P^i - P and R^i - R, [S + 1, N, C].
        type_of: number of each agent's type, [N].
    """

    visits: Tensor
    sums: Tensor
    type_of: Tensor

    def rms(self) -> Tensor:
        """sqrt(Var_i dev_i) over the agents that were there in two blocks, [S + 1, C]; NaN without any."""
        chosen = (self.visits > 0).sum(0) >= 2
        mean = torch.where(chosen, self.sums / self.visits.sum(0).clamp(min=1), 0.0)
        n_agents = chosen.sum(0)
        centre = mean.sum(1, keepdim=True) / n_agents
        return (((mean - centre) ** 2 * chosen).sum(1) / n_agents).sqrt()

    def of_agents(self) -> Tensor:
        """Absolute mean deviations, [S + 1, N, C]; 0 of an agent that was not there."""
        return (self.sums / self.visits.sum(0).clamp(min=1)).abs()

    def of_types(self) -> Tensor:
        """Absolute mean deviations of G types over all visits of each, [S + 1, G, C]."""
        size = (len(self.sums), int(self.type_of.max()) + 1, self.sums.shape[-1])
        sums = self.sums.new_zeros(size).index_add_(1, self.type_of, self.sums)
        visits = self.sums.new_zeros(size[1:]).index_add_(0, self.type_of, self.visits.sum(0))
        return (sums / visits).abs()


def deviations_met(game: PopulationGame, states: Tensor) -> tuple[Tensor, Tensor]:
    """P^u - P and R^u - R of every type at what an agent in each state meets, kernels of nu alone.

    Args:
        states: [B, N] int64.

    Returns:
        [G, B, S, A, S] and [G, B, S, A], float64.
    """
    met = game.state_distribution_met(states).double().clamp(min=0)  # [B, S, S], rows of empty states unused
    mu = (met / game.n_actions).unsqueeze(-1).expand(*met.shape, game.n_actions)
    types, type_of = torch.unique(game.personal, return_inverse=True)
    weight = torch.bincount(type_of).double() / game.n_agents
    own = torch.arange(game.n_states)
    batch, cells = met.shape[:2], (game.n_states, game.n_actions)
    laws, rewards = [], []
    for u in types.double():
        laws.append(game.transition_table(mu, u).expand(*batch, *cells, game.n_states)[:, own, own])
        rewards.append(game.reward_table(mu, u).expand(*batch, *cells)[:, own, own])
    law, reward = torch.stack(laws), torch.stack(rewards)
    mean_law, mean_reward = (torch.einsum("g,g...->...", weight, part) for part in (law, reward))
    return law - mean_law, reward - mean_reward


def visited_deviations(game: PopulationGame, played: Trajectories, *, n_blocks: int) -> VisitedDeviations:
    """Closed-form deviations summed over the visits of trajectories, from a game's tables."""
    n_episodes, horizon, n_agents = played.actions.shape
    n_cells = game.n_states * game.n_actions
    type_of = torch.unique(game.personal, return_inverse=True)[1]
    episode = torch.arange(n_episodes).unsqueeze(1)
    agent = torch.arange(n_agents)
    visits = torch.zeros(n_blocks * n_agents * n_cells, dtype=torch.float64)
    sums = torch.zeros(game.n_states + 1, n_agents * n_cells, dtype=torch.float64)
    for h in range(horizon):
        states = played.states[:, h].long()
        cells = states * game.n_actions + played.actions[:, h].long()
        group = episode * n_cells + cells  # [B, N]
        kept = (torch.bincount(group.flatten())[group] > 1).double().flatten()
        block = episode * n_blocks // n_episodes
        visits += torch.bincount(((block * n_agents + agent) * n_cells + cells).flatten(), kept, len(visits))
        law, reward = deviations_met(game, states)
        row = (type_of * n_episodes * n_cells + group).flatten()
        place = (agent * n_cells + cells).flatten()
        channels = torch.cat([law.flatten(0, -2).T, reward.reshape(1, -1)])  # [S + 1, G B C]
        for channel in channels.abs().amax(1).nonzero().flatten().tolist():
            sums[channel] += torch.bincount(place, kept * channels[channel][row], n_agents * n_cells)
    return VisitedDeviations(
        visits.reshape(n_blocks, n_agents, n_cells), sums.reshape(-1, n_agents, n_cells), type_of
    )
