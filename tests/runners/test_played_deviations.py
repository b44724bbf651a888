"""Deviations played in the simulator: who deviates, in which episodes, and a bound that holds."""

from pathlib import Path

import pytest
import torch
import yaml

from mf_pmd import cli
from mf_pmd.errors import UserError
from mf_pmd.functional.best_response import best_response
from mf_pmd.runners.deviations import Gains
from mf_pmd.runners.played_cells import PlayedCells
from mf_pmd.runners.played_deviations import Deviators, draw_deviators, played_scores


@pytest.fixture
def gains():
    """Of two types in 4 episodes; the first deviates to action 0 everywhere, the second to 1."""
    actions = torch.stack([torch.zeros(3, 2, dtype=torch.long), torch.ones(3, 2, dtype=torch.long)])
    half = torch.full((2,), 0.5).double()
    return Gains(torch.zeros(4, 2).double(), torch.ones(2).double(), half, actions)


def test_deviators_do_their_own_thing_and_the_others_theirs():
    actions = torch.tensor([[[0, 1], [2, 3]], [[4, 5], [6, 7]]])  # [B, H, S]
    deviators = Deviators(torch.tensor([2, 0]), actions)
    states = torch.tensor([[0, 0, 1], [1, 0, 0]])
    chosen = torch.full((2, 3), 9)
    assert deviators.replace(0, states, chosen).tolist() == [[9, 9, 1], [5, 9, 9]]
    assert deviators.replace(1, states, chosen).tolist() == [[9, 9, 3], [7, 9, 9]]
    assert chosen.tolist() == [[9, 9, 9], [9, 9, 9]]
    assert deviators.own(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).tolist() == [3.0, 4.0]


def test_deviators_are_drawn_from_all_agents_or_from_one_type(make_game, gains):
    game = make_game("a_sis", n_agents=5, horizon=3)  # u = 1, 1, -1, -1, 0
    game.personal = torch.tensor([-1.0, 1.0, 1.0, -1.0, 1.0])
    played = PlayedCells(game, individual=False, n_episodes=4)
    torch.manual_seed(0)
    anyone = draw_deviators(played, gains, batch_size=5000)
    share = torch.bincount(anyone.agents, minlength=5) / 5000
    assert torch.allclose(share, torch.full((5,), 0.2), atol=0.03)
    assert torch.equal(anyone.actions[:, 0, 0], (game.personal[anyone.agents] > 0).long())
    assert set(draw_deviators(played, gains, batch_size=99, unit=0).agents.tolist()) == {0, 3}
    assert set(draw_deviators(played, gains, batch_size=99, unit=1).agents.tolist()) == {1, 2, 4}


def test_agents_with_policies_of_their_own_deviate_by_their_own_deviation(make_game):
    played = PlayedCells(make_game("a_sis", n_agents=4, horizon=3), individual=True, n_episodes=4)
    actions = torch.arange(4)[:, None, None].expand(4, 3, 2)
    gains = Gains(torch.zeros(4, 4).double(), torch.ones(4).double(), torch.full((4,), 0.25), actions)
    found = draw_deviators(played, gains, batch_size=50)
    assert torch.equal(found.actions[:, 1, 1], found.agents)
    assert draw_deviators(played, gains, batch_size=50, unit=2).agents.tolist() == [2] * 50


def test_the_bound_by_hand():
    scores = played_scores({"mean": torch.tensor([1.0, 3.0]), "max": torch.tensor([2.0, 2.0])})
    assert scores == {
        "exploitability_mean_played": 2.0,
        "exploitability_mean_played_lower": pytest.approx(2.0 - 2.24 * 2**0.5 / 2**0.5),
        "exploitability_max_played": 2.0,
        "exploitability_max_played_lower": 2.0,
    }


def env_args_of(key, **changes):
    file = Path(cli.__file__).parent / "config" / "envs" / f"{key}.yaml"
    return {**yaml.safe_load(file.read_text(encoding="utf-8"))["env_args"], **changes}


