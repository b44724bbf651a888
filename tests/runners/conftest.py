"""Known answers: exact enumeration and closed forms, which the benchmarks share."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from mf_pmd.runners.deviations import DeviationScore

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name):
    """A module of benchmarks/, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"known_answers_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def enumeration():
    return load("enumeration")


@pytest.fixture(scope="session")
def closed_forms():
    return load("closed_forms")


@pytest.fixture(scope="session")
def score_of():
    """The score of episodes in which agents play tables, [H, S, A] for all or [N, H, S, A]."""

    def play(game, policy, n_episodes, *, individual=False, batches=1):
        score = DeviationScore(game, individual=individual, n_episodes=n_episodes)
        profile = policy.expand(game.n_agents, *policy.shape[-3:])
        agents = torch.arange(game.n_agents)
        for _ in range(batches):
            states = game.reset(n_episodes // batches)
            returns = torch.zeros(states.shape, dtype=torch.float64)
            for h in range(game.horizon):
                rows = profile[agents, h, states]  # [B, N, A]
                actions = torch.multinomial(rows.reshape(-1, game.n_actions), 1).reshape(states.shape)
                score.add_actions(h, states, actions)
                states, rewards = game.step_at(h, states, actions)
                returns += rewards
            score.add_returns(returns)
        return score

    return play


@pytest.fixture(scope="session")
def scripted():
    return load("scripted")
