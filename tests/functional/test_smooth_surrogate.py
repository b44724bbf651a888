"""The smooth surrogate: an expectation, exact where affine, as flat as the lattice, not interpolating."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.functional.lattice import lattice
from mf_pmd.functional.population_slopes import lattice_slopes
from mf_pmd.functional.smooth_surrogate import multinomial_law, smooth_exact, smooth_monte_carlo
from mf_pmd.functional.symmetrisation import lift_exact

N, D = 4, 3
POINTS = lattice(N, D)
seeds = st.integers(0, 10**6)


def uniform(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def population(seed, *batch):
    weights = -uniform(seed, *batch, D).log()
    return weights / weights.sum(-1, keepdim=True)


def non_symmetric(x):
    return torch.stack([(x[..., 0] * (x[..., 1] + 1)).double(), (x[..., 2] == 1).double()], -1)


@given(seeds)
def test_it_is_the_expectation_over_independent_draws(seed):
    mu = population(seed)
    values = lift_exact(non_symmetric, POINTS, most=10_000)
    every = torch.tensor(list(itertools.product(range(D), repeat=N)))
    expected = mu[every].prod(-1) @ non_symmetric(every)
    assert torch.allclose(smooth_exact(values, POINTS, mu), expected, atol=1e-12)


@given(seeds)
def test_it_is_exact_for_affine_functions_and_on_corners(seed):
    slope, values = uniform(seed, D, 2), uniform(seed + 1, len(POINTS), 2)
    mu = population(seed + 2, 5)
    affine = POINTS.double() / N @ slope + 0.3
    assert torch.allclose(smooth_exact(affine, POINTS, mu), mu @ slope + 0.3, atol=1e-12)
    corners = (POINTS == N).any(-1)
    found = smooth_exact(values, POINTS, POINTS[corners].double() / N)
    assert torch.allclose(found, values[corners], atol=1e-12)


def test_it_does_not_interpolate():
    even = torch.tensor([2, 2, 0])
    values = (POINTS - even == 0).all(-1).double()
    found = smooth_exact(values, POINTS, torch.tensor([0.5, 0.5, 0.0]))
    assert abs(found.item() - 6 / 16) < 1e-12


@settings(max_examples=50)
@given(seeds, st.sampled_from([1.0, 0.1, 1e-3]))
def test_it_is_no_steeper_than_the_lattice(seed, distance):
    values = uniform(seed, len(POINTS), 1, 2)
    steepest = lattice_slopes(values, n_agents=N, n_cells=D)[0]
    mu = population(seed + 1, 40)
    there = (1 - distance) * mu + distance * population(seed + 2, 40)
    found, moved = (smooth_exact(values[:, 0], POINTS, at) for at in (mu, there))
    slopes = (found - moved).abs().sum(-1) / (mu - there).abs().sum(-1)
    assert slopes.max() <= steepest * (1 + 1e-9)


def test_that_bound_is_attained_by_affine_functions():
    values = (POINTS[:, :1].double() / N).unsqueeze(-1)
    mu, there = torch.tensor([[0.5, 0.5, 0.0], [0.4, 0.5, 0.1]], dtype=torch.float64)
    found = smooth_exact(values[:, 0], POINTS, torch.stack([mu, there]))
    slope = (found[0] - found[1]).abs().sum() / (mu - there).abs().sum()
    assert abs(slope - lattice_slopes(values, n_agents=N, n_cells=D)[0]) < 1e-12


def test_multinomial_laws_sum_to_one_also_on_faces():
    mu = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.3, 0.7], [0.2, 0.3, 0.5]])
    assert torch.allclose(multinomial_law(POINTS, mu).sum(-1), torch.ones(3).double())


def test_monte_carlo_agrees_within_its_error():
    mu = 0.1 + 0.7 * population(3, 50)
    values = lift_exact(non_symmetric, POINTS, most=10_000)
    found = smooth_monte_carlo(
        non_symmetric, mu, n_agents=N, n_draws=4_000, generator=torch.Generator().manual_seed(0)
    )
    z = (found.mean - smooth_exact(values, POINTS, mu)) / found.standard_error
    assert z.abs().max() < 4.5
    assert 0.8 < z.std() < 1.2
