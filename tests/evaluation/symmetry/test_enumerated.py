"""Enumeration against closed forms, against slopes that were seen, and honest about what it is."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.evaluation.symmetry.enumerated import enumerated_symmetry
from mf_pmd.evaluation.symmetry.record import CONSTANTS, ESTIMATE, EXACT, LOWER, UPPER, Constant
from mf_pmd.evaluation.symmetry.worst import worst_of
from mf_pmd.functional.populations import spread_populations
from mf_pmd.games import TableGame
from mf_pmd.games.induced import induced_game
from mf_pmd.games.joint_kernels import TableKernels

VARIANTS = [
    ("a_sis", {}),
    ("a_sis", {"eps": 0.2, "eps_beta": 1.0}),
    ("a_sis", {"eps": 0.01, "eps_recovery": 0.8}),
    ("a_rps", {}),
    ("a_rps", {"eps": 3.0}),
    ("a_beach", {"n_sites": 3}),
    ("a_beach", {"n_sites": 4, "eps": 0.3, "noise": 0.3, "c1": 0.2, "c3": 0.5, "eps_beta": 0.4}),
]


def exact(found):
    return all(getattr(found, name).kind == EXACT for name in CONSTANTS)


@pytest.mark.parametrize("n_agents", [2, 3, 4])
@pytest.mark.parametrize(("key", "changes"), VARIANTS)
def test_it_finds_the_closed_form(make_game, key, changes, n_agents):
    game = make_game(key, n_agents=n_agents, **changes)
    found, declared = enumerated_symmetry(game), game.constants
    assert exact(found)
    for name in CONSTANTS[:4]:
        assert getattr(found, name).value == pytest.approx(getattr(declared, name), abs=1e-9)
    assert found.lipschitz_population.value <= declared.lipschitz_population + 1e-9
    assert found.monotone is declared.monotone


@pytest.mark.parametrize(
    ("key", "changes", "slope"),
    [
        # nu'(ill) = .81 (mu(0, out)) z + .7 z: steepest where all are about to catch it
        ("a_sis", {}, 1.51),
        ("a_sis", {"eps_recovery": 0.8}, 1.51),
        ("a_rps", {}, 1.0),
        # two laws (.1, .8, .1) on five sites share a tail at least, on ten they need not
        ("a_beach", {"n_sites": 10}, 1.0),
        ("a_beach", {"n_sites": 5}, 0.9),
    ],
)
def test_the_population_slope_is_known_by_hand(make_game, key, changes, slope):
    n_agents = 2 if key == "a_beach" else 3
    found = enumerated_symmetry(make_game(key, n_agents=n_agents, **changes)).lipschitz_population
    assert found.value == pytest.approx(slope, abs=1e-9)
    assert found.kind == EXACT


@pytest.mark.parametrize(("key", "changes"), VARIANTS)
def test_an_agent_that_counts_itself_in(make_game, key, changes):
    game = make_game(key, n_agents=3, population="all", **changes)
    alone = make_game(key, n_agents=3, **changes)
    itself, declared = enumerated_symmetry(game), enumerated_symmetry(game, induced=game.mean_field_model())
    for name in ("alpha", "beta"):
        assert getattr(declared, name).value <= getattr(game.constants, name) + 1e-9
        assert getattr(itself, name).value <= getattr(alone.constants, name) + 1e-9
    # an agent's own third does not move with the others
    thinner = 2 / 3 * game.constants.lipschitz_transition, 2 / 3 * game.constants.lipschitz_reward
    found = itself.lipschitz_transition.value, itself.lipschitz_reward.value
    assert found == pytest.approx(thinner, abs=1e-9)
    assert declared.lipschitz_reward.value == pytest.approx(game.constants.lipschitz_reward, abs=1e-9)


def test_the_declared_reference_is_attained_with_itself_counted_in(make_game):
    # healthy, out, all n = 3 others ill: .81 |(1 - eps) 3/4 - 1| against nu = 1, twice
    found = enumerated_symmetry(
        game := make_game("a_sis", n_agents=4, population="all"), induced=game.mean_field_model()
    )
    assert found.alpha.value == pytest.approx(1.62 * (1 - 0.75 * (1 - 0.062)), abs=1e-7)


def test_where_it_is_met(make_game):
    found = enumerated_symmetry(make_game("a_sis", n_agents=4))
    assert found.alpha.where.startswith("agent ")
    assert "in s = 0, a = 0, others 3 in cell 2" in found.alpha.where
    assert found.looked_at.startswith("2 types of agents in all 4 cells, all 20 populations of 3 others")


class Threshold(TableGame):
    """A jump of the law where more than a share of the others are in state 1: not affine in mu."""

    def __init__(self, n_agents=5, share=0.4):
        self.share = share
        law = torch.tensor([0.5, 0.5])
        super().__init__(n_agents=n_agents, n_states=2, n_actions=1, horizon=2, initial_law=law)

    def transition_table(self, mu, personal):
        crowd = (mu[..., 1, 0] > self.share).to(mu.dtype)
        out = 0.3 + 0.4 * crowd + 0.05 * personal
        out = out[..., None, None].expand(*out.shape, 2, 1)
        return torch.stack([1 - out, out], -1)

    def reward_table(self, mu, personal):
        return 1 - mu**2 + 0 * personal[..., None, None]


def test_slopes_that_are_not_affine_are_lower_bounds():
    found = enumerated_symmetry(Threshold())
    # .4 twice in l1, over the 2 / 4 of one agent's move
    assert found.lipschitz_transition[:2] == (pytest.approx(1.6), LOWER)
    # (1 - 9/16) / (1/2) / 1: the reward of the fullest state
    assert found.lipschitz_reward[:2] == (pytest.approx((1 - 9 / 16) / 0.5), LOWER)
    assert found.lipschitz_population.kind == LOWER
    assert not exact(found)
    assert found.alpha[:2] == (pytest.approx(0.1), EXACT)
    assert found.monotone is False


class Tides(TableGame):
    """Kernels that move more, and agents that differ more, step by step."""

    time_dependent = True

    def __init__(self):
        law = torch.tensor([0.5, 0.5])
        super().__init__(n_agents=4, n_states=2, n_actions=1, horizon=4, initial_law=law)

    def transition_table(self, mu, personal, steps):
        out = 0.2 + 0.1 * steps * mu[..., 1, 0] + 0.05 * steps * personal
        out = out[..., None, None].expand(*out.shape, 2, 1)
        return torch.stack([1 - out, out], -1)

    def reward_table(self, mu, personal, steps):
        stay = 1 - 0.1 * steps + 0 * mu[..., 0, 0] + 0 * personal
        return stay[..., None, None].expand(*stay.shape, 2, 1)


def test_of_steps_that_differ_the_worst_counts():
    found = enumerated_symmetry(Tides())
    assert found.alpha.value == pytest.approx(0.3)
    assert found.alpha.where.startswith("step 3: agent")
    assert found.lipschitz_transition[:2] == (pytest.approx(0.3), ESTIMATE)
    assert found.monotone is False  # step 0 alone would be
    assert found.looked_at.endswith("all 4 steps")


def test_kinds_of_a_maximum():
    one = enumerated_symmetry(Tides())
    low = one._replace(alpha=Constant(0.5, LOWER), beta=Constant(0.0, LOWER), monotone=None)
    high = one._replace(alpha=Constant(0.1, EXACT), beta=Constant(0.2, EXACT), monotone=True)
    worst = worst_of([low, high])
    assert worst.alpha[:2] == (0.5, LOWER)
    assert worst.beta == Constant(0.2, LOWER, "step 1")  # step 0 may be worse than was seen
    assert worst.monotone is None
    upper = worst_of([high._replace(alpha=Constant(0.3, UPPER)), high])
    assert upper.alpha[:2] == (0.3, UPPER)
    assert worst_of([low]) is low
    # neither a lower nor an upper bound: the truth of either step may lie on the other side
    above = high._replace(alpha=Constant(0.3, UPPER))
    for kind in (LOWER, ESTIMATE):
        mixed = worst_of([above, low._replace(alpha=Constant(0.2, kind))])
        assert mixed.alpha[:2] == (0.3, ESTIMATE)
    assert worst_of([high, low._replace(alpha=Constant(0.05, ESTIMATE))]).alpha.kind == ESTIMATE


class Bump(TableGame):
    """Affine wherever one is likely to look: a narrow peak of the reward between."""

    def __init__(self):
        law = torch.tensor([0.5, 0.5])
        super().__init__(n_agents=6, n_states=2, n_actions=1, horizon=2, initial_law=law)

    def transition_table(self, mu, personal):
        return (0 * mu.sum((-1, -2)) + 0 * personal + 0.5)[..., None, None, None].expand(
            *torch.broadcast_shapes(mu.shape[:-2], personal.shape), 2, 1, 2
        )

    def reward_table(self, mu, personal):
        peak = (1 - ((mu[..., 0, 0] - 0.3737) / 0.0005).abs()).clamp(min=0.0) + 0 * personal
        return (0.3 + 0.4 * peak)[..., None, None].expand(*peak.shape, 2, 1)


def test_what_only_looks_affine_certifies_nothing():
    found = enumerated_symmetry(Bump())  # the true L_R is 400
    assert found.lipschitz_reward[:2] == (0.0, ESTIMATE)
    assert found.lipschitz_reward.where == "free of mu as far as seen at 208 populations"
    assert not found.certifies


def test_an_extension_of_monotone_samples_may_not_be(make_game):
    free = TableKernels(make_game("a_beach", n_agents=3, n_sites=3))  # monotone by its tables
    found = enumerated_symmetry(free)
    assert found.monotone is None
    assert found.monotone_note.startswith("on the lattice: at ")
    assert enumerated_symmetry(TableKernels(make_game("a_rps", n_agents=3))).monotone is False


@pytest.mark.parametrize("n_agents", [3, 4, 5])
def test_the_ring(ring_of_neighbours, n_agents):
    found = enumerated_symmetry(ring_of_neighbours(n_agents))
    assert found.alpha[:2] == (pytest.approx({3: 0.0, 4: 0.6, 5: 0.9}[n_agents]), EXACT)
    assert found.beta.value < 1e-15
    assert found.looked_at.endswith("in every arrangement")
    smooth = enumerated_symmetry(
        ring_of_neighbours(n_agents), induced=induced_game(ring_of_neighbours(n_agents), extension="smooth")
    )
    assert {getattr(smooth, name).kind for name in CONSTANTS[2:]} == {ESTIMATE}
    assert smooth.alpha.kind == EXACT
    assert "others in cells [" in smooth.alpha.where or n_agents == 3
    assert smooth.alpha.value == pytest.approx(found.alpha.value)
    assert smooth.lipschitz_transition.value == pytest.approx(0.9)
    assert found.lipschitz_transition.kind == UPPER
    assert found.lipschitz_transition.where == "0.9 on the lattice"
    assert found.lipschitz_transition.value >= 0.9


@pytest.mark.parametrize("key", ["a_sis", "a_rps"])
def test_kirszbraun_extensions_are_no_steeper_than_told(make_game, key):
    kernels = TableKernels(make_game(key, n_agents=3))
    found, induced = enumerated_symmetry(kernels), induced_game(kernels)
    d = kernels.n_cells
    generator = torch.Generator().manual_seed(2)
    mu = spread_populations(40, d, generator=generator)
    there = 0.98 * mu + 0.02 * torch.eye(d, dtype=torch.float64)[torch.randint(d, (40,), generator=generator)]
    far = (mu - there).abs().sum(1)
    cells = kernels.n_states, kernels.n_actions
    (law, reward), (law2, reward2) = (
        (induced.transition(x.unflatten(1, cells)), induced.reward(x.unflatten(1, cells)))
        for x in (mu, there)
    )
    keep = far > 1e-6
    nu, nu2 = (torch.einsum("qc,qcs->qs", x, p.flatten(1, 2)) for x, p in ((mu, law), (there, law2)))
    seen = (
        ((law - law2).abs().sum(-1).amax((1, 2)) / far)[keep].max(),
        ((reward - reward2).abs().amax((1, 2)) / far)[keep].max(),
        ((nu - nu2).abs().sum(1) / far)[keep].max(),
    )
    for slope, name in zip(seen, CONSTANTS[2:], strict=True):
        assert slope <= getattr(found, name).value * (1 + 1e-6) + 1e-9
    declared = kernels.game.constants
    assert found.lipschitz_transition.value >= declared.lipschitz_transition - 1e-9
    assert found.lipschitz_reward.value >= declared.lipschitz_reward - 1e-9


def test_beyond_the_limits(make_game, ring_of_neighbours):
    with pytest.raises(UserError, match=r"N = 1000, S = 2, A = 2: .* at most 30,000,000 are enumerated"):
        enumerated_symmetry(make_game("a_sis"))
    with pytest.raises(UserError, match=r"N = 12, S = 2, A = 2: .* at most"):
        enumerated_symmetry(ring_of_neighbours(12))
    with pytest.raises(UserError, match=r"at most 10 are enumerated"):
        enumerated_symmetry(make_game("a_sis", n_agents=3), most=10)
