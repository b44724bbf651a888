"""A population game behind the host's environment contract."""

import inspect

import numpy as np
import pytest

from mf_pmd.envs import REGISTRY
from mf_pmd.errors import UserError
from mf_pmd.host.envs import MultiAgentEnv

GAMES = ["a_sis", "a_rps", "a_beach"]


@pytest.fixture
def make_env(configure):
    def make(key="a_sis", **changes):
        env_args = configure("mf_pmd", key)["env_args"]
        return REGISTRY["population"](**{**env_args, "n_agents": 7, "horizon": 4, "seed": 3, **changes})

    return make


def play(env, seed=None):
    """An episode of fixed actions: (obs, state, reward) of every step."""
    obs, info = env.reset(seed=seed)
    assert info == {}
    seen = [(np.stack(obs), env.get_state(), None)]
    done = False
    random = np.random.default_rng(0)
    while not done:
        actions = random.integers(env.get_total_actions(), size=env.n_agents)
        obs, reward, done, truncated, info = env.step(actions)
        assert truncated is False
        assert isinstance(done, bool)
        assert all(isinstance(value, (int, float)) for value in info.values())
        seen.append((np.stack(obs), env.get_state(), reward))
    return seen


@pytest.mark.parametrize("key", GAMES)
def test_sizes_and_shapes(make_env, key):
    env = make_env(key)
    info = env.get_env_info()
    assert set(info) == {"state_shape", "obs_shape", "n_actions", "n_agents", "episode_limit"}
    assert all(type(value) is int for value in info.values())
    n_states = info["state_shape"]
    assert info == {
        "state_shape": n_states,
        "obs_shape": 2 * n_states + 1,
        "n_actions": env.game.n_actions,
        "n_agents": 7,
        "episode_limit": 4,
    }
    seen = play(env)
    assert len(seen) == 5  # the last step is terminal
    for t, (obs, state, reward) in enumerate(seen):
        assert obs.shape == (7, info["obs_shape"])
        assert state.shape == (n_states,)
        own = obs[:, :n_states]
        assert (own.sum(1) == 1).all()
        assert np.allclose(own.mean(0), state, atol=1e-6)
        assert np.allclose(obs[:, n_states : 2 * n_states], state)
        assert np.allclose(obs[:, -1], t / 4)
        if t:
            assert len(reward) == 7
            assert all(0 <= r <= 1 for r in reward)
    assert np.array_equal(env.get_obs_agent(3), env.get_obs()[3])
    assert np.array_equal(env.get_avail_actions(), np.ones((7, info["n_actions"])))
    assert np.array_equal(env.get_avail_agent_actions(0), np.ones(info["n_actions"]))
    assert env.get_stats() == {}


@pytest.mark.parametrize("key", GAMES)
def test_one_reward_for_all(make_env, key):
    individual = play(make_env(key))
    total = play(make_env(key, common_reward=True, reward_scalarisation="sum"))
    mean = play(make_env(key, common_reward=True, reward_scalarisation="mean"))
    for (_, _, each), (_, _, one), (_, _, average) in zip(individual[1:], total[1:], mean[1:], strict=True):
        assert isinstance(one, float)
        assert one == pytest.approx(sum(each), abs=1e-5)
        assert average == pytest.approx(sum(each) / 7, abs=1e-6)


@pytest.mark.parametrize("key", GAMES)
def test_seeds(make_env, key):
    def rewards(seen):
        return np.array([reward for _, _, reward in seen[1:]])

    env, twin, other = make_env(key), make_env(key), make_env(key, seed=4)
    first = play(env)
    assert np.array_equal(rewards(first), rewards(play(twin)))
    assert not np.array_equal(rewards(first), rewards(play(other)))
    again = play(env)  # without a seed episodes go on
    assert not np.array_equal(rewards(first), rewards(again))
    assert np.array_equal(rewards(play(env, seed=9)), rewards(play(other, seed=9)))
    assert not np.array_equal(rewards(play(env, seed=9)), rewards(play(env, seed=10)))


def test_actions_come_in_any_form(make_env):
    outcomes = []
    for form in (list, np.array, lambda actions: np.array(actions).reshape(7, 1)):
        env = make_env("a_rps")
        env.step(form([0, 1, 2, 0, 1, 2, 0]))
        outcomes.append(env.states[0].tolist())
    assert outcomes == [[0, 1, 2, 0, 1, 2, 0]] * 3


def test_it_has_every_method_of_the_host_s_environment(make_env):
    env = make_env()
    for name, member in inspect.getmembers(MultiAgentEnv, inspect.isfunction):
        assert callable(getattr(env, name)), name
        if not name.startswith("_"):
            theirs = list(inspect.signature(member).parameters)[1:]
            assert list(inspect.signature(getattr(env, name)).parameters) == theirs, name
    for name in ("close", "render", "save_replay"):
        assert getattr(env, name)() is None


def test_refusals(make_env):
    with pytest.raises(UserError, match=r"reward_scalarisation=max: choose sum or mean"):
        make_env(reward_scalarisation="max")
    with pytest.raises(UserError, match=r"env_args.key: missing"):
        REGISTRY["population"](seed=1)
    with pytest.raises(UserError, match=r"env_args.n_agents=1"):
        make_env(n_agents=1)
    assert make_env(map_name=None).n_agents == 7
