"""What every game owes: laws, ranges, shapes, seeds, and refusals that name key, value and remedy."""

import math
import re

import pytest
import torch

from mf_pmd import games
from mf_pmd.errors import UserError
from mf_pmd.games.base import half_and_half
from mf_pmd.games.observations import observation_size, observe

KEYS = sorted(games.REGISTRY)
NUMBERED = [key for key in KEYS if issubclass(games.REGISTRY[key], games.PopulationGame)]


@pytest.fixture(params=KEYS)
def key(request):
    return request.param


def random_cells(game, batch_size, seed=0):
    random = torch.Generator().manual_seed(seed)
    shape = (batch_size, game.n_agents)
    states = torch.randint(game.n_states, shape, generator=random)
    return states, torch.randint(game.n_actions, shape, generator=random)


def play(game, batch_size=3):
    states, steps = game.reset(batch_size), []
    random = torch.Generator().manual_seed(9)
    for _ in range(game.horizon):
        actions = torch.randint(game.n_actions, states.shape, generator=random)
        steps.append((states, *(step := game.step(states, actions))))
        states = step.next_states
    return [torch.stack(parts) for parts in zip(*steps, strict=True)]


def test_same_seed_same_trajectory_and_no_other(make_game, key):
    torch.manual_seed(0)
    first = play(make_game(key, n_agents=50, seed=4))
    torch.manual_seed(1)  # the global generator has no say
    second = play(make_game(key, n_agents=50, seed=4))
    other = play(make_game(key, n_agents=50, seed=5))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    game = make_game(key, n_agents=50, seed=4)
    assert not torch.equal(game.reset(3), game.reset(3))


def test_episodes_differ_from_each_other(make_game, key):
    states = play(make_game(key, n_agents=50), batch_size=2)[0]
    assert not torch.equal(states[:, 0], states[:, 1])


@pytest.mark.parametrize("key", NUMBERED)
def test_initial_law(make_game, assert_laws, key):
    game = make_game(key, n_agents=500)
    states = game.reset(100)
    assert states.shape == (100, 500)
    assert states.dtype == torch.int64
    counts = torch.bincount(states.flatten(), minlength=game.n_states)
    expected = [1 / game.n_states] * game.n_states
    if key == "a_sis":
        expected = [0.4, 0.6]
    elif key == "taxi_lite":
        expected = [1 / 9 * (status == 0) for _ in range(9) for status in range(13)]
    assert_laws(counts, expected)
    assert game.initial_law.tolist() == pytest.approx(expected)
    first, second = states[:, 0].double(), states[:, 1].double()
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.4


@pytest.mark.parametrize(("draw", "state"), [(0.0, 1), (0.25, 2), (1 - 2**-24, 3)])
def test_states_of_probability_zero_are_never_drawn(make_game, monkeypatch, draw, state):
    # the smallest and the largest number that torch.rand can give, and one on a threshold
    game = make_game("a_beach", n_agents=2, n_sites=5)
    game.initial_law = torch.tensor([0.0, 0.25, 0.25, 0.5, 0.0], dtype=torch.float64)
    monkeypatch.setattr(game, "uniforms", lambda batch_size: torch.full((batch_size, 2), draw))
    assert game.reset(1).tolist() == [[state, state]]


CORNERS = [
    ("a_sis", {"eps": 0.2346, "eps_beta": 1.0, "eps_recovery": 2.3334}),
    ("a_sis", {"eps": 0.0, "eps_beta": 0.0}),
    ("a_rps", {"eps": 3.0}),
    ("a_rps", {"eps": 0.0}),
    ("a_beach", {"c1": 0.0, "c2": 0.0, "c3": 0.5, "eps_beta": 1.0}),
    ("a_beach", {"c1": 1.0, "c2": 0.0, "c3": 0.0, "n_sites": 3}),
    ("a_beach", {"c1": 0.3, "c2": 0.2, "c3": 0.4, "eps": 0.5, "noise": 0.5}),
    ("a_beach", {"noise": 0.0, "eps": 0.0, "bar": 0, "n_sites": 5}),
    ("a_beach", {"noise": 1.0, "eps": 0.0, "bar": 9}),
    ("taxi_lite", {"eps": 0.42, "eps_beta": 1.0}),
    ("taxi_lite", {"eps": 0.0, "eps_beta": 0.0}),
]


@pytest.mark.parametrize("n_agents", [2, 3, 40])
@pytest.mark.parametrize(("key", "changes"), CORNERS)
def test_rewards_and_laws_stay_in_range_in_the_corners(make_game, key, changes, n_agents):
    game = make_game(key, n_agents=n_agents, **changes)
    states, actions = random_cells(game, 400)
    states[:20] = states[:20, :1]  # everyone in one place
    step = game.step(states, actions)
    assert step.rewards.min() >= -1e-6
    assert step.rewards.max() <= 1 + 1e-6
    assert step.next_states.min() >= 0
    assert step.next_states.max() < game.n_states
    for s in range(game.n_states):
        mu = torch.zeros(game.n_states, game.n_actions, dtype=torch.float64)
        mu[s] = 1 / game.n_actions
        for u in (-1.0, 0.0, 1.0):
            personal = torch.tensor(u, dtype=torch.float64)
            law, reward = game.transition_table(mu, personal), game.reward_table(mu, personal)
            assert law.min() >= 0
            assert torch.allclose(law.sum(-1), torch.ones_like(reward), atol=1e-12)
            assert reward.min() >= -1e-12
            assert reward.max() <= 1 + 1e-12


