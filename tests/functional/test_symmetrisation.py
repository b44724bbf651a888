"""Sym against the mean over all permutations, its properties, and its Monte-Carlo estimate."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.functional.lattice import arrangements, count_tuples, lattice
from mf_pmd.functional.symmetrisation import (
    TooManyArrangementsError,
    empirical_distribution,
    lift,
    lift_exact,
    random_arrangements,
    symmetrise_exact,
    symmetrise_monte_carlo,
)

D, MOST = 4, 100_000
tuples = st.lists(st.integers(0, D - 1), min_size=1, max_size=5)
seeds = st.integers(0, 10**6)


def random_function(seed, n, *value):
    """Any function of n-tuples over D values, as a table of D^n rows."""
    table = torch.rand(D**n, *value, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    place = D ** torch.arange(n)
    return lambda x: table[(x * place).sum(-1)]


def symmetrised(f):
    return lambda x: symmetrise_exact(f, x, n_values=D, most=MOST)


@given(tuples, seeds)
def test_it_is_the_mean_over_all_permutations(x, seed):
    f = random_function(seed, len(x), 2)
    every = torch.tensor(list(itertools.permutations(x)))
    assert torch.allclose(symmetrised(f)(torch.tensor(x)), f(every).mean(0), atol=1e-14)


@given(tuples, seeds, st.randoms(use_true_random=False))
def test_it_is_invariant_and_its_lift_well_defined(x, seed, random):
    sym, shuffled = symmetrised(random_function(seed, len(x))), random.sample(x, len(x))
    value = sym(torch.tensor(x))
    assert torch.allclose(value, sym(torch.tensor(shuffled)), atol=1e-14)
    counts = count_tuples(torch.tensor(x), D)
    assert torch.allclose(lift(sym, counts), value, atol=1e-14)
    assert torch.allclose(lift_exact(random_function(seed, len(x)), counts, most=MOST), value, atol=1e-14)


@settings(max_examples=30)
@given(st.integers(1, 4), seeds)
def test_it_is_idempotent_and_keeps_symmetric_functions(n, seed):
    sym = symmetrised(random_function(seed, n))
    every = arrangements(lattice(n, D))[1]
    assert torch.allclose(symmetrised(sym)(every), sym(every), atol=1e-13)
    weights = random_function(seed, 1)

    def counts_alone(x):
        return (weights(x.unsqueeze(-1)).sum(-1) ** 2).sin()

    assert torch.allclose(symmetrised(counts_alone)(every), counts_alone(every), atol=1e-13)


@given(tuples, seeds, st.floats(-3, 3))
def test_it_is_linear_and_keeps_the_range(x, seed, factor):
    n, at = len(x), torch.tensor(x)
    f, g = random_function(seed, n), random_function(seed + 1, n)
    both = symmetrised(lambda x: f(x) + factor * g(x))(at)
    assert torch.allclose(both, symmetrised(f)(at) + factor * symmetrised(g)(at), atol=1e-12)
    every = f(torch.tensor(list(itertools.permutations(x))))
    assert every.min() - 1e-14 <= symmetrised(f)(at) <= every.max() + 1e-14


def test_a_batch_is_its_rows():
    f = random_function(3, 3, 2, 2)
    batch = torch.tensor([[[0, 1, 2], [3, 3, 3]], [[2, 2, 1], [0, 0, 3]]])
    rows = [[symmetrised(f)(x) for x in row] for row in batch]
    assert torch.allclose(symmetrised(f)(batch), torch.stack([torch.stack(row) for row in rows]))


def test_too_many_arrangements_are_refused_before_they_are_made():
    far = torch.arange(4).repeat(10)
    with pytest.raises(TooManyArrangementsError, match="distinct arrangements, at most 1,000"):
        symmetrise_exact(random_function(0, 1), far, n_values=D, most=1000)


def test_empirical_distributions():
    found = empirical_distribution(torch.tensor([[0, 3, 3, 1], [2, 2, 2, 2]]), D)
    assert found.tolist() == [[0.25, 0.25, 0, 0.5], [0, 0, 1, 0]]


def test_random_arrangements_are_uniform_on_the_distinct_ones(assert_laws):
    x = torch.tensor([0, 0, 2, 3])
    drawn = random_arrangements(x, n_draws=24_000, generator=torch.Generator().manual_seed(1))
    owner, every = arrangements(count_tuples(x, D).unsqueeze(0))
    hit = (drawn.unsqueeze(1) == every).all(-1)  # [draws, 12]
    assert (hit.sum(1) == 1).all()
    assert_laws(hit.sum(0), [1 / len(owner)] * len(owner))


def test_monte_carlo_is_unbiased_and_knows_its_error():
    f, n_tuples, n_draws = random_function(5, 4, 3), 2_000, 8
    x = torch.tensor([[0, 1, 2, 3]]).expand(n_tuples, -1)
    found = symmetrise_monte_carlo(f, x, n_draws=n_draws, generator=torch.Generator().manual_seed(2))
    every = f(torch.tensor(list(itertools.permutations(range(4)))))  # [24, 3]
    exact, spread = every.mean(0), every.std(0, correction=0)
    z = (found.mean.mean(0) - exact) / (spread / (n_tuples * n_draws) ** 0.5)
    assert z.abs().max() < 4
    claimed = (found.standard_error**2).mean(0).sqrt()
    assert torch.allclose(claimed, spread / n_draws**0.5, rtol=0.05)


def test_a_symmetric_function_is_estimated_without_error():
    found = symmetrise_monte_carlo(
        lambda x: x.sum(-1).double(), torch.tensor([3, 1, 0]), n_draws=5, generator=torch.Generator()
    )
    assert (found.mean.item(), found.standard_error.item()) == (4.0, 0.0)


def test_draws_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, second = (
        random_arrangements(torch.arange(9), n_draws=3, generator=torch.Generator().manual_seed(7))
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
