"""Games whose best response is known, and deviators that learn it in a second."""

from dataclasses import replace

import pytest
import torch

from mf_pmd.evaluation.trained_response import training_settings
from mf_pmd.games import Game, Step, TableGame

PAY = {1.0: (0.1, 0.9, 0.5), -1.0: (0.3, 0.0, 0.6)}  # of each action, by personal parameter
H = 2


class Wages(Game):
    """Every action has its wage, others among the first half of the agents than among the rest.

    A packed game: no numbers, no tables. Nobody meets anybody, so that a deviator disturbs no one.
    """

    n_parts = 1
    n_features = 2

    def __init__(self, *, n_agents=10, horizon=H, seed=0):
        super().__init__(n_agents=n_agents, n_actions=3, n_places=2, horizon=horizon, seed=seed)
        self.pay = torch.stack(
            [torch.tensor(PAY.get(u, (0.0, 0.0, 0.0))) for u in self.personal.tolist()]
        )  # [N, A]

    def reset(self, batch_size):
        return (self.uniforms(batch_size) < 0.5).long()

    def step(self, states, actions, h=0):
        rewards = self.pay.expand(len(states), -1, -1).gather(2, actions.unsqueeze(-1)).squeeze(-1)
        return Step((self.uniforms(len(states)) < 0.5).long(), rewards)

    def places(self, states):
        return states

    def parts(self, states):
        return states.unsqueeze(-1).float()

    def features(self, parts, population, progress):
        time = progress.reshape(-1, 1, 1).expand(*parts.shape[:-1], 1)
        return torch.cat([parts, time], -1)


class Sites(TableGame):
    """Two sites, picked at random before the first step; 1 less the share of the others there is paid.

    Where the others stay, every policy of the own site and the time is worth the same, 1 / 2 a step. Who
    sees the population moves to the emptier site.
    """

    def __init__(self, *, n_agents):
        law = torch.full((2,), 0.5, dtype=torch.float64)
        super().__init__(
            n_agents=n_agents,
            n_states=2,
            n_actions=2,
            horizon=H,
            initial_law=law,
            personal=torch.zeros(n_agents),
        )

    def transition_table(self, mu, personal):
        return torch.eye(2, dtype=mu.dtype).expand(*mu.shape, 2)

    def reward_table(self, mu, personal):
        return (1 - mu.sum(-1, keepdim=True)).expand(mu.shape)


class PackedSites(Game):
    """The same without numbers or tables; agents observe how full their own site is."""

    n_parts = 1
    n_features = 2

    def __init__(self, *, n_agents):
        super().__init__(
            n_agents=n_agents, n_actions=2, n_places=2, horizon=H, personal=torch.zeros(n_agents)
        )

    def reset(self, batch_size):
        return (self.uniforms(batch_size) < 0.5).long()

    def step(self, states, actions, h=0):
        others = (states.unsqueeze(1) == states.unsqueeze(2)).sum(2) - 1
        return Step(actions, 1 - others / (self.n_agents - 1))

    def places(self, states):
        return states

    def parts(self, states):
        return states.unsqueeze(-1).float()

    def features(self, parts, population, progress):
        return torch.cat([parts, 2 * population.gather(-1, parts.squeeze(-1).long()).unsqueeze(-1)], -1)


@pytest.fixture(params=[Sites, PackedSites], ids=["numbered", "packed"])
def sites(request):
    return request.param


@pytest.fixture
def wages():
    return Wages


@pytest.fixture
def small_settings():
    """A training that takes a second."""
    return replace(training_settings(), budget=6_000, batch_steps=512, validation=512, lr=0.01)
