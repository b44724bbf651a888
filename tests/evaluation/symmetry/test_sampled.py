"""Sampled kernels: below the truth, near it on our games, and called lower bounds."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.evaluation.symmetry.climb import climb, highest
from mf_pmd.evaluation.symmetry.enumerated import enumerated_symmetry
from mf_pmd.evaluation.symmetry.record import CONSTANTS, ESTIMATE, LOWER
from mf_pmd.evaluation.symmetry.sampled import sampled_symmetry
from mf_pmd.games import PopulationGame, TableGame
from mf_pmd.games.joint_kernels import TableKernels

KEYS = ["a_sis", "a_rps", "a_beach"]


@pytest.mark.parametrize("n_agents", [5, 1000])
@pytest.mark.parametrize("key", KEYS)
def test_they_come_near_the_closed_form_from_below(make_game, key, n_agents):
    game = make_game(key, n_agents=n_agents)
    found = sampled_symmetry(game, n_populations=12)
    for name in CONSTANTS:
        seen, true = getattr(found, name), getattr(game.constants, name)
        assert seen.kind == LOWER
        assert seen.value <= true + 1e-9
        if name != "lipschitz_population":
            assert seen.value >= 0.99 * true
    assert found.monotone is game.constants.monotone
    assert "12 populations" in found.looked_at


@pytest.mark.parametrize("key", KEYS)
def test_an_agent_that_counts_itself_in(make_game, key):
    game = make_game(key, n_agents=4, population="all", **({"n_sites": 3} if key == "a_beach" else {}))
    for induced in (None, game.mean_field_model()):
        seen = sampled_symmetry(game, n_populations=12, induced=induced)
        exact = enumerated_symmetry(game, induced=induced)
        for name in CONSTANTS:
            assert getattr(seen, name).value <= getattr(exact, name).value + 1e-9
        assert seen.alpha.value >= 0.99 * exact.alpha.value
        assert seen.beta.value >= 0.99 * exact.beta.value


class Single(TableGame):
    """The same law as its other self, in single precision."""

    def __init__(self, n_agents=50):
        law = torch.tensor([0.5, 0.5])
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=2, initial_law=law)

    def transition_table(self, mu, personal):
        out = 0.1 + 0.7 * mu.float()[..., 1, :].sum(-1) + 0.05 * personal.float()
        out = out.double()[..., None, None].expand(*out.shape, 2, 2)
        return torch.stack([1 - out, out], -1)

    def reward_table(self, mu, personal):
        return (1 - mu.float() / 3).double() + 0 * personal[..., None, None]


def test_rounding_makes_no_slopes():
    seen = sampled_symmetry(Single(), n_populations=12)
    assert 0.69 < seen.lipschitz_transition.value <= 0.7
    assert 0.16 < seen.lipschitz_reward.value <= 1 / 6
    corners = enumerated_symmetry(Single(5))
    assert corners.lipschitz_transition[:2] == (pytest.approx(0.7, abs=1e-6), ESTIMATE)
    assert corners.lipschitz_reward[:2] == (pytest.approx(1 / 6, abs=1e-6), ESTIMATE)


class Peak(TableGame):
    """Agents differ only where about 7 of 10 others are in one particular cell, far from all corners."""

    def __init__(self, n_agents=101):
        law = torch.tensor([0.5, 0.5])
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=2, initial_law=law)

    def transition_table(self, mu, personal):
        close = torch.clamp(1 - 2 * (mu[..., 1, 0] - 0.7).abs(), min=0.0)
        near = close * torch.clamp(1 - mu[..., 0, 1], min=0.0)
        out = 0.5 + 0.4 * personal * near**4
        out = out[..., None, None].expand(*out.shape, 2, 2)
        return torch.stack([1 - out, out], -1)

    def reward_table(self, mu, personal):
        return 0.5 + 0 * mu + 0 * personal[..., None, None]


def test_climbing_finds_what_lies_between_the_samples():
    game = Peak()
    seen = sampled_symmetry(game, n_populations=6)
    assert 0.75 < seen.alpha.value <= 0.8 + 1e-9  # .8 where 70 of 100 are in cell 2, the rest not in cell 1
    assert "in cell 2" in seen.alpha.where


def test_climbing_stops_at_the_top():
    def hill(x):
        return -((x[:, 0] - 0.6) ** 2)

    points = torch.linspace(0, 1, 5).double().unsqueeze(1)
    start = highest(hill(points), points)
    assert start.point.item() == 0.5
    peak = climb(hill, start, lambda x: x + torch.tensor([[-0.1], [0.1], [0.05]]).double())
    assert peak.value == pytest.approx(0.0, abs=1e-12)
    assert peak.point.item() == pytest.approx(0.6)


def test_the_seed_alone_decides(make_game):
    game, before = make_game("a_rps", n_agents=7), torch.get_rng_state()
    first, again, other = (sampled_symmetry(game, n_populations=5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.looked_at == other.looked_at
    assert torch.equal(torch.get_rng_state(), before)


def test_half_the_distance_of_two_agents_is_a_lower_bound(ring_of_neighbours):
    ring = ring_of_neighbours(6)
    seen, exact = sampled_symmetry(ring, n_populations=20), enumerated_symmetry(ring)
    assert 0.5 * exact.alpha.value <= seen.alpha.value <= exact.alpha.value + 1e-9
    assert seen.alpha.kind == seen.beta.kind == LOWER
    assert seen.lipschitz_transition.kind == ESTIMATE
    assert seen.lipschitz_transition.value == pytest.approx(0.9, rel=0.35)
    assert seen.monotone is None


def test_of_two_equal_halves_it_is_the_constant_itself(make_game):
    game = make_game("a_sis", n_agents=12)
    seen = sampled_symmetry(TableKernels(game), n_populations=12)
    assert seen.alpha.value == pytest.approx(game.constants.alpha, abs=1e-9)
    assert seen.beta.value == pytest.approx(game.constants.beta, abs=1e-9)
    assert seen.lipschitz_transition.value == pytest.approx(0.81, abs=1e-6)


def test_a_ring_too_large_to_enumerate(ring_of_neighbours):
    seen = sampled_symmetry(ring_of_neighbours(300), n_populations=10)
    assert 0.4 < seen.alpha.value <= 1.8
    assert seen.looked_at.startswith("16 of 300 agents in all 4 cells at 10 populations")


def test_refusals(make_game):
    game = make_game("a_sis", n_agents=3)
    with pytest.raises(UserError, match="n_populations=2: at least 3"):
        sampled_symmetry(game, n_populations=2)

    class Bare(type(game)):
        transition_table = PopulationGame.transition_table

    game.__class__ = Bare
    with pytest.raises(UserError, match="A game without tables"):
        sampled_symmetry(game)
