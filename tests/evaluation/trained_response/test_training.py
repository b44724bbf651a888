"""Deviators among frozen others: who they are, where they start, and a best response that is known."""

from dataclasses import replace

import pytest
import torch

from mf_pmd.evaluation.checkpoint import LearntPolicy
from mf_pmd.evaluation.playing import play
from mf_pmd.evaluation.trained_response import training_settings
from mf_pmd.evaluation.trained_response.deviators import Deviators, n_inputs, see
from mf_pmd.evaluation.trained_response.episodes import frozen_policy, play_deviating
from mf_pmd.evaluation.trained_response.measuring import measure, returns_of
from mf_pmd.evaluation.trained_response.plan import plan_of
from mf_pmd.evaluation.trained_response.training import gains_by_type, over_types, train_response
from mf_pmd.evaluation.trained_response.types import draw_distinct, draw_one, types_of
from mf_pmd.games import Game
from mf_pmd.runners.seeding import isolated_randomness

BEST = {"u = +1": 0.4, "u = -1": 0.3}  # a step, of the game of wages
OWN = {"sees_population": False}
UNIFORM = {"start": "uniform", "floor": 0.0, **OWN}


def test_the_best_response_of_a_known_game_is_found(wages, small_settings):
    game = wages()
    types, frozen = types_of(game), frozen_policy(None, game, **UNIFORM)
    response = train_response(game, frozen, types, small_settings, seed=3)
    assert response.curve.gain[-1] > 0.8 * 2 * 0.35
    assert response.curve.gain[0] < 0.2
    gains = measure(game, frozen, response, types, n_episodes=4000, seed=3)
    for name, found in zip(types.names, gains.types, strict=True):
        assert found.lower <= 2 * BEST[name] <= found.upper
        assert found.upper - found.lower < 0.1
    assert gains.mean.lower <= 0.7 <= gains.mean.upper
    assert types.names[gains.worst] == "u = +1"


def test_same_seed_same_deviators_whatever_else_is_drawn(wages, small_settings):
    found = []
    for seed, others in ((1, 1), (1, 2), (2, 1)):
        game = wages()
        torch.manual_seed(others)
        game.reset(others)
        types, frozen = types_of(game), frozen_policy(None, game, **UNIFORM)
        response = train_response(game, frozen, types, small_settings, seed=seed)
        found.append((response.curve.gain, measure(game, frozen, response, types, n_episodes=20, seed=seed)))
    assert found[0] == found[1] != found[2]


def test_a_deviator_disturbs_no_streams_of_the_others(wages):
    """Where nobody meets anybody the others' returns are the same to the last bit."""
    game = wages(n_agents=6, horizon=5)
    frozen = frozen_policy(None, game, **UNIFORM)
    torch.manual_seed(0)
    deviators = Deviators(game, hidden_dim=4, **OWN)
    who = torch.tensor([[0], [3], [5]])
    for greedy in (False, True):
        with isolated_randomness(game, (7,)):
            without = returns_of(game, frozen.choose, 3)
        with isolated_randomness(game, (7,)):
            _, returns = play_deviating(game, frozen, deviators, who, greedy=greedy)
        others = torch.ones(3, 6, dtype=torch.bool).scatter(1, who, False)
        assert torch.equal(returns[others], without[others])
        assert not torch.equal(returns, without)


def test_steps_that_are_kept_are_those_that_were_played(wages):
    game = wages(n_agents=6, horizon=5)
    frozen = frozen_policy(None, game, **UNIFORM)
    who = torch.tensor([[0, 4], [3, 2]])
    steps, returns = play_deviating(game, frozen, Deviators(game, hidden_dim=4, **OWN), who, keep=True)
    assert steps.inputs.shape == (2, 5, 2, n_inputs(game, **OWN))
    assert steps.start.shape == (2, 5, 2, 3)
    assert torch.allclose(steps.rewards.sum(1).double(), returns.gather(1, who))
    pay = game.pay[who].unsqueeze(1).expand(-1, 5, -1, -1).gather(3, steps.actions.unsqueeze(-1)).squeeze(-1)
    assert torch.equal(pay, steps.rewards)
    assert torch.allclose(steps.log_probs, torch.full((2, 5, 2), 1 / 3).log())  # the network starts at 0


@pytest.mark.parametrize(("start", "first"), [("frozen", 0.9 * 0.8 + 0.1 / 2), ("uniform", 0.5)])
def test_deviators_start_where_they_are_told(make_game, start, first):
    game = make_game("a_sis", n_agents=6, horizon=3)
    table = torch.tensor([0.8, 0.2]).expand(3, 2, 2)
    policy = LearntPolicy("last", table, horizon=3, n_states=2, n_actions=2)
    frozen = frozen_policy(policy, game, start=start, floor=0.1, **OWN)
    states, who = game.reset(4), torch.tensor([[1, 2, 5]]).expand(4, -1)
    inputs = see(game, 1, states, who, **OWN)
    found = Deviators(game, hidden_dim=4, **OWN).log_policy(inputs, frozen.start(1, states, who)).exp()
    assert torch.allclose(found, torch.tensor([first, 1 - first]).expand(4, 3, 2), atol=1e-6)


