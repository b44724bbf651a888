"""OpenSpiel's mean-field game of crowd modelling as a game of N agents, and its policies as tables."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mf_pmd import games

EPSILON = 1e-25  # OpenSpiel's least share in the logarithm
STAY = 1  # of the actions, and of what chance does


class CrowdModelling(games.TableGame):
    """``python_mfg_crowd_modelling`` (Perrin et al. 2020, Sec. 4.2, as OpenSpiel writes it).

    s' = s + (a - 1) + noise on a ring, noise uniform over {-1, 0, 1}; an agent is paid
    1 - |s - S // 2| / (S // 2) - log(nu_h(s) + 1e-25) - toll_h(s). A move is meant to cost |a - 1| / S on
    arrival, but OpenSpiel's solvers remember values by site and step alone: whoever arrives pays for the
    move by which they first got there, ``first_moves``. Rewards fill [0, 1]: ``reward_factor`` r +
    ``reward_offset``.

    Args:
        size: S >= 2.
        n_agents, horizon, population, device, seed: see PopulationGame.
    """

    fixed_transition = True
    local_reward = True
    time_dependent = True

    def __init__(
        self,
        *,
        n_agents: int,
        size: int,
        horizon: int,
        population: str,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        site = torch.arange(size, dtype=torch.float64)
        self.place = 1 - (site - size // 2).abs() / (size // 2)  # [S]
        self.toll = first_moves(size, horizon).abs() / size  # [H, S]
        low = self.place.min().item() - 1 / size
        high = self.place.max().item() - torch.tensor(EPSILON).double().log().item()
        self.reward_factor = 1 / (high - low)
        self.reward_offset = -low * self.reward_factor
        super().__init__(
            n_agents=n_agents,
            n_states=size,
            n_actions=3,
            horizon=horizon,
            initial_law=torch.full((size,), 1 / size, dtype=torch.float64),
            population=population,
            personal=torch.zeros(1).expand(n_agents),
            device=device,
            seed=seed,
        )
        self.law = ring_walk(size).to(self.device)

    def transition_table(self, mu: Tensor, personal: Tensor, steps: Tensor | int = 0) -> Tensor:
        batch = torch.broadcast_shapes(mu.shape[:-2], torch.as_tensor(steps).shape)
        return self.law.to(mu.dtype).expand(*batch, *self.law.shape)

    def reward_table(self, mu: Tensor, personal: Tensor, steps: Tensor | int = 0) -> Tensor:
        toll = self.toll.to(mu)[torch.as_tensor(steps)]  # [..., S]
        reward = self.place.to(mu) - torch.log(mu.sum(-1) + EPSILON) - toll
        reward = self.reward_factor * reward + self.reward_offset
        return reward.unsqueeze(-1).expand(*reward.shape, self.n_actions)


def first_moves(size: int, horizon: int) -> Tensor:
    """a - 1 of the action by which a depth-first walk first gets to a site at a step, [H, S] float64.

    The walk starts at the sites in turn, and tries actions, then noises, from the least to the largest, as
    OpenSpiel's solvers do; whoever starts somewhere has not moved.
    """
    moves: dict[tuple[int, int], int] = {}

    def visit(h: int, s: int, move: int) -> None:
        if h == horizon or (h, s) in moves:
            return
        moves[h, s] = move
        for own in (-1, 0, 1):
            for noise in (-1, 0, 1):
                visit(h + 1, (s + own + noise) % size, own)

    for s in range(size):
        visit(0, s, 0)
    return torch.tensor([[moves[h, s] for s in range(size)] for h in range(horizon)], dtype=torch.float64)


def ring_walk(size: int) -> Tensor:
    """P(s' | s, a) of s' = s + (a - 1) + noise, noise uniform over {-1, 0, 1}: [S, A, S] float64."""
    law = torch.zeros(size, 3, size, dtype=torch.float64)
    for s in range(size):
        for a in range(3):
            for noise in range(3):
                law[s, a, (s + a + noise - 2) % size] += 1 / 3
    return law


def policy_table(game: Any, policy: Any, *, size: int, horizon: int) -> Tensor:
    """A policy of OpenSpiel's as [H, S, A] float64.

    Its tabular policies know a site at a step by one history alone, which they keep; any other policy is
    asked where staying leads.

    Args:
        game: pyspiel's.
        policy: with ``action_probabilities(state)``.
        size, horizon: the game's S and H.
    """
    table = torch.zeros(horizon, size, 3, dtype=torch.float64)
    for state in getattr(policy, "states", None) or staying(game, size=size, horizon=horizon):
        s, h = ast.literal_eval(str(state))
        for action, probability in policy.action_probabilities(state).items():
            table[h, s, action] = probability
    return table


def staying(game: Any, *, size: int, horizon: int) -> Iterator[Any]:
    """A state of OpenSpiel's for every site and step: that of an agent who stays where it starts."""
    for s in range(size):
        state = game.new_initial_state().child(s)
        for h in range(horizon):
            yield state
            if h < horizon - 1:
                state = state.child(STAY).child(STAY)
                state.update_distribution([1 / size] * size)
