"""The clipped surrogate and the measures of a step: by hand, by brute force, one network an agent."""

import math

import pytest
import torch

from mf_pmd.functional.distributions import kl_divergence
from mf_pmd.functional.ppo import (
    clipped,
    clipped_surrogate,
    counted_mean,
    log_ratio_kl,
    norm_factors,
    standardised,
)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),  # at the old policy it is the advantage, and so is its gradient
        (1.1, 2.0, 2.2, 2.2),
        (1.5, 2.0, 2.4, 0.0),  # beyond 1 + clip nothing more is paid
        (0.5, 2.0, 1.0, 1.0),  # but a good action made rarer is paid for in full
        (0.5, -2.0, -1.6, 0.0),
        (1.5, -2.0, -3.0, -3.0),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_the_surrogate_by_hand(ratio, advantage, expected, slope):
    old = torch.tensor(math.log(0.3), dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    value = clipped_surrogate(new, old, torch.tensor(advantage, dtype=torch.float64), clip=0.2)
    (gradient,) = torch.autograd.grad(value, new)  # d rho / d log pi = rho
    assert value.item() == pytest.approx(expected)
    assert gradient.item() == pytest.approx(slope)


def test_the_surrogate_is_never_above_the_plain_one():
    random = torch.Generator().manual_seed(0)
    new, old, advantages = (torch.randn(500, generator=random) for _ in range(3))
    plain = (new - old).exp() * advantages
    bound = clipped_surrogate(new, old, advantages, clip=0.2)
    assert (bound <= plain + 1e-6).all()
    assert (bound < plain - 1e-3).any()


def test_the_mean_of_the_estimate_is_the_divergence():
    random = torch.Generator().manual_seed(1)
    new, old = (
        torch.log_softmax(torch.randn(4, generator=random, dtype=torch.float64), -1) for _ in range(2)
    )
    estimate = (old.exp() * log_ratio_kl(new, old)).sum()
    assert estimate.item() == pytest.approx(kl_divergence(old, new).item())
    assert (log_ratio_kl(new, old) >= 0).all()


def test_clipped_counts_ratios_that_left_the_band():
    old = torch.zeros(5)
    new = torch.tensor([0.79, 0.81, 1.0, 1.19, 1.21]).log()
    assert clipped(new, old, clip=0.2).tolist() == [1, 0, 0, 0, 1]


VALUES = torch.tensor([[1.0, 10.0], [3.0, 20.0], [9.0, 99.0]])
COUNTS = torch.tensor([[True, True], [True, True], [True, False]])


def test_means_are_over_what_counts():
    assert counted_mean(VALUES, COUNTS).tolist() == pytest.approx([43 / 5])
    assert counted_mean(VALUES, COUNTS, own=True).tolist() == pytest.approx([13 / 3, 15])


def test_nobody_there_is_a_mean_of_0():
    nobody = torch.zeros(3, 2, dtype=torch.bool)
    assert counted_mean(VALUES, nobody).tolist() == [0]
    assert counted_mean(VALUES, nobody, own=True).tolist() == [0, 0]
    assert not standardised(VALUES, nobody, own=True).any()


def test_what_does_not_count_may_be_nan():
    values = VALUES.clone()
    values[2, 1] = torch.nan
    assert counted_mean(values, COUNTS).tolist() == pytest.approx([43 / 5])
    assert standardised(values, COUNTS).isfinite().all()


def test_standardised_together_and_agent_by_agent():
    together = standardised(VALUES, COUNTS)
    mine = VALUES[COUNTS]
    torch.testing.assert_close(together[COUNTS], (mine - mine.mean()) / mine.std(correction=0))
    apart = standardised(VALUES, COUNTS, own=True)
    torch.testing.assert_close(apart[:, 0], (VALUES[:, 0] - 13 / 3) / VALUES[:, 0].std(correction=0))
    assert apart[:, 1].tolist() == pytest.approx([-1, 1, 0])
    assert together[2, 1] == 0


def test_values_all_alike_give_0():
    same = torch.full((4, 2), 3.0)
    counts = torch.ones(4, 2, dtype=torch.bool)
    assert not standardised(same, counts).any()
    assert not standardised(same, counts, own=True).any()


def test_gradients_are_shortened_to_the_norm_asked_for():
    gradients = [torch.tensor([[3.0, 0.0], [0.0, 0.1]]), torch.tensor([4.0, 0.0])]
    factor = norm_factors(gradients, most=1.0)
    whole = math.sqrt(9 + 0.01 + 16)
    assert factor.tolist() == pytest.approx([1 / whole])
    own = norm_factors(gradients, most=1.0, own=True)  # network 0 has norm 5, network 1 norm .1
    assert own.tolist() == pytest.approx([0.2, 1.0])
    assert norm_factors([torch.zeros(2, 3)], most=1.0, own=True).tolist() == [1, 1]
