"""Games of two states in which agents sort themselves: hard where groups are taken for random samples."""

from __future__ import annotations

import torch
from torch import Tensor

from mf_pmd.games.table_game import TableGame


class SortingGame(TableGame):
    """Half of the agents (u = 1) enter state 1 more often and stay longer than the others (u = -1).

    P(1 | 0, u) = enter + enter_u u and P(1 | 1, u) = stay + stay_u u, one action; the reward in state 0 is
    .5 + pay u (nu_1 - pivot), .5 in state 1: a deviation that changes sign with the population, while who is
    in state 0 changes with it too.
    """

    def __init__(
        self,
        *,
        n_agents: int,
        horizon: int,
        start: tuple[float, float],
        enter: tuple[float, float],
        stay: tuple[float, float],
        pay: float,
        pivot: float,
    ) -> None:
        """``enter`` and ``stay`` are (value, value of u) each."""
        self.enter, self.stay, self.pay, self.pivot = enter, stay, pay, pivot
        super().__init__(
            n_agents=n_agents,
            n_states=2,
            n_actions=1,
            horizon=horizon,
            initial_law=torch.tensor(start, dtype=torch.float64),
            personal=1.0 - 2.0 * (torch.arange(n_agents) % 2),
        )

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        """[..., S, A, S]."""
        u = personal + 0 * mu.sum((-1, -2))
        ones = torch.stack([base + slope * u for base, slope in (self.enter, self.stay)], -1)
        return torch.stack([1 - ones, ones], -1).unsqueeze(-2).to(mu.dtype)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        """[..., S, A]."""
        deviation = self.pay * personal * (mu.sum(-1)[..., 1] - self.pivot)
        return torch.stack([0.5 + deviation, 0.5 + 0 * deviation], -1).unsqueeze(-1).to(mu.dtype)


def sorting(n_agents: int) -> SortingGame:
    """All start in state 0, which the fast leave early: groups change, and so do their deviations."""
    return SortingGame(
        n_agents=n_agents,
        horizon=15,
        start=(1.0, 0.0),
        enter=(0.15, 0.1),
        stay=(0.9, 0.09),
        pay=0.4,
        pivot=0.3,
    )


def lingering(n_agents: int) -> SortingGame:
    """Who is in state 1 stays by luck: an agent's visits depend on its own noise, and means are biased."""
    return SortingGame(
        n_agents=n_agents,
        horizon=10,
        start=(0.5, 0.5),
        enter=(0.1, 0.09),
        stay=(0.85, 0.14),
        pay=0.3,
        pivot=0.0,
    )
