"""Interquartile means and their intervals against hand computation, enumeration and repetition."""

import itertools
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.errors import UserError
from mf_pmd.evaluation import aggregate


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([0.0, 2.0], 1.0),
        ([0.0, 1.0, 11.0], 4.0),  # nothing to leave out: the mean
        ([-100.0, 1.0, 3.0, 100.0], 2.0),
        ([100.0, 1.0, 2.0, 6.0, -100.0], 3.0),
        ([9.0, -9.0, 5.0, 99.0, 4.0, -99.0, 3.0, 6.0], 4.5),
    ],
)
def test_interquartile_mean_by_hand(values, expected):
    assert aggregate.interquartile_mean(np.array(values)) == expected


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_interquartile_mean_is_the_trimmed_mean(values):
    """rliable, the reference, takes scipy's trimmed mean with a quarter cut off at either end."""
    expected = scipy.stats.trim_mean(values, proportiontocut=0.25)
    assert aggregate.interquartile_mean(np.array(values)) == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_curves_are_averaged_point_by_point():
    values = np.random.default_rng(0).normal(size=(6, 4))
    expected = [aggregate.interquartile_mean(values[:, point]) for point in range(4)]
    found = aggregate.estimate([values])
    np.testing.assert_array_equal(found.value, expected)
    assert found.lower.shape == found.upper.shape == (4,)
    assert (found.lower < found.value).all()
    assert (found.value < found.upper).all()


def test_three_values_have_their_range_for_interval():
    """Each extreme resample has probability 1/27, more than 2.5 %."""
    found = aggregate.estimate([np.array([1.0, 4.0, 10.0])])
    assert (found.value, found.lower, found.upper) == (5.0, 1.0, 10.0)


def test_interval_against_all_resamples():
    values = np.array([0.3, 1.0, 1.7, 2.9, 4.6])
    resamples = np.array(list(itertools.product(values, repeat=5)))
    exact = np.sort(aggregate.interquartile_mean(resamples.T))
    found = aggregate.estimate([values])
    for end, share in ((found.lower, 0.025), (found.upper, 0.975)):
        near = np.quantile(exact, [share - 0.01, share + 0.01])  # 2000 draws leave .0035 of standard error
        assert near[0] <= end <= near[1]


def test_interval_covers(monkeypatch):
    monkeypatch.setattr(aggregate, "REPETITIONS", 300)
    random = np.random.default_rng(1)
    samples = random.normal(loc=3.0, size=(200, 20))
    found = [aggregate.estimate([sample]) for sample in samples]
    covered = np.mean([each.lower <= 3.0 <= each.upper for each in found])
    assert 0.89 <= covered <= 0.99  # .95 with a binomial standard error of .015, some bias at 20 runs


def test_resampling_stays_within_the_strata():
    """Constant strata leave nothing to chance; a bootstrap of the pool would mix them."""
    found = aggregate.estimate([np.zeros(5), np.full(3, 100.0)])
    assert found.value == found.lower == found.upper == 25.0  # 0 0 0 100: the middle of 8 sorted values
    assert (found.held, found.of) == (8, 8)


def test_the_same_runs_have_the_same_interval():
    values = np.random.default_rng(2).normal(size=7)
    assert aggregate.estimate([values]) == aggregate.estimate([values])


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_runs_have_no_interval(count):
    found = aggregate.estimate([np.arange(count, dtype=float)])
    assert found.value == (count - 1) / 2
    assert found.lower is found.upper is None


def test_values_that_are_not_finite_are_left_out_and_counted():
    found = aggregate.estimate([np.array([1.0, np.nan, 3.0, np.inf, 2.0])])
    assert (found.value, found.held, found.of) == (2.0, 3, 5)
    nothing = aggregate.estimate([np.array([np.nan])])
    assert np.isnan(nothing.value)
    assert (nothing.lower, nothing.held, nothing.of) == (None, 0, 1)


def test_common_steps_of_equal_grids_are_those_grids():
    steps, values = np.array([0, 10, 20]), np.arange(6.0).reshape(2, 3)
    grid, found = aggregate.on_common_steps([(steps, row) for row in values])
    np.testing.assert_array_equal(grid, steps)
    np.testing.assert_array_equal(found, values)


def test_other_grids_are_interpolated_where_all_have_values():
    fine = np.array([0, 5, 10, 15, 20]), np.array([0.0, 5, 10, 15, 20])
    coarse = np.array([4, 12, 24]), np.array([8.0, 24, 48])
    grid, found = aggregate.on_common_steps([fine, coarse])
    assert grid.tolist() == [4, 12]
    np.testing.assert_allclose(found, [[4, 12], [8, 24]])


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(UserError, match=r"pip install 'mf-pmd\[compare\]'"):
        aggregate.estimate([np.arange(5.0)])
