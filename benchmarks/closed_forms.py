"""Two games of MFGLib 0.3.0 as N-player games, whose exploitability is known in closed form.

Written out here for whole batches of populations; ``tests/runners/test_closed_forms.py`` holds them against
MFGLib's own kernels. Both last two steps: choose, then be paid by how many chose what. Rewards are MFGLib's,
not in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mf_pmd.games import TableGame


class ChooseOnce(TableGame):
    """All start in state 0 and move to state 1 + a; who is there is paid ``payoff`` times the population.

    Args:
        payoff: reward of state s for the population's share of state t, [S, S] float64.
        n_actions: A = S - 1.
        n_agents: N, all alike.
        population: others | all.
        seed: of the game's generator.
    """

    def __init__(self, payoff: Tensor, *, n_agents: int, population: str = "all", seed: int = 0) -> None:
        n_states = len(payoff)
        self.payoff = payoff
        super().__init__(
            n_agents=n_agents,
            n_states=n_states,
            n_actions=n_states - 1,
            horizon=2,
            initial_law=torch.eye(n_states, dtype=torch.float64)[0],
            population=population,
            personal=torch.zeros(n_agents),
            seed=seed,
        )

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        landing = torch.eye(self.n_states, dtype=mu.dtype)[1:]  # [A, S]
        return landing.expand(*mu.shape[:-1], *landing.shape)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        paid = mu.sum(-1) @ self.payoff.to(mu.dtype).T  # [..., S]
        return paid.unsqueeze(-1).expand(mu.shape)


ROCK_PAPER_SCISSORS = torch.tensor(
    [[0.0, 0, 0, 0], [0, 0, -1, 2], [0, 4, 0, -2], [0, -3, 6, 0]], dtype=torch.float64
)
LEFT_RIGHT = torch.tensor([[0.0, 0, 0], [0, -1, 0], [0, 0, -2]], dtype=torch.float64)


class Case(NamedTuple):
    """Attributes:
    payoff: [S, S] of the game.
    law: what all play at the first step, [A]; the second step does not matter.
    truth: N -> every agent's exploitability with ``population="all"``.
    """

    payoff: Tensor
    law: list[float]
    truth: Callable[[int], float]

    def game(self, n_agents: int, seed: int = 0) -> ChooseOnce:
        """The game of N agents, who count themselves in the population."""
        return ChooseOnce(self.payoff, n_agents=n_agents, seed=seed)

    def policy(self) -> Tensor:
        """[H, S, A] float64."""
        n_actions = len(self.law)
        return torch.tensor(self.law, dtype=torch.float64).expand(2, n_actions + 1, n_actions).clone()


def rock_paper_scissors_nash() -> list[float]:
    """Where rock 2 z - y, paper 4 x - 2 z and scissors 6 y - 3 x pay alike, and x + y + z = 1."""
    equal = torch.tensor([[-4.0, -1, 4], [7, -6, -2], [1, 1, 1]], dtype=torch.float64)
    return torch.linalg.solve(equal, torch.tensor([0.0, 0, 1], dtype=torch.float64)).tolist()


CASES = {
    "rock-paper-scissors, uniform": Case(
        ROCK_PAPER_SCISSORS, [1 / 3, 1 / 3, 1 / 3], lambda n: (n - 1) / (3 * n)
    ),
    "rock-paper-scissors, mean-field Nash": Case(
        ROCK_PAPER_SCISSORS, rock_paper_scissors_nash(), lambda n: 0.0
    ),
    "left-right, mean-field Nash": Case(LEFT_RIGHT, [2 / 3, 1 / 3], lambda n: 1 / (3 * n)),
}
