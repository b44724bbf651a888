"""What deviators may see: exploitability grants them their own state and the time, and no more."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.evaluation.checkpoint import Ensemble, LearntPolicy
from mf_pmd.evaluation.observation_policy import ObservationPolicy
from mf_pmd.evaluation.trained_response.deviators import Deviators, see
from mf_pmd.evaluation.trained_response.episodes import Frozen, frozen_policy
from mf_pmd.evaluation.trained_response.measuring import measure
from mf_pmd.evaluation.trained_response.starts import uniform_log
from mf_pmd.evaluation.trained_response.training import train_response
from mf_pmd.evaluation.trained_response.types import types_of
from mf_pmd.modules.agents import DeepSetNetworkAgent, MeanFieldNetworkAgent
from mf_pmd.modules.features import feature_size

STAYING = Frozen(lambda h, states: states, None, "")


@pytest.mark.parametrize("seed", [1, 2])
def test_where_no_local_deviation_gains_only_seers_of_the_population_do(sites, small_settings, seed):
    """At N = 5 those who see it gain E|X - 2| / 4 = 3 / 16, X binomial of 4 at 1 / 2; others exactly 0."""
    game = sites(n_agents=5)
    frozen, types = STAYING._replace(start=uniform_log(game)), types_of(game)
    settings = replace(small_settings, learning_share=0.0)
    found = {}
    for sees in ("own_state", "population"):
        response = train_response(game, frozen, types, replace(settings, sees=sees), seed=seed)
        found[sees] = measure(game, frozen, response, types, n_episodes=2000, seed=seed)
    assert found["own_state"].mean.lower <= 0 <= found["own_state"].mean.upper
    assert found["own_state"].largest.lower <= 0
    assert found["population"].mean.lower > 0.12
    assert found["population"].mean.lower <= 3 / 16 <= found["population"].mean.upper


def test_the_population_changes_nothing_for_deviators_that_see_their_own_state(make_game):
    """On games of either kind, with the density observed, and whatever others do."""
    torch.manual_seed(0)
    for key, settings in (("a_sis", {}), ("taxi_lite", {}), ("a_taxi", {"observe_density": True})):
        game = make_game(key, n_agents=6, horizon=3, **settings)
        drawn, who = game.reset(20), torch.tensor([[0, 3], [0, 3]])
        apart = game.places(drawn[:, 0]) != game.places(drawn[:, 3])
        states = drawn[apart][:1].expand(2, -1).clone()
        states[1, [1, 2, 4, 5]] = states[0, 3].item()  # all others somewhere else in the second episode
        states[0, [1, 2, 4, 5]] = states[0, 0].item()
        own, more = (see(game, 1, states, who, sees_population=sight) for sight in (False, True))
        assert torch.equal(own[0], own[1])
        assert not torch.equal(more[0], more[1])


def reading_table(game):
    """A policy of local states that reads the population."""
    args = {"n_states": 2, "n_actions": 2, "horizon": 3, "hidden_dim": 4, "population_dependent": True}
    agent = MeanFieldNetworkAgent(feature_size(2, 3, population=True), SimpleNamespace(**args))
    size = sum(weights.numel() for weights in agent.parameters())
    ensemble = Ensemble(agent, torch.randn(2, size), horizon=3, n_states=2)
    return LearntPolicy("last", None, horizon=3, n_states=2, n_actions=2, ensemble=ensemble)


def reading_network(game, *, identity="none", embedding_dim=0):
    """A network of observations, which hold the population on numbered games."""
    args = {"hidden_dim": 4, "n_actions": game.n_actions, "n_agents": game.n_agents, "identity": identity}
    args |= {"embedding_dim": embedding_dim, "population_dependent": embedding_dim > 0}
    agent = DeepSetNetworkAgent(game.n_features, SimpleNamespace(**args))
    for weights in agent.parameters():
        torch.nn.init.normal_(weights)
    members = torch.nn.utils.parameters_to_vector(agent.parameters()).detach().unsqueeze(0)
    sizes = {"n_features": game.n_features, "n_actions": game.n_actions, "n_agents": game.n_agents}
    return ObservationPolicy("last", agent, members, **sizes, identity=identity)


@pytest.mark.parametrize("kind", ["table", "network", "one_hot", "deep_set"])
def test_deviators_start_at_a_policy_that_does_not_read_the_population(make_game, kind):
    """Where the others' does, deviators that may not see it start at what it is in an even one."""
    torch.manual_seed(1)
    game = make_game("a_sis", n_agents=4, horizon=3)
    policy = {
        "table": lambda: reading_table(game),
        "network": lambda: reading_network(game),
        "one_hot": lambda: reading_network(game, identity="one_hot"),
        "deep_set": lambda: reading_network(game, embedding_dim=2),
    }[kind]()
    states = torch.tensor([[0, 1, 0, 0], [0, 1, 1, 1], [0, 1, 0, 1]])  # the last population is even
    who = torch.tensor([[0, 1]]).expand(3, -1)
    own, more = (
        frozen_policy(policy, game, start="frozen", floor=0.0, sees_population=sight)
        for sight in (False, True)
    )
    rows, reading = (torch.softmax(frozen.start(1, states, who), -1) for frozen in (own, more))
    assert torch.equal(rows[0], rows[1])
    assert not torch.allclose(reading[0], reading[1])
    if kind == "deep_set":  # no function of a distribution over the places
        assert torch.allclose(rows, torch.full_like(rows, 0.5))
        assert own.started_from == "the uniform policy, for the others' reads all agents"
    else:
        assert torch.allclose(rows[0], reading[2], atol=1e-6)
        assert "at an even one" in own.started_from


def test_deviators_of_either_sight_have_networks_of_what_they_see(sites):
    game = sites(n_agents=5)
    states, who = game.reset(3), torch.zeros(3, 1, dtype=torch.int64)
    for sight in (False, True):
        deviators = Deviators(game, hidden_dim=4, sees_population=sight)
        inputs = see(game, 0, states, who, sees_population=deviators.sees_population)
        assert deviators.values(inputs).shape == (3, 1)
