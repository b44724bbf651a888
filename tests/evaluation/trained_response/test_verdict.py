"""Intervals of gains, and when a deviator is called too weak."""

import math

import pytest
import scipy.stats
import torch

from mf_pmd.evaluation.trained_response.measuring import gains_of, interval
from mf_pmd.evaluation.trained_response.report import bound, without_nan
from mf_pmd.evaluation.trained_response.training import Curve
from mf_pmd.evaluation.trained_response.verdict import (
    FALLING,
    FLAT,
    NOISY,
    RISING,
    compare,
    flatness,
    strength,
)
from mf_pmd.functional.frozen_flows import Bracket
from mf_pmd.runners.deviations import Verdict


def curve_of(gain, noise=0.0, returns=10.0):
    torch.manual_seed(0)
    gain = [value + noise * torch.randn(()).item() for value in gain]
    steps = [8192 * (m + 1) for m in range(len(gain))]
    return Curve(steps, [returns] * len(gain), gain, [[value] for value in gain], [0.1] * len(gain))


def test_an_interval_is_students():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    error = scipy.stats.sem(values.numpy())
    found = interval(values)
    t = scipy.stats.t.ppf(1 - 0.0125, 3)
    assert found == pytest.approx((4.0, 4 - t * error, 4 + t * error))
    stricter = scipy.stats.t.ppf(1 - 0.0125 / 2, 3)
    assert interval(values, tests=2).lower == pytest.approx(4 - stricter * error)


def test_gains_of_types():
    without = torch.tensor([[1.0, 5.0], [2.0, 6.0], [3.0, 4.0]], dtype=torch.float64)
    with_it = without + torch.tensor([[0.1, 1.9], [0.2, 2.1], [0.6, 2.0]], dtype=torch.float64)
    found = gains_of(with_it, without, torch.tensor([0.25, 0.75]))
    assert [gain.mean for gain in found.types] == pytest.approx([0.3, 2.0])
    assert found.mean.mean == pytest.approx(0.25 * 0.3 + 0.75 * 2)
    assert found.worst == 1
    assert found.largest.mean == pytest.approx(2.0)
    assert found.largest.lower < found.types[1].lower  # it holds for both types at once
    assert found.returns == pytest.approx([2.0, 5.0])
    assert found.deviators_returns == pytest.approx([2.3, 7.0])
    assert bound(found.mean) == max(0.0, found.mean.lower)
    assert bound(interval(torch.tensor([-1.0, -2.0, -3.0]))) == 0  # not to deviate gains 0


def test_lower_ends_hold_for_all_types_at_once():
    """With nothing to gain the bound of the maximum is above 0 as rarely as one end alone."""
    torch.manual_seed(1)
    misses = 0
    for _ in range(300):
        noise = torch.randn(30, 6, dtype=torch.float64)
        misses += gains_of(noise, torch.zeros_like(noise), torch.full((6,), 1 / 6)).largest.lower > 0
    assert scipy.stats.binomtest(misses, 300, 0.0125).pvalue > 1e-3


@pytest.mark.parametrize(
    ("gain", "noise", "returns", "verdict"),
    [
        ([min(m, 25) for m in range(50)], 0.0, 0.0, FLAT),
        ([min(m, 25) for m in range(50)], 0.5, 0.0, FLAT),
        (range(50), 0.0, 0.0, RISING),
        ([0.0] * 50, 0.1, 0.0, NOISY),  # a gain of nothing, and no return to measure it by
        ([0.0] * 50, 0.1, 20.0, FLAT),
        ([0.0] * 50, 3.0, 20.0, NOISY),
        ([-m for m in range(50)], 0.0, 10.0, FALLING),
        ([5.0] * 25 + [1.0] * 25, 0.1, 10.0, FALLING),  # and stayed there
        ([5.0] * 49 + [4.9], 0.0, 10.0, FLAT),
        ([0.0] * 50, 0.1, -20.0, FLAT),  # of a game that costs
        ([1.0] * 40 + [0.8] * 10, 0.02, 0.0, FALLING),
        ([5.0] * 20 + [1.0] * 10 + [float(m) for m in range(1, 21)], 0.0, 10.0, RISING),  # it recovers
    ],
)
def test_a_flat_curve(gain, noise, returns, verdict):
    assert flatness(curve_of(list(gain), noise, returns)).verdict == verdict


def test_too_weak_by_a_known_answer_or_by_the_curve():
    differences = torch.tensor([[1.79, 2.2], [1.81, 2.2]], dtype=torch.float64)
    gains = gains_of(differences, torch.zeros_like(differences), torch.tensor([0.5, 0.5]))
    flat, rising = curve_of([5.0] * 50), curve_of(list(range(50)))

    def answer(mean, largest):
        ends = (Bracket(value, value - 0.1, value + 0.5, False) for value in (mean, largest))
        return Verdict(*ends, 1, False)

    found = compare(gains, answer(2.0, 2.2), shares_policy=True, n_episodes=100)
    assert (found.mean_share, found.largest_share) == pytest.approx((1.0, 1.0))
    assert found.mean_at_least == pytest.approx(gains.mean.lower / 2.5)
    assert found.largest_at_least == pytest.approx(gains.largest.lower / 2.7)
    assert not strength(rising, gains, found).too_weak  # it found all there is
    weak = strength(flat, gains, compare(gains, answer(4.0, 5.0), shares_policy=True, n_episodes=100))
    assert weak.too_weak
    assert weak.why == "it finds 50.0% of the gain by frozen flows, less than 90%"
    assert strength(rising, gains, None).why == "its learning curve is still rising"
    assert strength(curve_of([-m for m in range(50)]), gains, None).why == "its learning curve is falling"
    assert not strength(flat, gains, None).too_weak
    assert not strength(curve_of([0.0] * 50, 3.0, 20.0), gains, None).too_weak
    own = compare(gains, answer(4.0, 5.0), shares_policy=False, n_episodes=100)
    assert math.isnan(own.largest_share)
    assert math.isnan(own.largest_at_least)
    nothing = compare(gains, answer(-0.1, 0.0), shares_policy=True, n_episodes=100)
    assert math.isnan(nothing.mean_share)
    assert not strength(flat, gains, nothing).too_weak
    assert strength(rising, gains, nothing).too_weak


@pytest.mark.parametrize(
    ("mean", "error", "returns", "weak"),
    [
        (0.1, 1.2, 10.0, True),  # no gain is shown, and what could have been is wider than a quarter of 10
        (0.1, 1.2, -10.0, True),
        (0.1, 0.1, 10.0, False),  # nothing there, and well measured
        (5.0, 1.2, 10.0, False),  # as wide, and a gain
        (0.1, 1.2, 40.0, False),
    ],
)
def test_too_weak_where_a_wide_interval_shows_no_gain(mean, error, returns, weak):
    differences = mean + error * torch.tensor([-1.0, 1.0] * 4, dtype=torch.float64).unsqueeze(1)
    gains = gains_of(
        differences + returns - mean, torch.full_like(differences, returns - mean), torch.ones(1)
    )
    assert gains.deviators_return == pytest.approx(returns)
    found = strength(curve_of([5.0] * 50), gains, None)
    assert found.too_weak == weak
    assert found.why == (
        "no gain is shown, by an interval wider than 25% of the deviators' return" if weak else ""
    )


def test_json_knows_no_nan():
    assert without_nan({"a": [1.0, math.nan, (math.nan, "x")], "b": None}) == {
        "a": [1.0, None, [None, "x"]],
        "b": None,
    }
