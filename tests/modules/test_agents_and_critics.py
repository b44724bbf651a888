"""Tables and networks: shapes, first output, and what they depend on."""

from types import SimpleNamespace

import pytest
import torch

from mf_pmd.modules import agents, critics
from mf_pmd.modules.features import feature_size

SIZES = {"n_states": 3, "horizon": 4}
POLICIES = [name for name, kind in agents.REGISTRY.items() if issubclass(kind, agents.MeanFieldAgent)]
TAU = 0.2


def make_agent(name, *, population_dependent=False):
    args = SimpleNamespace(
        hidden_dim=8,
        n_actions=2,
        state_shape=3,
        population_dependent=population_dependent,
        tau=TAU,
        population_info={"horizon": 4},
    )
    kind = agents.REGISTRY[name]
    size = 12 if kind.tabular else feature_size(3, 4, population=population_dependent)
    return kind(size, args)


def shake(module, seed=0):
    """Random parameters, so that outputs are of order 1."""
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)


@pytest.mark.parametrize("population_dependent", [False, True])
@pytest.mark.parametrize("name", POLICIES)
def test_the_first_policy_is_uniform(name, population_dependent):
    agent = make_agent(name, population_dependent=population_dependent and "network" in name)
    steps = torch.tensor([0, 3])
    population = torch.softmax(torch.randn(5, 2, 3), -1)
    rows = agent.log_policy(population, steps, **SIZES)
    batch = (5, 2) if agent.population_dependent else (2,)
    assert rows.shape == (*batch, 3, 2)
    assert torch.allclose(rows.exp(), torch.full_like(rows, 0.5))
    hidden = agent.init_hidden()
    assert hidden.shape[0] == 1
    assert not hidden.any()
    assert agent.device.type == "cpu"


def test_a_table_looks_up_its_rows():
    agent = make_agent("mean_field_table")
    agent.log_table.copy_(torch.log_softmax(torch.randn(4, 3, 2), -1))
    steps = torch.tensor([2, 0])
    assert torch.equal(agent.log_policy(None, steps, **SIZES), agent.log_table[steps])
    # the host's way in: one-hot (h, s) cells; cell 7 is h = 2, s = 1
    outputs, hidden = agent(torch.eye(12)[[7, 0]], "untouched")
    assert torch.allclose(outputs, agent.log_table.reshape(12, 2)[[7, 0]])
    assert hidden == "untouched"


def test_a_network_reads_time_and_state_and_the_population_only_when_told():
    for population_dependent in (False, True):
        agent = make_agent("mean_field_network", population_dependent=population_dependent)
        shake(agent)
        population = torch.softmax(torch.randn(2, 4, 3), -1)
        with torch.no_grad():
            rows = agent.log_policy(population, torch.arange(4), **SIZES)
            other = agent.log_policy(population.flip(-1), torch.arange(4), **SIZES)
        assert torch.allclose(rows.exp().sum(-1), torch.ones(rows.shape[:-1]))
        flat = rows.reshape(-1, 2)
        assert len({tuple(row.tolist()) for row in flat}) == len(flat)  # every (h, s) row differs
        assert torch.equal(rows, other) is not population_dependent


@pytest.mark.parametrize("population_dependent", [False, True])
def test_the_mean_policy_equals_a_loop_over_parameter_vectors(population_dependent):
    agent = make_agent("mean_field_network", population_dependent=population_dependent)
    vectors = []
    for seed in range(4):
        shake(agent, seed)
        vectors.append(torch.nn.utils.parameters_to_vector(agent.parameters()).detach().clone())
    shake(agent, 99)  # its own parameters have no say
    population = torch.softmax(torch.randn(5, 3), -1)
    with torch.no_grad():
        found = agent.mean_policy(torch.stack(vectors), population, 2, **SIZES)
        expected = torch.zeros(5, 3, 2)
        loop = make_agent("mean_field_network", population_dependent=population_dependent)
        for vector in vectors:
            torch.nn.utils.vector_to_parameters(vector, loop.parameters())
            rows = loop.log_policy(population.unsqueeze(1), torch.tensor([2]), **SIZES)
            expected += rows.exp().expand(5, 1, 3, 2)[:, 0] / 4 if population_dependent else rows.exp() / 4
    assert torch.allclose(found.expand_as(expected), expected, atol=1e-6)


def test_the_critic_starts_at_zero_and_is_scaled_by_the_horizon():
    args = SimpleNamespace(hidden_dim=8, n_actions=2, state_shape=3, population_info={"horizon": 4})
    critic = critics.REGISTRY["mean_field_critic"]({}, args)
    population = torch.softmax(torch.randn(5, 4, 3), -1)
    features = critic.features(population)
    assert features.shape == (5, 4, feature_size(3, 4, population=True) - 3)  # but the one-hot state
    assert torch.equal(critic(features), torch.zeros(5, 4, 3, 2))
    torch.nn.init.ones_(critic.layers[-1].bias)
    assert torch.equal(critic(features), torch.full((5, 4, 3, 2), 4.0))
    shake(critic)
    q = critic(features)
    assert not torch.allclose(q, critic(critic.features(population.flip(0))))
    assert len({round(x, 6) for x in q[0].flatten().tolist()}) == 24


def test_a_soft_q_network_plays_the_softmax_of_its_values():
    agent = make_agent("soft_q_network")
    shake(agent)
    features = agent.features(None, torch.arange(4), **SIZES)
    with torch.no_grad():
        q_values = agent.q_values(features)
        rows = agent.log_policy(None, torch.arange(4), **SIZES).exp()
        assert torch.equal(q_values, 4 * agent.layers(features))  # scaled by the horizon
    odds = (rows[..., 0] / rows[..., 1]).log()
    assert torch.allclose(odds, (q_values[..., 0] - q_values[..., 1]) / TAU, atol=1e-4)


def make_mean_action_critic():
    args = SimpleNamespace(hidden_dim=8, n_actions=2, state_shape=3, population_info={"horizon": 4})
    return critics.REGISTRY["mean_action_critic"]({}, args), args


def test_a_mean_action_critic_runs_once_a_state_and_mean_action():
    critic, _ = make_mean_action_critic()
    population = torch.softmax(torch.randn(5, 4, 3), -1)
    mean_action = torch.softmax(torch.randn(5, 4, 2, 2), -1)
    features = critic.features(population, mean_action, torch.arange(4))
    assert features.shape == (5, 4, 3, 2, feature_size(3, 4, population=True) + 2)
    for s in range(3):
        for row in range(2):
            assert torch.equal(features[:, :, s, row, -2:], mean_action[:, :, row])
            assert torch.equal(features[:, :, s, row, -5:-2], population)
            assert torch.equal(features[:, :, s, row, :3], torch.eye(3)[s].expand(5, 4, 3))
    assert torch.equal(critic(features), torch.zeros(5, 4, 3, 2, 2))
    torch.nn.init.ones_(critic.layers[-1].bias)
    assert torch.equal(critic(features), torch.full((5, 4, 3, 2, 2), 4.0))
    shake(critic)
    assert len({round(x, 6) for x in critic(features)[0].flatten().tolist()}) == 48


def test_a_mean_action_agent_is_its_critic():
    critic, args = make_mean_action_critic()
    agent = agents.REGISTRY["mean_action_q"](0, args)
    shake(agent)
    critic.load_state_dict(agent.critic.state_dict())
    features = torch.randn(7, critic.layers[0].in_features)
    values, hidden = agent(features, "untouched")
    assert torch.equal(values, critic(features))
    assert hidden == "untouched"
    assert not agent.init_hidden().any()
