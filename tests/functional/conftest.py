"""Made-up trajectories whose deviations are known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mf_pmd.functional.agent_contrasts import Contrasts, agent_contrasts
from mf_pmd.functional.trajectories import Play, require_play


@pytest.fixture(scope="session")
def contrasts_of() -> Callable[..., Contrasts]:
    """Contrasts of trajectories (states, actions, rewards)."""

    def contrasts(
        played: Any, *, n_states: int, n_actions: int, n_blocks: int = 8, tolerance: float = 1e-12
    ) -> Contrasts:
        return agent_contrasts(as_play(played, n_states, n_actions, n_blocks), tolerance=tolerance)

    return contrasts


def as_play(played: Any, n_states: int, n_actions: int, n_blocks: int) -> Play:
    return require_play(*played, n_states=n_states, n_actions=n_actions, n_blocks=n_blocks)


@pytest.fixture(scope="session")
def coin_play() -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Agents flip coins of their own, whose probability of heads the state tells next; rewards are noisy.

    ``heads`` [N] are the probabilities, ``pay`` [N] the mean rewards, ``luck`` [N] half the width of their
    uniform noise; one action.
    """

    def play(
        seed: int,
        heads: torch.Tensor,
        *,
        n_episodes: int,
        horizon: int,
        pay: torch.Tensor | None = None,
        luck: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(seed)
        n_agents = len(heads)
        draws = torch.rand(n_episodes, horizon + 1, n_agents, generator=random, dtype=torch.float64)
        states = (draws < heads).long()
        noise = torch.rand(n_episodes, horizon, n_agents, generator=random, dtype=torch.float64) * 2 - 1
        rewards = torch.full_like(noise, 0.5) if pay is None else pay + noise * 0
        rewards = rewards if luck is None else rewards + luck * noise
        return states, torch.zeros(n_episodes, horizon, n_agents, dtype=torch.long), rewards

    return play
