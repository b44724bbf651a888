"""Exact N-player exploitability of a tiny game: every joint state, action and deterministic deviation.

rho^-i is hidden from an agent and correlates with its own history, so that its best response is no dynamic
program; but J^i is multilinear in the rows of its policy, so that one of the best is deterministic.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor


class JointGame:
    """A game as the Markov chain of its joint state, by its tables; nothing is sampled.

    Args:
        game: with tables; S^N joint states and A^N joint actions are written out.
    """

    def __init__(self, game) -> None:
        self.game = game
        n_agents = game.n_agents
        self.states = torch.tensor(list(itertools.product(range(game.n_states), repeat=n_agents)))  # [X, N]
        self.actions = torch.tensor(list(itertools.product(range(game.n_actions), repeat=n_agents)))  # [Y, N]
        self.start = game.initial_law[self.states].prod(1)  # [X]
        written = [self._step_tables(h) for h in range(game.horizon if game.time_dependent else 1)]
        self.transition, self.rewards = (torch.stack(tables) for tables in zip(*written, strict=True))

    def _step_tables(self, h: int) -> tuple[Tensor, Tensor]:
        """Law of the joint state [X, Y, X'] and rewards of all agents [N, X, Y] at step h."""
        laws, rewards = zip(*(self._agent_tables(h, i) for i in range(self.game.n_agents)), strict=True)
        transition = torch.ones(len(self.states), len(self.actions), len(self.states), dtype=torch.float64)
        for i, law in enumerate(laws):
            transition *= law[..., self.states[:, i]]  # [X, Y, X']
        return transition, torch.stack(rewards)

    def _agent_tables(self, h: int, i: int) -> tuple[Tensor, Tensor]:
        """Law [X, Y, S] and reward [X, Y] of agent i at step h in every joint state and action."""
        game = self.game
        cells = self.states[:, None] * game.n_actions + self.actions  # [X, Y, N]
        held = torch.nn.functional.one_hot(cells, game.n_states * game.n_actions).double()  # [X, Y, N, C]
        met = (
            held.mean(2) if game.population == "all" else (held.sum(2) - held[:, :, i]) / (game.n_agents - 1)
        )
        mu = met.unflatten(-1, (game.n_states, game.n_actions))
        u = game.personal[i].double()
        step = torch.tensor(h)
        law = game.transition_at(step, mu, u).expand(*mu.shape, game.n_states).flatten(-3, -2)  # [X, Y, C, S]
        reward = game.reward_at(step, mu, u).expand(mu.shape).flatten(-2)  # [X, Y, C]
        own = cells[..., i, None]
        here = own.unsqueeze(-1).expand(*own.shape, game.n_states)
        return law.gather(2, here).squeeze(2), reward.gather(-1, own).squeeze(-1)

    def returns(self, profile: Tensor) -> Tensor:
        """J^i of every agent under the policies [N, H, S, A] float64: [N]."""
        law, total = self.start, torch.zeros(self.game.n_agents, dtype=torch.float64)
        for h in range(self.game.horizon):
            chance = law[:, None]  # [X, 1]
            for i in range(self.game.n_agents):
                chance = chance * profile[i, h][self.states[:, i]][:, self.actions[:, i]]  # [X, Y]
            k = min(h, len(self.rewards) - 1)  # one table may serve all steps
            total += torch.einsum("xy,nxy->n", chance, self.rewards[k])
            law = torch.einsum("xy,xyz->z", chance, self.transition[k])
        return total

    def exploitability(self, profile: Tensor, agent: int) -> float:
        """E^i(pi) = max over deterministic policies of agent i of J^i, less J^i(pi)."""
        horizon, n_states, n_actions = profile.shape[1:]
        best = -torch.inf
        for choice in itertools.product(range(n_actions), repeat=horizon * n_states):
            own = torch.tensor(choice).reshape(horizon, n_states)
            deviating = profile.clone()
            deviating[agent] = torch.nn.functional.one_hot(own, n_actions).double()
            best = max(best, self.returns(deviating)[agent].item())
        return best - self.returns(profile)[agent].item()
