"""A policy of observations, read back without a host, played, and scored exactly on numbered states."""

from types import SimpleNamespace

import pytest
import torch

import mf_pmd
from mf_pmd.controllers.observation_mac import ObservationMAC
from mf_pmd.errors import UserError
from mf_pmd.evaluation.judgement import judge
from mf_pmd.evaluation.playing import act_by, mean_field_policy, observed, play, rows_by
from mf_pmd.functional.checks import NotAPolicyError
from mf_pmd.functional.distributions import count_values
from mf_pmd.functional.exploitability import mean_field_exploitability

N = 12
FORMS = {
    "shared": {},
    "deep set": {"population_dependent": True, "embedding_dim": 5},
    "one-hot": {"identity": "one_hot"},
    "number": {"identity": "number", "population_dependent": True, "embedding_dim": 3},
    "own": {"identity": "own_network"},
}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def make_mac(make_game):
    """A controller with K random iterates, and its game."""

    def make(form, key="a_taxi", *, output_policy="average", iterates=3, **env_args):
        game = make_game(key, **{"n_agents": N, "horizon": 4, **env_args})
        args = {"identity": "none", "population_dependent": False, "embedding_dim": 0, **FORMS[form]}
        info = {"game": key, "features": (game.n_features, game.features), "horizon": game.horizon}
        args |= {"population_info": {**info, "n_states": game.n_states}, "observation": "index"}
        args |= {"n_agents": game.n_agents, "n_actions": game.n_actions, "hidden_dim": 7}
        args |= {"output_policy": output_policy, "mask_absent": False, "t_max": 100}
        args |= {"batch_size_run": 10}
        torch.manual_seed(0)
        mac = ObservationMAC({"obs": {"vshape": game.n_parts}}, {}, SimpleNamespace(**args))
        for _ in range(iterates - 1):
            for parameter in mac.agent.parameters():
                torch.nn.init.normal_(parameter, std=0.4)
            mac.record_iterate()
        return mac, game

    return make


@pytest.fixture
def saved(make_mac, tmp_path):
    """The checkpoint of such a controller."""

    def save(form, *args, **kwargs):
        mac, game = make_mac(form, *args, **kwargs)
        mac.save_models(tmp_path)
        return mac, game, tmp_path

    return save


def batch_of(game, states, h):
    """What a controller reads of the host's batch at step h; nothing at the others."""
    n_steps = game.horizon + 1
    parts = game.parts(states).unsqueeze(1).expand(-1, n_steps, -1, -1)
    population = count_values(game.places(states), game.n_places) / game.n_agents
    everything = torch.ones((), dtype=torch.int).expand(len(states), n_steps, game.n_agents, game.n_actions)
    return Batch(
        {
            "obs": parts,
            "state": population.unsqueeze(1).expand(-1, n_steps, -1),
            "avail_actions": everything,
        },
        len(states),
    )


class Batch:
    def __init__(self, columns, batch_size):
        self.columns, self.batch_size, self.device = columns, batch_size, torch.device("cpu")

    def __getitem__(self, name):
        return self.columns[name]


@torch.no_grad()
def some_states(game, n_episodes=3):
    """Where agents are after two steps of a uniform policy."""
    torch.manual_seed(3)
    states = game.reset(n_episodes)
    for h in range(2):
        states, _ = game.step_at(h, states, torch.randint(game.n_actions, states.shape))
    return states


@pytest.mark.parametrize("output_policy", ["last", "average"])
def test_a_policy_does_what_its_controller_did(saved, form, output_policy):
    mac, game, path = saved(form, output_policy=output_policy)
    checkpoint = mf_pmd.load(path)
    assert checkpoint.game == "a_taxi"
    assert checkpoint.policy is checkpoint.policies[output_policy]
    assert set(checkpoint.policies) == ({"last"} if output_policy == "last" else {"last", "average", "tail"})
    states = some_states(game)
    found = checkpoint.policy.probabilities(observed(game, 2, states))
    with torch.no_grad():
        expected = mac.forward(batch_of(game, states, 2), 2, test_mode=True)
    assert found.shape == (3, N, 5)
    assert torch.allclose(found, expected, atol=1e-6)
    assert checkpoint.policy.shares_policy == (form in ("shared", "deep set"))


def test_actions_are_drawn_from_the_policy(saved, form, assert_laws):
    _, game, path = saved(form)
    policy = mf_pmd.load(path).policy
    states = some_states(game, 1).expand(4000, -1)
    torch.manual_seed(1)
    actions = act_by(policy, game)(2, states)
    counts = torch.stack([(actions == a).sum(0) for a in range(5)], -1)
    assert_laws(counts, policy.probabilities(observed(game, 2, states[:1]))[0].double())


