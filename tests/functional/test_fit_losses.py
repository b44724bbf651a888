"""Losses on fixed goals: by hand, and their gradients against autograd."""

import math

import pytest
import torch

from mf_pmd.functional.fit_losses import DivergenceFromGoal, WeightedSquares


def test_weighted_squares_by_hand():
    loss = WeightedSquares(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0]))
    assert loss.value(torch.tensor([3.0, 1.0])).item() == 0.5 * 4 + 3 * 1
    assert loss.gradient(torch.tensor([3.0, 1.0])).tolist() == [2.0, -6.0]


def test_divergence_by_hand():
    goal = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    loss = DivergenceFromGoal(goal, torch.tensor([2.0, 0.0]))
    outputs = torch.tensor([[1.0, 1.0], [9.0, 0.0]])  # the second row weighs nothing
    kl = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert loss.value(outputs).item() == pytest.approx(2 * kl)
    slope = 2 * 0.5 * (math.log(2) - kl)
    assert loss.gradient(outputs)[0].tolist() == pytest.approx([slope, -slope], abs=1e-6)
    assert loss.gradient(outputs)[1].tolist() == [0.0, 0.0]


def test_nothing_is_pulled_at_the_goal():
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = DivergenceFromGoal(outputs.log_softmax(-1), torch.ones(5, dtype=torch.float64))
    assert loss.value(outputs).item() == pytest.approx(0, abs=1e-12)
    assert loss.gradient(outputs).abs().max() < 1e-15


@pytest.mark.parametrize("far", [1.0, 30.0])
def test_gradients_are_those_of_autograd(far):
    random = torch.Generator().manual_seed(1)
    outputs, goal, weight = (torch.randn(4, 3, 5, generator=random, dtype=torch.float64) for _ in range(3))
    outputs = (far * outputs).requires_grad_()
    losses = [
        WeightedSquares(goal, weight.square()),
        DivergenceFromGoal(goal.log_softmax(-1), weight[..., 0].square()),
    ]
    for loss in losses:
        (expected,) = torch.autograd.grad(loss.value(outputs), outputs)
        found = loss.gradient(outputs.detach())
        assert (found - expected).abs().max() < 1e-13 * max(1, expected.abs().max().item())
        assert expected.abs().max() > 0.1


def test_a_probability_that_vanishes_pulls_nothing():
    outputs = torch.tensor([[0.0, -200.0]])
    loss = DivergenceFromGoal(torch.tensor([[0.5, 0.5]]).log(), torch.ones(1))
    assert loss.value(outputs).item() == pytest.approx(math.log(2))
    assert loss.gradient(outputs).tolist() == [[0.0, 0.0]]
