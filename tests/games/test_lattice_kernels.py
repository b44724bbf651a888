"""Games on the lattice: by tables, by calling kernels, by brute force in plain Python."""

import itertools

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.functional.lattice import lattice_index
from mf_pmd.games.base import PopulationGame
from mf_pmd.games.induced import induced_game
from mf_pmd.games.joint_kernels import JointKernels, TableKernels
from mf_pmd.games.lattice_kernels import Farthest, counted, joint_lattice, table_lattice

SMALL = [("a_sis", {}), ("a_rps", {}), ("a_beach", {"n_sites": 3})]
SIZES = [(key, changes, population) for key, changes in SMALL for population in ("others", "all")]


@pytest.mark.parametrize(("key", "changes", "population"), SIZES)
@pytest.mark.parametrize("n_agents", [2, 3])
def test_tables_and_calls_agree(make_game, key, changes, population, n_agents):
    game = make_game(key, n_agents=n_agents, population=population, **changes)
    tables, called = table_lattice(game), joint_lattice(TableKernels(game))
    assert torch.equal(tables.counts, called.counts)
    assert torch.allclose(tables.laws, called.laws, atol=1e-12)
    assert torch.allclose(tables.rewards, called.rewards, atol=1e-12)
    assert tables.alpha.value == pytest.approx(called.alpha.value, abs=1e-12)
    assert tables.beta.value == pytest.approx(called.beta.value, abs=1e-12)


@pytest.mark.parametrize(("key", "changes"), SMALL)
def test_against_the_definition(make_game, kernel_of, key, changes):
    """Mean over agents and all orders of the others, from the games in plain Python."""
    n_agents = 3
    game = make_game(key, n_agents=n_agents, **changes)
    found, kernel = table_lattice(game), kernel_of(game)
    cells = list(itertools.product(range(game.n_states), range(game.n_actions)))
    for k, counts in enumerate(found.counts.tolist()):
        others = [cell for cell, n in zip(cells, counts, strict=True) for _ in range(n)]
        for c, (s, a) in enumerate(cells):
            told = [kernel(u, s, a, others) for u in game.personal.tolist()]
            law = torch.tensor([law for law, _ in told]).double().mean(0)
            assert torch.allclose(found.laws[k, c], law, atol=1e-6)
            reward = sum(reward for _, reward in told) / n_agents
            assert found.rewards[k, c].item() == pytest.approx(reward, abs=1e-6)


@pytest.mark.parametrize("n_agents", [3, 4, 5])
def test_the_ring_induces_its_closed_form(ring_of_neighbours, n_agents):
    found = joint_lattice(ring_of_neighbours(n_agents))
    ill = found.counts[:, 2:].sum(1).double()
    assert torch.allclose(found.laws[:, 0, 1], 0.9 * ill / (n_agents - 1), atol=1e-12)
    n = n_agents - 1
    worst = max(
        2 * abs(0.45 * k - 0.9 * m / n)
        for m in range(n + 1)
        for k in range(max(0, m - (n - 2)), min(2, m) + 1)
    )
    assert found.alpha.value == pytest.approx(worst, abs=1e-12)
    assert (worst > 0) == (n_agents > 3)
    assert found.beta.value < 1e-15