def test_rows_of_some_agents(saved, form):
    _, game, path = saved(form, output_policy="last")
    policy = mf_pmd.load(path).policy
    states, who = some_states(game), torch.tensor([[4, 0], [11, 2], [3, 4]])
    everyone = policy.probabilities(observed(game, 2, states))
    found = rows_by(policy, game)(2, states, who)
    assert torch.allclose(found, everyone[torch.arange(3).unsqueeze(1), who], atol=1e-6)


def test_on_numbered_states_it_is_a_policy_of_the_mean_field(saved, form):
    """At the distribution of N agents it gives them their rows; of own policies the mean over the agents."""
    _, game, path = saved(form, "a_beach")
    policy = mf_pmd.load(path).policy
    states = some_states(game, 1)
    nu = count_values(states, game.n_states)[0] / N
    rows = mean_field_policy(policy, game)(2, nu)
    assert rows.shape == (game.n_states, game.n_actions)
    if policy.shares_policy:
        own = policy.probabilities(observed(game, 2, states))[0]
        assert torch.allclose(own, rows[states[0]], atol=1e-6)
        return
    everywhere = torch.arange(game.n_states).unsqueeze(1).expand(-1, N)  # all N in each state, seeing nu
    progress = torch.full((game.n_states,), 2 / game.horizon)
    features = game.features(game.parts(everywhere), nu.expand(game.n_states, -1), progress)
    if form != "number":  # whose deep set would see them all in one state
        assert torch.allclose(policy.probabilities(features).mean(1), rows, atol=1e-6)


def test_the_exact_verb_scores_it(saved):
    _, game, path = saved("deep set", "a_sis", output_policy="last")
    policy = mf_pmd.load(path).policy
    found = judge(game, policy, n_episodes=8, seed=1)
    exact = mean_field_exploitability(game.mean_field_model(), policy.on_cells(game)).item()
    assert found.mean_field == pytest.approx(exact)
    assert found.n_player["exploitability_mean_lower"] <= found.n_player["exploitability_mean"]


@pytest.mark.parametrize("form", ["shared", "deep set", "number"])
def test_more_agents_may_play_it(saved, make_game, form):
    _, _, path = saved(form)
    larger = make_game("a_taxi", n_agents=3 * N, horizon=2)
    steps = list(play(larger, act_by(mf_pmd.load(path).policy, larger), batch_size=2))
    assert steps[-1].actions.shape == (2, 3 * N)


@pytest.mark.parametrize(("form", "identity"), [("one-hot", "one_hot"), ("own", "own_network")])
def test_those_who_know_who_they_are_play_no_other_population(saved, make_game, form, identity):
    _, _, path = saved(form)
    other = make_game("a_taxi", n_agents=N + 1, horizon=2)
    with pytest.raises(UserError, match=rf"n_agents=13: .* by 12 agents .*identity={identity}") as caught:
        act_by(mf_pmd.load(path).policy, other)
    assert "\n" not in str(caught.value)


def test_observations_of_another_size_are_refused(saved, make_game):
    _, _, path = saved("deep set")
    other = make_game("a_taxi", n_agents=N, horizon=2, observe_density=True)
    with pytest.raises(
        UserError, match=r"observations of 67 numbers, .* have 72: .*observe_density"
    ) as caught:
        act_by(mf_pmd.load(path).policy, other)
    assert "\n" not in str(caught.value)


def test_a_network_that_puts_out_nan_plays_nothing(saved):
    mac, game, path = saved("shared", output_policy="last")
    torch.nn.init.constant_(next(mac.agent.parameters()), torch.nan)
    mac.save_models(path)
    policy = mf_pmd.load(path).policy
    for play_it in (policy.act, policy.probabilities):
        with pytest.raises(NotAPolicyError, match="NaN"):
            play_it(observed(game, 2, some_states(game)))


@pytest.mark.parametrize("file", ["agent.th", "policy.th"])
@pytest.mark.parametrize("contents", [None, b"no checkpoint", {"a": 1}])
def test_damaged_files_are_named(saved, file, contents):
    _, _, path = saved("shared")
    if contents is None:
        (path / file).unlink()
    elif isinstance(contents, bytes):
        (path / file).write_bytes(contents)
    else:
        torch.save(contents, path / file)
    with pytest.raises(UserError, match=r"damaged|holds no|cannot be loaded") as caught:
        mf_pmd.load(path)
    assert "\n" not in str(caught.value)