def test_the_range_of_rewards_is_used(make_game):
    # 0 and 1 are attained: the normalisation is not loose
    sis = make_game("a_sis", n_agents=2)
    step = sis.step(torch.tensor([[1, 0]]), torch.tensor([[1, 0]]))
    assert step.rewards[0].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)
    rps = make_game("a_rps", n_agents=2)
    assert rps.personal.tolist() == [1.0, -1.0]
    rewards = rps.step(torch.tensor([[2, 1], [2, 0]]), torch.zeros(2, 2, dtype=torch.long)).rewards
    assert rewards[:, 0].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("n_agents", "expected"),
    [(2, [1, -1]), (3, [1, -1, 0]), (4, [1, 1, -1, -1]), (7, [1, 1, 1, -1, -1, -1, 0])],
)
def test_personal_parameters(make_game, n_agents, expected):
    assert half_and_half(n_agents).tolist() == expected
    assert make_game("a_sis", n_agents=n_agents).personal.tolist() == expected


@pytest.mark.parametrize("key", NUMBERED)
def test_tables_broadcast_over_batches(make_game, key):
    game = make_game(key)
    shape = (game.n_states, game.n_actions)
    random = torch.Generator().manual_seed(0)
    mu = torch.softmax(torch.randn(2, 3, math.prod(shape), generator=random).double(), -1)
    mu = mu.reshape(2, 3, *shape)
    personal = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    for table, tail in ((game.transition_table, (*shape, shape[0])), (game.reward_table, shape)):
        cases = {
            "one u": (mu, personal[2], (2, 3)),
            "a u for each": (mu, personal, (2, 3)),
            "a u for each row": (mu, personal[:2].unsqueeze(1), (2, 3)),
            "one mu": (mu[0, 0], personal, (3,)),
            "neither": (mu[1, 2], personal[0], ()),
        }
        for name, (m, u, batch) in cases.items():
            value = table(m, u)
            assert value.shape == (*batch, *tail), name
            assert value.dtype == torch.float64, name
            many, us = m.expand(*batch, *shape), u.expand(batch)
            for index in torch.cartesian_prod(*(torch.arange(n) for n in batch)) if batch else [()]:
                at = tuple(torch.as_tensor(index).reshape(-1).tolist())
                assert torch.allclose(value[at], table(many[at], us[at])), name
        assert table(mu.float(), personal.float()).dtype == torch.float32


BAD = [
    *((key, "n_agents", value, "at least 2") for key in KEYS for value in (1, 0, -3, math.nan)),
    *((key, "horizon", value, "at least 1") for key in KEYS for value in (0, -1, math.nan)),
    *((key, "eps", value, "between") for key in KEYS for value in (-0.01, 4.0, math.nan, math.inf)),
    *((key, "eps", 0.43, "between 0 and 0.42") for key in ("a_taxi", "taxi_lite")),
    *((key, "eps_beta", 1.01, "between 0 and 1") for key in ("a_taxi", "taxi_lite")),
    ("a_taxi", "observe_density", "yes", "True or False"),
    ("a_sis", "eps", 0.24, "between 0 and 0.2346"),
    ("a_sis", "eps_beta", 1.01, "between 0 and 1"),
    ("a_sis", "eps_beta", math.nan, "between"),
    ("a_sis", "eps_recovery", 2.34, "between 0 and 2.3334"),
    ("a_sis", "eps_recovery", -0.1, "between"),
    ("a_sis", "eps_recovery", math.nan, "between"),
    ("a_beach", "n_sites", 2, "at least 3"),
    ("a_beach", "n_sites", math.nan, "at least 3"),
    ("a_beach", "bar", 10, "0 to 9"),
    ("a_beach", "bar", -1, "0 to 9"),
    ("a_beach", "noise", 0.01, "between 0.05 and 0.95"),
    ("a_beach", "noise", 0.96, "between"),
    ("a_beach", "noise", math.nan, "between"),
    ("a_beach", "eps_beta", 1.5, "between"),
    ("a_beach", "c3", 0.5, "must not exceed 1"),
    ("a_beach", "c3", math.nan, "between"),
    *(("a_beach", weight, value, "") for weight in ("c1", "c2") for value in (-0.1, 1.1, math.nan)),
]


@pytest.mark.parametrize(("key", "name", "value", "remedy"), BAD)
def test_impossible_values_are_refused(make_game, key, name, value, remedy):
    with pytest.raises(UserError, match=re.escape(f"env_args.{name}={value}: ")) as caught:
        make_game(key, **{name: value})
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused(make_game):
    with pytest.raises(UserError, match=r"env_args.key=a_sos: .*did you mean a_sis\?"):
        games.make("a_sos")
    with pytest.raises(UserError, match=r"env_args.horizn=3: .*did you mean horizon\?"):
        make_game("a_sis", horizn=3)
    with pytest.raises(UserError, match=r"env_args.n_agents: a_sis needs it"):
        games.make("a_sis")


def test_observations_by_hand(make_game):
    states = torch.tensor([[0, 2, 2], [1, 1, 1]])
    population = torch.tensor([[1 / 3, 0, 2 / 3], [0, 1.0, 0]])
    game = make_game("a_rps", n_agents=3)
    index = observe("index", game, states, population, 0.25)
    assert index.shape == (2, 3, observation_size("index", game))
    assert index[..., 0].tolist() == [[0.0, 2.0, 2.0], [1.0, 1.0, 1.0]]
    features = observe("features", game, states, population, 0.25)
    assert features.shape == (2, 3, observation_size("features", game))
    assert features[0, 1].tolist() == pytest.approx([0, 0, 1, 1 / 3, 0, 2 / 3, 0.25])
    assert features[1, 0].tolist() == [0, 1, 0, 0, 1, 0, 0.25]
    with pytest.raises(UserError, match=r"observation=pixels: .*index, features"):
        observation_size("pixels", game)