def test_the_farthest_agent_is_as_far_as_told(ring_of_neighbours):
    ring = ring_of_neighbours(5)
    found = joint_lattice(ring)
    agent, cell, others = found.alpha.agent, found.alpha.cell, torch.tensor(found.alpha.others)
    own = ring.transition(agent, cell // 2, cell % 2, others.unsqueeze(0))[0]
    row = lattice_index(torch.bincount(others, minlength=4))
    assert (own - found.laws[row, cell]).abs().sum().item() == pytest.approx(found.alpha.value)
    one_by_one = f"agent {agent} in s = 0, a = 0, others in cells {others.tolist()}"
    assert found.alpha.told(2, in_order=True) == one_by_one


def test_a_crowd_is_told_by_its_counts():
    """Not by a list of 999 cells."""
    crowd = Farthest(0.5, 7, 3, (0,) * 600 + (2,) * 398 + (3,))
    assert crowd.told(2, in_order=False) == (
        "agent 7 in s = 1, a = 1, others 600 in cell 0, 398 in cell 2, 1 in cell 3"
    )
    assert (
        counted(torch.tensor([1, 9, 0, 4, 3, 2])) == "9 in cell 1, 4 in cell 3, 3 in cell 4, 2 in cell 5, ..."
    )


def test_drawn_arrangements_estimate_the_same(ring_of_neighbours):
    ring = ring_of_neighbours(5)
    exact = joint_lattice(ring)
    drawn = joint_lattice(ring, n_arrangements_drawn=200, seed=3)
    moving = drawn.law_error[:, 0, 1] > 0
    z = ((drawn.laws - exact.laws)[:, 0, 1] / drawn.law_error[:, 0, 1])[moving]
    assert moving.sum() >= 20
    assert z.abs().max() < 4.5
    assert torch.allclose(drawn.laws.sum(-1), torch.ones(drawn.laws.shape[:2]).double())
    assert torch.allclose(drawn.laws[:, 1:], exact.laws[:, 1:], atol=1e-12)
    assert (drawn.alpha, drawn.beta) == (None, None)
    again = joint_lattice(ring, n_arrangements_drawn=200, seed=3)
    assert torch.equal(again.laws, drawn.laws)
    assert not torch.equal(joint_lattice(ring, n_arrangements_drawn=200, seed=4).laws, drawn.laws)


def test_distances_to_another_model(make_game):
    game = make_game("a_sis", n_agents=4, eps_recovery=2.0)  # an agent with u = -1 never recovers
    itself = table_lattice(game).alpha
    declared = table_lattice(game, induced=game.mean_field_model()).alpha
    assert itself.value == pytest.approx(0.9)  # .9 and 0 around their mean
    assert declared.value == pytest.approx(game.constants.alpha) == pytest.approx(1.2)
    called = joint_lattice(TableKernels(game), induced=game.mean_field_model()).alpha
    assert called.value == pytest.approx(declared.value)


@pytest.mark.parametrize("n_agents", [20, 1000, 10**6])
def test_too_much_is_refused_in_one_line(make_game, ring_of_neighbours, n_agents):
    with pytest.raises(UserError, match=rf"N = {n_agents}, S = 10, A = 3: .* at most 30,000,000"):
        table_lattice(make_game("a_beach", n_agents=n_agents))
    with pytest.raises(UserError, match=rf"N = {n_agents}, S = 2, A = 2: .*take fewer agents") as refused:
        joint_lattice(ring_of_neighbours(n_agents))
    assert "\n" not in str(refused.value)


def test_the_count_in_the_refusal_is_what_is_asked_for(make_game):
    game = make_game("a_sis", n_agents=4)
    table_lattice(game, most=2 * 20 * 4 * 2)
    with pytest.raises(UserError, match="takes 320 probabilities, at most 319"):
        table_lattice(game, most=319)


def test_one_arrangement_has_no_error(ring_of_neighbours):
    with pytest.raises(UserError, match="n_arrangements_drawn=1: at least 2"):
        joint_lattice(ring_of_neighbours(4), n_arrangements_drawn=1)


def broken(ring_of_neighbours, method, change):
    class Broken(ring_of_neighbours):
        pass

    def changed(self, i, s, a, others):
        found = getattr(ring_of_neighbours, method)(self, i, s, a, others)
        return change(found) if (i, s, a) == (2, 1, 0) else found

    setattr(Broken, method, changed)
    return Broken(4)


@pytest.mark.parametrize(
    ("method", "change", "said"),
    [
        ("transition", lambda law: 0.5 * law, r"transition of agent 2 in s = 1, a = 0, .* its sum 0.5;"),
        ("transition", lambda law: law * torch.tensor([-1.0, 13 / 7]), "its sum 1; probabilities must be"),
        ("transition", lambda law: law / 0, "agent 2 in s = 1, a = 0"),
        ("transition", lambda law: law[..., 0], r"has shape \[64\] for 64 tuples .* must be \[64, 2\]"),
        ("reward", lambda reward: reward + 0.7, "reward of agent 2 in s = 1, a = 0, .* is 1.1; rewards must"),
        ("reward", lambda reward: reward * torch.nan, "reward of agent 2 in s = 1, a = 0"),
    ],
)
def test_a_kernel_that_is_none_is_named(ring_of_neighbours, method, change, said):
    kernels = broken(ring_of_neighbours, method, change)
    with pytest.raises(UserError, match=said) as refused:
        joint_lattice(kernels)
    assert "\n" not in str(refused.value)


def test_rounding_to_float32_is_no_mistake(ring_of_neighbours):
    kernels = broken(ring_of_neighbours, "transition", lambda law: law.float() / 3 * 3)
    assert isinstance(kernels, JointKernels)
    joint_lattice(kernels)


def test_a_game_without_tables_has_no_kernels_to_call(make_game):
    class Bare(type(make_game("a_sis", n_agents=3))):
        transition_table = PopulationGame.transition_table

    game = make_game("a_sis", n_agents=3)
    game.__class__ = Bare
    for refused in (TableKernels, table_lattice, induced_game):
        with pytest.raises(UserError, match=r"^A game without tables cannot be asked for its kernels"):
            refused(game)
