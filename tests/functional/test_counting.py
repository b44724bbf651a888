"""Multinomial draws: their law where few agents can be enumerated, their moments where there are 10^12."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from mf_pmd.functional.counting import (
    FEW_PLACES,
    MOST_COUNTED,
    conditional,
    draw_one_by_one,
    multinomial,
    tally,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def totals(n, *shape):
    return torch.full(shape, float(n), dtype=torch.float64)


@pytest.mark.parametrize("law", [(0.2, 0.5, 0.3), (0.2, 0.0, 0.8), (0.05, 0.25, 0.7)])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_law_of_few_agents_is_the_multinomial_one(assert_laws, law, n):
    found = multinomial(totals(n, 40_000), torch.tensor(law, dtype=torch.float64), generator=generator(n))
    points = [k for k in itertools.product(range(n + 1), repeat=3) if sum(k) == n]
    drawn = np.array([int((found == torch.tensor(k)).all(1).sum()) for k in points])
    exact = scipy.stats.multinomial(n, law).pmf(points)
    assert drawn.sum() == len(found)
    often = exact * len(found) > 5
    assert not drawn[exact == 0].any()
    rest = (~often) & (exact > 0)
    counts, laws = [*drawn[often], drawn[rest].sum()], [*exact[often], exact[rest].sum()]
    assert_laws(counts if laws[-1] else counts[:-1], laws if laws[-1] else laws[:-1])


@pytest.mark.parametrize("n", [10**3, 10**9, MOST_COUNTED])
def test_moments_however_many_agents(n):
    law, draws = torch.tensor([0.2, 0.3, 0.5, 0.0]), 20_000
    counts = multinomial(totals(n, draws), law, generator=generator())
    assert torch.equal(counts.sum(1), totals(n, draws))
    assert torch.equal(counts, counts.floor())
    assert not counts[:, 3].any()
    p = law.double() / law.double().sum()
    covariance = n * (torch.diag(p) - torch.outer(p, p))
    off = (counts - n * p)[:, :3]
    z = off.mean(0) / (covariance.diagonal()[:3] / draws).sqrt()
    assert z.abs().max() < 4
    found = off.T @ off / draws
    spread = covariance.diagonal()[:3].sqrt()
    assert ((found - covariance[:3, :3]) / torch.outer(spread, spread)).abs().max() < 4 * math.sqrt(2 / draws)


@pytest.mark.parametrize("n", [10**9, MOST_COUNTED])
def test_the_whole_law_however_many_agents(n):
    p = 0.37
    counts = multinomial(
        totals(n, 20_000), torch.tensor([p, 1 - p], dtype=torch.float64), generator=generator(3)
    )
    standard = (counts[:, 0].numpy() - n * p) / math.sqrt(n * p * (1 - p))
    assert scipy.stats.kstest(standard, "norm").pvalue > 1e-3


def test_rare_places_among_very_many_agents(assert_laws):
    p = 3 / MOST_COUNTED
    law = torch.tensor([p, 1 - p], dtype=torch.float64)
    rare = multinomial(totals(MOST_COUNTED, 40_000), law, generator=generator(5))[:, 0].numpy()
    exact = scipy.stats.poisson(3).pmf(range(11))
    drawn = [(rare == k).sum() for k in range(11)]
    assert_laws([*drawn, (rare > 10).sum()], [*exact, 1 - exact.sum()])


def test_places_are_not_coupled_across_rows():
    laws = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    counts = multinomial(totals(1000, 20_000, 2), laws, generator=generator(7))[..., 0]
    assert abs(np.corrcoef(counts.T.numpy())[0, 1]) < 4 / math.sqrt(20_000)


def test_one_possible_place_takes_everyone_and_nobody_goes_nowhere():
    laws = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1 / 3, 1 / 3, 1 / 3]])
    found = multinomial(torch.tensor([5.0, 1e12, 0.0], dtype=torch.float64), laws)
    assert torch.equal(found, torch.tensor([[0, 5, 0], [0, 0, 1e12], [0, 0, 0]], dtype=torch.float64))
    assert torch.equal(multinomial(totals(7, 2), torch.ones(1)), totals(7, 2, 1))


def test_rounding_of_float32_neither_loses_nor_invents_agents():
    law = torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0]) * (1 - 1e-5)
    found = multinomial(totals(MOST_COUNTED, 50), law, generator=generator())
    assert torch.equal(found.sum(1), totals(MOST_COUNTED, 50))
    assert not found[:, 3].any()


def test_laws_prepared_once_draw_the_same():
    laws = torch.softmax(torch.randn(4, 1, 6, generator=generator(), dtype=torch.float64), -1)
    laws[1, 0, 2:] = 0.0
    first = multinomial(totals(50, 4, 3), laws, generator=generator(1))
    again = multinomial(totals(50, 4, 3), conditional(laws), generator=generator(1))
    assert torch.equal(first, again)
    assert first.shape == (4, 3, 6)
    assert not torch.equal(first, multinomial(totals(50, 4, 3), laws, generator=generator(2)))


@pytest.mark.parametrize("n_places", [1, 2, 4, 6])
def test_laws_of_several_steps_are_prepared_together(n_places):
    laws = torch.softmax(torch.randn(3, 5, n_places, generator=generator(), dtype=torch.float64), -1)
    laws[..., 4:] = 0.0  # out of reach at every step
    together = conditional(laws).one_by_one()
    assert len(together) == 3
    for law, prepared in zip(laws, together, strict=True):
        alone, found = (multinomial(totals(40, 5), p, generator=generator(2)) for p in (law, prepared))
        assert torch.equal(alone, found)


@pytest.mark.parametrize("n_places", [FEW_PLACES, FEW_PLACES + 1])
def test_whoever_is_out_of_reach_gets_nobody_in_whatever_order_places_are_drawn(n_places):
    laws = torch.eye(n_places, dtype=torch.float64)
    laws[0, 1:3] = 0.5  # as likely as the first, which is 1: not yet normalised
    found = multinomial(totals(1000, n_places), laws, generator=generator(4))
    assert torch.equal(found.sum(1), totals(1000, n_places))
    assert not found[laws == 0].any()
    assert (found[0, :3] - torch.tensor([500.0, 250.0, 250.0])).abs().max() < 80


def test_a_few_are_drawn_and_tallied_one_by_one(assert_laws):
    laws = torch.tensor([[0.2, 0.8, 0.0], [0.5, 0.25, 0.25]], dtype=torch.float64)
    values = draw_one_by_one(laws.expand(20_000, 2, 3), generator=generator())
    assert_laws([torch.bincount(values[:, k], minlength=3).tolist() for k in range(2)], laws)
    assert torch.equal(tally(torch.tensor([[0, 2, 2]]), 4), torch.tensor([[1, 0, 2, 0]], dtype=torch.float64))
    nobody = torch.zeros(3, 0, dtype=torch.int64)
    assert torch.equal(tally(nobody, 2), torch.zeros(3, 2, dtype=torch.float64))
    assert draw_one_by_one(torch.zeros(3, 0, 2)).shape == (3, 0)