def test_private_policies_start_at_those_of_the_deviators(make_game, random_policy):
    game = make_game("a_sis", n_agents=4, horizon=3)
    tables = torch.stack([random_policy(seed, 3, 2, 2) for seed in range(4)]).float()
    sizes = {"horizon": 3, "n_states": 2, "n_actions": 2}
    policy = LearntPolicy("last", tables.mean(0), private_tables=tables, **sizes)
    states, who = game.reset(5), torch.tensor([[3, 1]]).expand(5, -1)
    found = frozen_policy(policy, game, start="frozen", floor=0.0, **OWN).start(2, states, who).exp()
    for b in range(5):
        for k, agent in enumerate((3, 1)):
            assert torch.allclose(found[b, k], tables[agent, 2, states[b, agent]])


def test_what_deviators_see(wages):
    game = wages(n_agents=4)
    states = torch.tensor([[0, 1, 1, 1]])
    who = torch.tensor([[1, 3]])
    own, more = (see(game, 1, states, who, sees_population=sight)[0] for sight in (False, True))
    assert own.shape == (2, n_inputs(game, sees_population=False))
    assert more.shape == (2, n_inputs(game, sees_population=True))
    assert more[:, 2:4].tolist() == [[0.5, 1.5]] * 2  # shares of the places, 1 is the even one
    assert torch.equal(more[:, [0, 1, *range(4, more.shape[1])]], own)
    assert own[:, 0].tolist() == [1, 1]  # the own place
    assert own[:, -1].tolist() == [1, -1]  # who they are


def test_types(wages, make_game):
    types = types_of(wages(n_agents=5))
    assert types.names == ("u = -1", "u = 0", "u = +1")
    assert types.shares.tolist() == [0.4, 0.2, 0.4]
    assert types.members(1).tolist() == [4]
    game = make_game("a_sis", n_agents=40)
    game.personal = torch.linspace(-1, 1, 40)
    many = types_of(game)
    assert (many.names, many.shares.tolist()) == (("all agents",), [1.0])
    assert many.members(0).tolist() == list(range(40))


def test_draws_are_different_agents_all_alike_likely(assert_laws):
    torch.manual_seed(0)
    drawn = draw_distinct(3000, 5, 2, device=torch.device("cpu"))
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert_laws(drawn.flatten().bincount(minlength=5), torch.full((5,), 0.2))
    members = torch.tensor([2, 7, 8])
    one = draw_one(members, 3000)
    assert one.shape == (3000, 1)
    assert_laws(one.flatten().bincount(minlength=9)[members], torch.full((3,), 1 / 3))


def test_gains_of_deviators_in_training(wages):
    types = types_of(wages(n_agents=4))  # u = -1: agents 2 and 3
    returns = torch.tensor([[5.0, 1.0, 2.0, 4.0], [1.0, 3.0, 2.0, 9.0]], dtype=torch.float64)
    got, gains = gains_by_type(types, returns, torch.tensor([[0], [3]]))
    assert got.tolist() == [9.0, 5.0]
    assert gains.tolist() == [9 - (2 + 4 + 2) / 3, 5 - (1 + 1 + 3) / 3]
    assert over_types(types, gains) == pytest.approx(gains.mean().item())
    assert over_types(types, torch.tensor([torch.nan, 2.0])) == 2
    got, gains = gains_by_type(types, returns, torch.tensor([[0], [1]]))
    assert got[0].isnan()
    assert gains[0].isnan()


def test_a_plan_keeps_to_its_share_and_its_budget(make_game, small_settings):
    game = make_game("a_sis", n_agents=500, horizon=20)
    plan = plan_of(game, training_settings())
    assert plan.k == 10
    steps = plan.batch_size * plan.k * 20
    assert 4096 < steps <= 8192
    assert plan.n_batches * steps <= training_settings().budget < (plan.n_batches + 1) * steps
    assert plan_of(make_game("a_sis", n_agents=4, horizon=3), small_settings).k == 1
    long = replace(small_settings, budget=5120)
    assert plan_of(make_game("a_sis", n_agents=500, horizon=300), long).n_batches == 10  # or no curve is read


def test_the_frozen_play_on_as_they_do(make_game, random_policy):
    """Everyone acts by the policy: the law of the others' actions is that of a play without deviators."""
    game: Game = make_game("a_sis", n_agents=50, horizon=3)
    table = random_policy(1, 3, 2, 2).float()
    policy = LearntPolicy("last", table, horizon=3, n_states=2, n_actions=2)
    frozen = frozen_policy(policy, game, start="frozen", floor=0.05, **OWN)
    for step in play(game, frozen.choose, batch_size=400):
        for s in range(2):
            share = (step.actions[step.states == s] == 1).double().mean()
            assert share == pytest.approx(table[step.h, s, 1].item(), abs=0.03)
