"""Lipschitz constants on the lattice against all pairs, and of affine kernels against closed forms."""

import pytest
import torch

from mf_pmd.functional.lattice import lattice
from mf_pmd.functional.population_slopes import (
    affine_gap,
    affine_population_slope,
    farthest_laws,
    lattice_slopes,
    population_update,
)


def uniform(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "d"), [(1, 4), (2, 3), (4, 3), (3, 4), (5, 2), (3, 1)])
def test_neighbours_are_enough(n, d):
    points = lattice(n, d).double() / n
    values = uniform(n * d, len(points), 3, 2)
    far = torch.cdist(points, points, p=1.0)
    apart = torch.cdist(values.transpose(0, 1), values.transpose(0, 1), p=1.0)  # [F, K, K]
    brute = torch.where(far > 0, apart / far, 0.0).amax((1, 2))
    assert torch.allclose(lattice_slopes(values, n_agents=n, n_cells=d), brute, atol=1e-12)


def test_it_is_the_same_in_many_parts(monkeypatch):
    values = uniform(0, 20, 3, 2)
    whole = lattice_slopes(values, n_agents=3, n_cells=4)
    monkeypatch.setattr("mf_pmd.functional.population_slopes.ENTRIES_AT_ONCE", 1)
    assert torch.equal(lattice_slopes(values, n_agents=3, n_cells=4), whole)


def infection(rate):
    """P(infected | c, e_j) of cells (healthy, ill): catching rate nu(ill), never recovering. [2, 2, 2]"""
    ill = torch.tensor([[0.0, 1.0], [rate, 1.0]], dtype=torch.float64)
    return torch.stack([1 - ill, ill], -1)


def test_population_slope_by_hand():
    # nu'(ill) = z + rate z (1 - z): derivative 1 + rate (1 - 2 z), steepest at z = 0
    assert affine_population_slope(infection(0.6)).item() == pytest.approx(1.6)
    assert affine_population_slope(infection(0.0)).item() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_population_slope_bounds_and_is_approached(seed):
    corners = uniform(seed, 3, 3, 2)
    corners /= corners.sum(-1, keepdim=True)
    exact = affine_population_slope(corners).item()

    def update(mu):
        return population_update(torch.einsum("qj,jcs->qcs", mu, corners), mu)

    weights = uniform(seed + 10, 60_000, 3) ** 8
    mu = weights / weights.sum(-1, keepdim=True)
    there = 0.999 * mu + 0.001 * torch.eye(3, dtype=torch.float64)[torch.arange(len(mu)) % 3]
    far = (mu - there).abs().sum(-1)
    slopes = ((update(mu) - update(there)).abs().sum(-1) / far)[far > 1e-5]
    assert slopes.max() <= exact + 1e-9
    assert slopes.max() >= 0.93 * exact


def test_affine_gap():
    populations = torch.cat([torch.eye(2), torch.tensor([[0.5, 0.5]])]).double()
    affine = populations @ torch.tensor([[1.0, 2.0], [3.0, 0.0]]).double() + 1
    assert affine_gap(affine, populations, affine[:2]).item() < 1e-12
    bent = populations[:, :1] ** 2
    assert affine_gap(bent, populations, bent[:2]).item() == pytest.approx(0.25)


def test_farthest_laws():
    laws = torch.tensor([[[1.0, 0.0], [0.8, 0.2]], [[0.5, 0.5], [0.3, 0.7]]]).double()
    assert farthest_laws(laws).item() == pytest.approx(1.4)
