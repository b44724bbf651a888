"""The games once more, agent by agent in plain Python, from their definitions alone."""

import itertools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from mf_pmd.games import TableGame

Kernel = Callable[[float, int, int, list[tuple[int, int]]], tuple[list[float], float]]
PAYOFF = [[0, -1, 2], [4, 0, -2], [-3, 6, 0]]


def a_sis(game: Any) -> Kernel:
    scale = 1.5 + 0.5 * game.eps_beta

    def kernel(u: float, s: int, a: int, others: list[tuple[int, int]]) -> tuple[list[float], float]:
        if s == 1:
            infected = 1 - 0.3 * (1 + game.eps_recovery * u)
        elif a == 1:
            infected = 0.0
        else:
            infected = 0.81 * (1 + game.eps * u) * sum(state for state, _ in others) / len(others)
        cost = (s == 1) + 0.5 * (1 + game.eps_beta * u) * (a == 1)
        return [1 - infected, infected], (scale - cost) / scale

    return kernel


def a_rps(game: Any) -> Kernel:
    def kernel(u: float, s: int, a: int, others: list[tuple[int, int]]) -> tuple[list[float], float]:
        payoff = sum(PAYOFF[s][state] for state, _ in others) / len(others)
        law = [0.0, 0.0, 0.0]
        law[a] = 1.0
        reward = ((1 + game.eps * u) * payoff + 3 * (1 + game.eps)) / (9 * (1 + game.eps))
        return law, reward

    return kernel


def a_beach(game: Any) -> Kernel:
    n_sites = game.n_states

    def kernel(u: float, s: int, a: int, others: list[tuple[int, int]]) -> tuple[list[float], float]:
        blown = game.noise + game.eps * u
        law = [0.0] * n_sites
        for drift, probability in ((-1, blown / 2), (0, 1 - blown), (1, blown / 2)):
            law[(s + (a - 1) + drift) % n_sites] += probability
        distance = min((s - game.bar) % n_sites, (game.bar - s) % n_sites)
        crowd = sum(state == s for state, _ in others) / len(others)
        near = 1 - distance / (n_sites // 2)
        still = 1 - abs(a - 1)
        solitude = (1 + game.eps_beta * u) * (1 - crowd)
        return law, game.c1 * near + game.c2 * still + game.c3 * solitude

    return kernel


@pytest.fixture(scope="session")
def kernel_of() -> Callable[[Any], Kernel]:
    """(u, s, a, [(s, a) of every other agent]) -> law [S], reward, as theory states them."""
    makers = {"ASIS": a_sis, "ARPS": a_rps, "ABeach": a_beach}
    return lambda game: makers[type(game).__name__](game)


@pytest.fixture(scope="session")
def lattice() -> Callable[[int, int, int], Iterator[torch.Tensor]]:
    """Every distribution over S x A cells that n other agents can form, [S, A] float64."""

    def points(n_others: int, n_states: int, n_actions: int) -> Iterator[torch.Tensor]:
        cells = range(n_states * n_actions)
        for held in itertools.combinations_with_replacement(cells, n_others):
            counts = torch.bincount(torch.tensor(held), minlength=len(cells)).double()
            yield (counts / n_others).reshape(n_states, n_actions)

    return points


@pytest.fixture(scope="session")
def enumeration(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("enumeration.py")


@pytest.fixture(scope="session")
def measured_steps(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("theory/measured_steps.py")


class WrittenOut(TableGame):
    """A game of two functions.

    Args:
        law: (mu [..., S, A], u [..., 1, 1]) -> P, broadcasts with [..., S, A, S].
        reward: the same -> R, broadcasts with [..., S, A].
        others: of PopulationGame.
    """

    def __init__(self, law: Callable[..., Tensor], reward: Callable[..., Tensor], **others: Any) -> None:
        self._law, self._reward = law, reward
        super().__init__(**others)

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        u = personal[..., None, None]
        shape = torch.broadcast_shapes(mu.shape, u.shape)
        return self._law(mu, u).to(mu.dtype).expand(*shape, self.n_states)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        u = personal[..., None, None]
        return self._reward(mu, u).to(mu.dtype).expand(torch.broadcast_shapes(mu.shape, u.shape))


@pytest.fixture(scope="session")
def written_out() -> type[WrittenOut]:
    return WrittenOut
