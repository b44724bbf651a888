"""Chi-square tests against SciPy, by hand, and on counts that do come from their laws."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from mf_pmd.functional.goodness_of_fit import goodness_of_fit, mean_p_values, merged, same_law, survival


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("degrees", [1, 2, 7, 100, 5000])
def test_survival_is_that_of_chi_square(degrees):
    for factor in (0.0, 0.5, 1.0, 2.0):
        statistic = torch.tensor(factor * degrees, dtype=torch.float64)
        expected = scipy.stats.chi2.sf(statistic.item(), degrees)
        assert survival(statistic, torch.tensor(degrees)).item() == pytest.approx(expected, rel=1e-9)
    assert survival(torch.tensor(5.0), torch.tensor(0)).item() == 1.0


def test_both_statistics_by_hand():
    counts, laws = tensor([30, 70], [55, 45]), tensor([0.5, 0.5], [0.5, 0.5])
    fit = goodness_of_fit(counts, laws)
    pearson = (400 + 400) / 50 + (25 + 25) / 50
    assert fit.overall.item() == pytest.approx(scipy.stats.chi2.sf(pearson, 2))
    for row, p in zip(counts.numpy(), fit.p_values, strict=True):
        wilks = scipy.stats.power_divergence(row, lambda_="log-likelihood").pvalue
        assert p.item() == pytest.approx(wilks)


def test_rare_values_are_taken_together():
    counts = tensor([50, 10, 12, 0], [60, 30, 3, 2], [5, 3, 2, 0])
    expected = tensor([52, 11, 9.0, 0], [60, 30, 4, 1], [5, 4, 1, 0])
    seen, due = merged(counts, expected)
    assert seen.tolist() == [[50, 0, 0, 0, 22], [65, 30, 0, 0, 0], [10, 0, 0, 0, 0]]
    assert due.tolist() == [[52, 0, 0, 0, 20], [65, 30, 0, 0, 0], [10, 0, 0, 0, 0]]
    assert goodness_of_fit(counts[2:], expected[2:] / 10).p_values.item() == 1.0  # tells nothing


def test_what_cannot_be_is_told_apart():
    fit = goodness_of_fit(tensor([50, 50, 3], [50, 50, 0]), tensor([0.5, 0.5, 0], [0.5, 0.5, 0]))
    assert fit.impossible.tolist() == [3, 0]


def test_true_laws_are_rejected_as_often_as_the_level_says():
    random = np.random.default_rng(0)
    laws = random.dirichlet(np.ones(4), 4000)
    counts = random.multinomial(300, laws)
    fit = goodness_of_fit(torch.tensor(counts), torch.tensor(laws))
    for level in (0.1, 0.01):
        assert (fit.p_values < level).double().mean().item() == pytest.approx(level, rel=0.35)
    assert fit.p_values.min().item() > 1e-6
    assert 1e-3 < fit.overall.item() < 1 - 1e-3


def test_a_false_law_is_rejected():
    random = np.random.default_rng(1)
    counts = torch.tensor(random.multinomial(2000, [0.35, 0.65], size=50))
    fit = goodness_of_fit(counts, tensor([0.3, 0.7]).expand(50, -1))
    assert fit.overall.item() < 1e-12
    assert fit.p_values.median().item() < 1e-3


def test_two_samples_of_one_law_and_of_two():
    random = np.random.default_rng(2)
    laws = random.dirichlet(np.ones(3), 20)
    first, second = (torch.tensor(random.multinomial(5000, laws)) for _ in range(2))
    other = torch.tensor(random.multinomial(5000, 0.85 * laws + 0.15 / 3))
    assert same_law(first, second).item() > 1e-3
    assert same_law(first, other).item() < 1e-6
    table = np.array([[30, 70], [45, 55]])
    by_scipy = scipy.stats.chi2_contingency(table, correction=False).pvalue
    assert same_law(torch.tensor(table[:1]), torch.tensor(table[1:])).item() == pytest.approx(by_scipy)


def test_means_are_refuted_no_more_often_than_they_say_and_by_hand():
    # heads of 10 fair coins: the bound is 2 exp(-10 KL), and exact tails are below it
    heads = torch.arange(11.0)
    bound = mean_p_values(heads, torch.full((11,), 10), torch.full((11,), 0.5))
    assert bound[5] == 1
    assert bound[10].item() == pytest.approx(2 * 2**-10)
    ways = torch.tensor([math.comb(10, k) for k in range(11)], dtype=torch.float64) / 2**10
    tails = torch.stack([ways[(heads - 5).abs() >= abs(k - 5)].sum() for k in range(11)])
    assert (tails <= bound + 1e-12).all()
    impossible = mean_p_values(torch.tensor([1e-3, 0.0]), torch.tensor([50, 50]), torch.zeros(2))
    assert impossible.tolist() == [0.0, 1.0]
    assert mean_p_values(torch.zeros(1), torch.zeros(1), torch.full((1,), 0.3)).item() == 1  # no draw tells
    certain = mean_p_values(torch.tensor([50 - 1e-6]), torch.tensor([50]), torch.ones(1), rounding=1e-5)
    assert certain.item() == 1  # a reward of 1, paid in float32
