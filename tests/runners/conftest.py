"""Known answers: exact enumeration and closed forms, which the benchmarks share."""

import pytest
import torch

from mf_pmd.runners.deviations import DeviationScore


@pytest.fixture(scope="session")
def enumeration(benchmark_module):
    return benchmark_module("enumeration.py")


@pytest.fixture(scope="session")
def closed_forms(benchmark_module):
    return benchmark_module("closed_forms.py")


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
def scripted(benchmark_module):
    return benchmark_module("scripted.py")
