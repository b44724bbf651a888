"""MFGLib's environments as games, against MFGLib itself."""

import math
import sys

import mfglib.alg  # noqa: F401  (mfglib.scoring cannot be imported before it)
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mfglib.env import Environment
from mfglib.scoring import exploitability_score

from mf_pmd import cli, games
from mf_pmd.errors import UserError
from mf_pmd.functional.counting import conditional
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.games import PopulationGame, mfglib_game
from mf_pmd.games.mfglib_kernels import fastest, looped, vectorised

KEYS = sorted(games.MFGLIB)
SMALL = {
    "building_evacuation": {"n_floor": 2, "floor_l": 2, "floor_w": 3},
    "crowd_motion": {"torus_l": 3, "torus_w": 4},
    "linear_quadratic": {"el": 2, "m": 1},
}
RESEEDING = ("crowd_motion", "random_linear")


def make(key, *, n_agents=7, population="all", seed=0, **knobs):
    return games.make(key, n_agents=n_agents, population=population, knobs=knobs, seed=seed)


def small(key, **changes):
    return make(key, **SMALL.get(key, {}), **changes)


def populations(game, n, seed=0):
    """Random distributions [n, S, A], some with empty cells."""
    random = torch.Generator().manual_seed(seed)
    weights = torch.rand(n, game.n_states * game.n_actions, generator=random, dtype=torch.float64) ** 3
    weights[n // 2 :] *= torch.rand(weights[n // 2 :].shape, generator=random) < 0.5
    weights[:, 0] += 1e-3
    return (weights / weights.sum(1, keepdim=True)).reshape(n, game.n_states, game.n_actions)


def theirs(game, t, mu):
    """MFGLib's own law [S, A, S] and reward [S, A] at one population, float64."""
    environment = game.environment
    population = mu.float().reshape(*environment.S, *environment.A)
    law = environment.prob(t, population).double()
    law = law.reshape(game.n_states, game.n_states, game.n_actions).permute(1, 2, 0)
    reward = environment.reward(t, population).double().reshape(game.n_states, game.n_actions)
    return law / law.sum(-1, keepdim=True), reward


def digit_for_digit(key, kind):
    """Whether a batched form of ours must round as the kernel does; the sums of two others may not."""
    others = ("linear_quadratic", "random_linear")
    return getattr(games.MFGLIB[key], kind) is not None and key not in others


@pytest.mark.parametrize("key", KEYS)
def test_the_tables_are_mfglibs_kernels(key):
    game = make(key)
    environment = getattr(Environment, key)() if key not in RESEEDING else game.environment
    assert (game.horizon, game.n_states, game.n_actions) == (
        environment.T + 1,
        math.prod(environment.S),
        math.prod(environment.A),
    )
    assert torch.allclose(game.initial_law, environment.mu0.flatten().double(), atol=1e-7)
    zero, steps = torch.zeros(()).double(), torch.arange(min(game.horizon, 6))
    batch = populations(game, 4)
    laws = game.transition_at(steps, batch.unsqueeze(1), zero)
    rewards = game.reward_at(steps, batch.unsqueeze(1), zero)
    laws = laws.expand(4, len(steps), *laws.shape[-3:])
    rewards = rewards.expand(4, len(steps), *rewards.shape[-2:])
    for k in range(4):
        for t in steps.tolist():
            law, reward = theirs(game, t, batch[k])
            assert torch.allclose(laws[k, t], law, atol=1e-6)
            assert torch.allclose(rewards[k, t], game.reward_factor * reward + game.reward_offset, atol=2e-6)
    assert (laws.sum(-1) - 1).abs().max() < 1e-12


@pytest.mark.parametrize("key", KEYS)
def test_exploitability_is_theirs_times_the_factor(key):
    game = make(key)
    environment = game.environment
    shape = (game.horizon, game.n_states, game.n_actions)
    random = torch.softmax(torch.randn(shape, generator=torch.Generator().manual_seed(1)), -1)
    for policy in (torch.full(shape, 1 / game.n_actions), random):
        ours = mean_field_exploitability(game.mean_field_model(), tabular_policy(policy.double())).item()
        table = policy.reshape(game.horizon, *environment.S, *environment.A)
        assert ours / game.reward_factor == pytest.approx(exploitability_score(environment, table), rel=1e-4)


@pytest.mark.parametrize("key", KEYS)
def test_nothing_is_paid_outside_the_bounds(key):
    game = small(key)
    n_cells, zero = game.n_states * game.n_actions, torch.zeros(()).double()
    corners = torch.eye(n_cells, dtype=torch.float64)
    edges = (corners[:, None] + 3 * corners[None]).flatten(0, 1) / 4
    faces = populations(game, 200, seed=3).flatten(1)
    batch = torch.cat([corners, edges, faces]).unflatten(1, (game.n_states, game.n_actions))
    steps = torch.arange(game.horizon) if game.time_dependent else torch.tensor([0])
    rewards = torch.cat([game.reward_at(h, batch, zero).flatten() for h in steps])
    assert 0 <= rewards.min() < 1e-4  # and the bounds are attained: they are no wider than they must be
    assert rewards.max() <= 1
    assert rewards.max() > (0.999 if key != "linear_quadratic" else 0.99)


@given(q=st.floats(-2, 2), kappa=st.floats(0, 2), m=st.integers(1, 3), el=st.integers(1, 3))
@settings(max_examples=30)
def test_the_largest_reward_of_linear_quadratic_is_the_calculus_one(q, kappa, m, el):
    game = make("linear_quadratic", q=q, kappa=kappa, m=m, el=el, T=1)
    means = torch.linspace(0, 1, 801, dtype=torch.float64)
    mu = torch.zeros(801, game.n_states, game.n_actions, dtype=torch.float64)
    mu[:, 0, 0], mu[:, -1, 0] = 1 - means, means  # every mean state between the ends
    rewards = torch.cat([game.reward_at(torch.tensor(t), mu, torch.zeros(())) for t in (0, 1)])
    assert rewards.min() >= -1e-12
    assert rewards.max() <= 1 + 1e-12


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("population", ["others", "all"])
def test_agents_play_the_tables(assert_laws, key, population):
    game = small(key, population=population, n_agents=6)
    random = torch.Generator().manual_seed(4)
    states = torch.randint(game.n_states, (6,), generator=random)
    actions = torch.randint(game.n_actions, (6,), generator=random)
    states[1], actions[1] = states[0], actions[0]  # somebody is not alone
    for h in {0, game.horizon - 1}:
        step = game.step_at(h, states.expand(2000, -1), actions.expand(2000, -1))
        laws, rewards = [], []
        for i in range(6):
            mu = torch.zeros(game.n_states, game.n_actions, dtype=torch.float64)
            met = [j for j in range(6) if j != i or population == "all"]
            for j in met:
                mu[states[j], actions[j]] += 1 / len(met)
            law, reward = theirs(game, h, mu)
            laws.append(law[states[i], actions[i]])
            rewards.append(game.reward_factor * reward[states[i], actions[i]] + game.reward_offset)
        assert torch.allclose(step.rewards[0].double(), torch.stack(rewards), atol=2e-6)
        assert (step.rewards == step.rewards[0]).all()
        counts = torch.nn.functional.one_hot(step.next_states, game.n_states).sum(0).double()
        common = torch.stack(laws) * 2000 >= 5  # the rest of a row in one bin
        rest = torch.where(common, 0.0, 1.0)
        merged = [
            torch.cat([x * common, (x * rest).sum(1, keepdim=True)], 1) for x in (counts, torch.stack(laws))
        ]
        assert (counts[torch.stack(laws) == 0] == 0).all()
        rare = merged[1][:, -1] * 2000 < 5
        merged = [torch.cat([x[:, :-1], torch.where(rare, 0.0, x[:, -1])[:, None]], 1) for x in merged]
        assert_laws(merged[0], merged[1])


@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize("key", ["beach_bar", "left_right", "rock_paper_scissors", "susceptible_infected"])
def test_the_check_finds_nothing(key, population):
    games.check_game(small(key, population=population, n_agents=5), draws=500).raise_if_failed()


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_the_check_finds_nothing_in_any(key):
    games.check_game(small(key, n_agents=5), draws=500).raise_if_failed()


@pytest.mark.parametrize("key", KEYS)
def test_what_is_declared_is_true(key):
    # nothing declared: laws and rewards at every cell's own population, one call each
    game = small(key)
    plain = games.MFGLibGame(game.environment, n_agents=7, bounds=game.bounds, seed=0)
    assert plain.time_dependent
    assert not plain.fixed_transition
    counts = torch.bincount(
        torch.randint(game.n_states * game.n_actions, (7,)), minlength=game.n_states * game.n_actions
    )
    counts, zero = counts.double(), torch.zeros(1).double()
    others = populations(game, 2)
    for population in ("others", "all"):
        game.population = plain.population = population
        held = counts > 0
        for h in {0, game.horizon - 1}:
            step = torch.tensor(h)
            for a, b in (
                (
                    game.own_rewards(counts[None], zero, step)[..., held],
                    plain.own_rewards(counts[None], zero, step)[..., held],
                ),
                (
                    game.own_laws(counts[None], zero, step)[..., held, :],
                    plain.own_laws(counts[None], zero, step)[..., held, :],
                ),
                *zip(game.tables_met(others, zero, step), plain.tables_met(others, zero, step), strict=True),
            ):
                assert torch.allclose(a.expand_as(b), b, atol=1e-5)


@pytest.mark.parametrize("key", RESEEDING)
def test_torchs_global_generator_is_left_alone(key):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = small(key, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = small(key, seed=1), make(key, **SMALL.get(key, {}))
    mu, zero = populations(first, 1)[0], torch.zeros(()).double()
    assert torch.equal(first.reward_at(torch.tensor(2), mu, zero), again.reward_at(torch.tensor(2), mu, zero))
    moved = mfglib_game.make_environment(key, {"seed": 9, **SMALL.get(key, {})})
    rewards = [game.reward(2, torch.zeros(*game.S, *game.A)) for game in (other.environment, moved)]
    assert not torch.equal(*rewards)


def test_constants_are_those_of_agents_who_are_alike():
    for key in KEYS:
        constants = small(key, population="others").constants
        if key == "linear_quadratic":
            assert constants is None  # its law jumps
            continue
        assert (constants.alpha, constants.beta) == (0.0, 0.0)
        counted = small(key).constants
        assert counted.alpha <= 2
        assert counted.beta <= 1
    assert make("beach_bar").constants.monotone
    assert not make("rock_paper_scissors").constants.monotone


def test_a_kernel_that_vmap_cannot_follow_is_looped():
    def sorts(t, population):
        return population * (1.0 if population.sum().item() > 0 else 0.0)  # reads a number out of a tensor

    batch = torch.rand(3, 2, 2)
    chosen = fastest(sorts, [vectorised(sorts)], [0], batch)
    assert torch.equal(chosen(0, batch), batch)
    wrong = fastest(sorts, [lambda t, populations: populations + 1], [0], batch)
    assert torch.equal(wrong(0, batch), looped(sorts)(0, batch))


@pytest.mark.parametrize(
    ("key", "kind"), [(key, kind) for key in KEYS for kind in ("law", "reward") if digit_for_digit(key, kind)]
)
def test_batched_forms_of_ours_are_mfglibs_digit_for_digit(key, kind):
    game = small(key)
    environment = game.environment
    kernel = environment.prob if kind == "law" else environment.reward
    own = getattr(games.MFGLIB[key], kind)(environment)
    shape = (*environment.S, *environment.A)
    given = populations(game, 40).float().reshape(-1, *shape)
    for t in (0, environment.T):
        assert torch.equal(own(t, given), looped(kernel)(t, given))
        assert torch.equal(own(t, given), vectorised(kernel)(t, given))


@pytest.mark.parametrize("key", KEYS)
def test_the_laws_of_those_who_are_counted_are_those_of_any_game(key):
    game = small(key)
    cells = populations(game, 6).flatten(1)
    counts = (cells * 10**6).round()
    counts = counts.unsqueeze(1)  # [B, 1, C]
    personal = game.personal.double()[:1]
    for h in {0, game.horizon - 1}:
        asked = (counts, personal, torch.tensor(h))
        rows = PopulationGame.own_laws(game, *asked)
        assert torch.equal(game.own_laws(*asked), rows)
        assert torch.equal(game.own_rewards(*asked), PopulationGame.own_rewards(game, *asked))
        found, expected = game.own_conditional(*asked), conditional(rows)
        assert found.n_places == expected.n_places
        if expected.places is None:
            assert found.places is None
        for share, other in zip(found.shares, expected.shares, strict=True):
            torch.testing.assert_close(share, other, rtol=1e-6, atol=1e-9)
    steps = torch.arange(3).unsqueeze(1)  # [H, 1]
    for met in (counts.unsqueeze(1), counts.unflatten(0, (2, 3))):  # [B, 1, 1, C], [B, H, 1, C]
        expected = PopulationGame.own_rewards(game, met, personal, steps)
        assert torch.equal(game.own_rewards(met, personal, steps), expected)


def test_any_environment_can_be_given():
    environment = Environment.left_right(mu0=(0.5, 0.25, 0.25))
    game = games.MFGLibGame(environment, n_agents=4, bounds=games.Bounds(-2.0, 0.0))
    assert game.initial_law.tolist() == [0.5, 0.25, 0.25]
    assert game.reward_factor == 0.5
    assert game.constants is None
    with pytest.raises(UserError, match="no finite interval"):
        games.MFGLibGame(environment, n_agents=4, bounds=games.Bounds(0.0, math.inf))


@pytest.mark.parametrize(
    ("key", "knobs", "message"),
    [
        ("left_right", {"n": 3}, "knobs.n=3: left_right has no such knob, it has mu0"),
        ("beach_bar", {"n": 2.5}, "knobs.n=2.5: a whole number is needed"),
        ("beach_bar", {"bar_loc": 9}, "beach_bar with bar_loc=9: bar_loc must be between"),
        ("beach_bar", {"log_eps": 0.0}, "knobs.log_eps=0.0: must be positive"),
        ("beach_bar", {"T": -2}, "knobs.T=-2: the last step is 0 or later"),
        ("beach_bar", {"mu0": [0.5, 0.5]}, "knobs.mu0=.*states are"),
        ("beach_bar", {"mu0": [2.0, -1.0, 0.0, 0.0]}, "no share may be negative"),
        ("beach_bar", {"mu0": [0.5, 0.0, 0.0, 0.0]}, "invalid distribution provided for mu0"),
        ("crowd_motion", {"p_still": 1.5}, "knobs.p_still=1.5: is a probability"),
        ("equilibrium_price", {"sigma": 0.0}, "knobs.sigma=0.0: must be positive"),
        ("equilibrium_price", {"c": 3.0}, "knobs.c=3.0: a list of numbers such as"),
        ("conservative_treasure_hunting", {"T": 2}, "T must equal len"),
    ],
)
def test_knobs_that_an_environment_refuses(key, knobs, message):
    with pytest.raises(UserError, match=message):
        make(key, **knobs)


def test_without_mfglib_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mfglib.env", None)
    with pytest.raises(
        UserError, match=r"env_args.key=left_right: MFGLib is not installed .*mf-pmd\[mfglib\]"
    ):
        make("left_right")


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UserError, match="did you mean beach_bar"):
        make("beach_bra")
    with pytest.raises(UserError, match="--env-config=mfglib"):
        games.make("beach_bar", n_agents=3, population="all", knobs={}, horizon=3)


def test_the_command_tells_the_scale_and_refuses_wrong_knobs(tmp_path, capfd):
    words = ["t_max=60", "test_nepisode=4", "use_cuda=False", "seed=1", f"local_results_path={tmp_path}"]
    command = ["train", "--config=mf_pmd_tabular", "--env-config=mfglib", "with", "env_args.n_agents=30"]
    assert cli.main([*command, "env_args.key=beach_bar", "env_args.knobs.T=1", *words]) == 0
    told = capfd.readouterr()
    assert "rewards are 0.0207" in told.out + told.err
    assert list(tmp_path.glob("sacred/mf_pmd_tabular/beach_bar/1/metrics.json"))
    assert cli.main([*command, "env_args.key=left_right", "env_args.knobs.T=1", *words]) == 2
    assert "left_right has no such knob, it has mu0" in capfd.readouterr().err
    assert cli.main([*command, "env_args.knobs.bar_lok=1", *words]) == 2
    assert "did you mean env_args.knobs.bar_loc?" in capfd.readouterr().err