@pytest.mark.parametrize("own_flows", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_what_is_played_bounds_the_truth_from_below(
    make_game, scripted, enumeration, monkeypatch, shared, own_flows
):
    monkeypatch.setattr("mf_pmd.runners.played_cells.OWN_FLOWS", 10**9 if own_flows else 0)
    env_args = env_args_of("a_sis", n_agents=4, horizon=3)
    joint = enumeration.JointGame(make_game("a_sis", n_agents=4, horizon=3))
    draws = torch.randn(1 if shared else 4, 3, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    profile = torch.softmax(2 * draws, -1).expand(4, -1, -1, -1)
    exact = [joint.exploitability(profile, i) for i in range(4)]
    below, estimates = 0, []
    for seed in range(8):
        found = scripted.score_profile(
            profile, env_args, seed=seed, n_episodes=200, shares_policy=shared, played="always"
        )
        below += found["test_exploitability_mean_played_lower"] <= sum(exact) / 4
        below += found["test_exploitability_max_played_lower"] <= max(exact)
        estimates.append(found["test_exploitability_mean_played"])
    assert below >= 15
    # the deviations are good ones, so that what they gain is nearly all there is
    assert sum(estimates) / 8 == pytest.approx(sum(exact) / 4, abs=0.08)


def test_who_already_plays_the_best_gains_exactly_nothing(make_game, scripted):
    # no one minds the crowd, so that the best response is known; the pairs share every draw
    env_args = env_args_of("a_beach", n_agents=6, horizon=4, n_sites=5, c3=0.0, eps=0.0)
    game = make_game("a_beach", n_agents=6, horizon=4, n_sites=5, c3=0.0, eps=0.0)
    mu, zero = torch.full((5, 3), 1 / 15).double(), torch.zeros(()).double()
    tables = [
        table(mu, zero).expand(4, *shape)
        for table, shape in zip((game.transition_table, game.reward_table), ((5, 3, 5), (5, 3)), strict=True)
    ]
    best = torch.nn.functional.one_hot(best_response(*tables).actions, 3).double()
    profile = best.expand(6, -1, -1, -1)
    found = scripted.score_profile(
        profile, env_args, seed=0, n_episodes=50, shares_policy=True, played="always"
    )
    for name in ("mean", "max"):
        assert found[f"test_exploitability_{name}_played"] == 0.0
        assert found[f"test_exploitability_{name}_played_lower"] == 0.0
    worse = profile.flip(-1)
    found = scripted.score_profile(
        worse, env_args, seed=0, n_episodes=50, shares_policy=True, played="always"
    )
    assert found["test_exploitability_mean_played_lower"] > 0.2


@pytest.mark.parametrize(
    ("when", "t_max", "played"),
    [("never", 20, []), ("last", 20, [20]), ("always", 20, [0, 10, 20]), ("last", 30, [])],
)
def test_when_deviations_are_played(build, recording_logger, when, t_max, played):
    words = ["env_args.n_agents=6", "env_args.horizon=1", "test_nepisode=10", f"population.played={when}"]
    pieces = build("mf_pmd_tabular", "a_sis", *words, f"t_max={t_max}", logger=recording_logger)
    for t in (0, 10, 20):
        pieces.runner.run(test_mode=True)
        if t < 20:
            pieces.runner.run(test_mode=False)
    logged = [t for t, _ in recording_logger.series.get("test_exploitability_max_played", [])]
    assert logged == played


def test_an_unknown_moment_is_refused(build):
    with pytest.raises(UserError, match=r"population\.played=sometimes: not one of last, always, never"):
        build("mf_pmd_tabular", "a_sis", "population.played=sometimes")


def test_playing_deviations_changes_no_training(build):
    kept = []
    for when in ("never", "always"):
        words = ["env_args.n_agents=6", "env_args.horizon=3", f"population.played={when}"]
        runner = build("mf_pmd_tabular", "a_sis", *words).runner
        torch.manual_seed(0)
        for _ in range(4):
            runner.run(test_mode=True)
        kept.append(runner.run(test_mode=False)["actions"])
    assert torch.equal(*kept)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("p", range(6))
def test_intervals_and_bounds_hold_in_nine_of_ten(make_game, scripted, enumeration, shared, p):
    # policy 0 is the uniform one; the interval is widened by what docs/exploitability.md states, H / (2 N)
    env_args = env_args_of("a_sis", n_agents=4, horizon=3)
    joint = enumeration.JointGame(make_game("a_sis", n_agents=4, horizon=3))
    draws = torch.randn(1 if shared else 4, 3, 2, 2, generator=torch.Generator().manual_seed(p)).double()
    profile = torch.softmax(2 * draws * (p > 0), -1).expand(4, -1, -1, -1)
    exact = [joint.exploitability(profile, i) for i in range(4)]
    covered = dict.fromkeys(("mean", "max", "mean_played", "max_played"), 0)
    for seed in range(20):
        found = scripted.score_profile(
            profile, env_args, seed=seed, n_episodes=400, shares_policy=shared, played="always"
        )
        for name, truth in (("mean", sum(exact) / 4), ("max", max(exact))):
            lower, upper = (found[f"test_exploitability_{name}_{end}"] for end in ("lower", "upper"))
            covered[name] += lower - 3 / 8 <= truth <= upper + 3 / 8
            covered[f"{name}_played"] += found[f"test_exploitability_{name}_played_lower"] <= truth
    assert min(covered.values()) >= 18
