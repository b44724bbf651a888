"""Monotone or not: known forms, witnesses, and what cannot be told."""

import pytest
import torch

from mf_pmd.functional.monotonicity import largest_gain, monotonicity
from mf_pmd.functional.populations import moves, round_to_lattice, spread_populations

D = 3


@pytest.fixture
def populations():
    spread = spread_populations(60, D, generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.eye(D, dtype=torch.float64), spread])


def judge(populations, rewards, laws=None):
    free = torch.full((len(populations), D, 2), 0.5, dtype=torch.float64)
    return monotonicity(populations, free if laws is None else laws, rewards)


def test_congestion_is_monotone(populations):
    found = judge(populations, 0.9 - 0.5 * populations)
    assert found.monotone is True
    assert found.note.endswith("at most 0")


def test_company_is_not(populations):
    found = judge(populations, 0.1 + 0.5 * populations)
    assert found.monotone is False
    assert "at most 0.5 |v|^2" in found.note


def test_antisymmetric_payoffs_are_monotone_and_lopsided_ones_not(populations):
    rps = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]).double()
    assert judge(populations, populations @ rps.T).monotone is True
    lopsided = torch.tensor([[0.0, -1, 2], [4, 0, -2], [-3, 6, 0]]).double()
    assert judge(populations, populations @ lopsided.T).monotone is False


def test_what_all_cells_share_does_not_matter(populations):
    # the form is looked at on changes that sum to 0 alone: a bonus for large populations is none of these
    rewards = 0.5 - 0.1 * populations + populations.sum(-1, keepdim=True)
    assert judge(populations, rewards).monotone is True


def test_a_law_that_moves_with_the_population_is_not(populations):
    ill = 0.3 + 0.2 * populations[:, :1].expand(-1, D)
    found = judge(populations, 0.9 - 0.5 * populations, torch.stack([ill, 1 - ill], -1))
    assert found.monotone is False
    assert "P depends on mu, a law moves by 0.4" in found.note


def test_a_bent_violation_comes_with_a_pair(populations):
    found = judge(populations, populations**2)
    assert found.monotone is False
    assert "mu = (" in found.note
    worst, first, second = largest_gain(populations, populations**2)
    by_hand = (
        (populations[first] ** 2 - populations[second] ** 2) * (populations[first] - populations[second])
    ).sum()
    assert worst == pytest.approx(by_hand.item())
    assert worst > 0.5


def test_a_bent_reward_that_is_not_violated_is_not_called_monotone(populations):
    found = judge(populations, 1 - populations**2)
    assert found.monotone is None
    assert "no pair" in found.note


def test_populations_are_spread():
    found = spread_populations(30, 5, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(found.sum(1), torch.ones(30).double())
    corner = (found.max(1).values == 1).sum()
    assert 5 <= corner < 15
    assert ((found > 0).sum(1) == 5).any()
    assert ((found > 0).sum(1) == 2).any()


def test_rounding_to_the_lattice_is_close_and_keeps_lattice_points():
    mu = spread_populations(50, 4, generator=torch.Generator().manual_seed(4))
    counts = round_to_lattice(mu, 7)
    assert (counts.sum(1) == 7).all()
    assert ((counts - 7 * mu).abs() < 1).all()
    assert torch.equal(round_to_lattice(counts.double() / 7, 7), counts)


def test_moves_keep_the_total():
    mu = torch.tensor([0.5, 0.5, 0.0]).double()
    there = moves(mu, 100, share=0.5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(there.sum(1), torch.ones(100).double())
    assert torch.allclose((there - mu).abs().sum(1), torch.full((100,), 0.5).double())
