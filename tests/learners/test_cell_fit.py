"""Fits of networks of cells against the same fits by autograd."""

import math

import pytest
import torch

from mf_pmd.functional.fit_losses import DivergenceFromGoal, WeightedSquares
from mf_pmd.learners.cell_fit import Minibatch, fit_cells
from mf_pmd.learners.fitting import descend
from mf_pmd.modules.features import CellNetwork

N_STATES, N_SHARED, N_ACTIONS, N_ROWS = 3, 5, 2, 8
LR = 0.01


def network_and_optimiser(dtype, *, betas=(0.9, 0.999)):
    torch.manual_seed(0)
    network = CellNetwork([N_STATES + N_SHARED, 16, 16, N_ACTIONS]).to(dtype)
    return network, torch.optim.Adam(network.parameters(), lr=LR, betas=betas, fused=True)


@pytest.fixture(params=["squares", "divergence"])
def minibatches(request):
    """Three of them, in float64."""
    random = torch.Generator().manual_seed(1)

    def minibatch():
        shared = torch.randn(N_ROWS, N_SHARED, generator=random, dtype=torch.float64)
        goal = torch.randn(N_ROWS, N_STATES, N_ACTIONS, generator=random, dtype=torch.float64)
        weight = torch.rand(N_ROWS, N_STATES, N_ACTIONS, generator=random, dtype=torch.float64) / N_ROWS
        if request.param == "squares":
            return Minibatch(shared, WeightedSquares(goal, weight))
        return Minibatch(shared, DivergenceFromGoal(goal.log_softmax(-1), weight[..., 0]))

    return [minibatch() for _ in range(3)]


def to(minibatches, dtype):
    return [Minibatch(m.shared.to(dtype), type(m.loss)(*(t.to(dtype) for t in m.loss))) for m in minibatches]


def by_autograd(network, optimiser, minibatches, *, steps, grad_norm_clip):
    def loss(step):
        shared, loss = minibatches[step % len(minibatches)]
        return loss.value(network(shared))

    settings = {"steps": steps, "grad_norm_clip": grad_norm_clip, "falling_from": LR}
    return descend(loss, optimiser, **settings)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.99)])
@pytest.mark.parametrize("clip", [10.0, 0.05])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_a_fit_is_that_of_autograd(minibatches, dtype, within, clip, betas):
    # float32: what rounding becomes in 160 steps of Adam, beside parameters of order 1
    given = to(minibatches, dtype)
    reference, torchs = network_and_optimiser(dtype, betas=betas)
    network, optimiser = network_and_optimiser(dtype, betas=betas)
    for steps in (100, 60):  # the second fit goes on from the state that the first left
        expected = by_autograd(reference, torchs, given, steps=steps, grad_norm_clip=clip)
        found = fit_cells(network, optimiser, given, n_states=N_STATES, steps=steps, grad_norm_clip=clip)
        assert found == pytest.approx(expected, rel=10 * within)
    for p, q in zip(network.parameters(), reference.parameters(), strict=True):
        assert (p - q).abs().max() < within
        assert torch.allclose(optimiser.state[p]["exp_avg"], torchs.state[q]["exp_avg"], atol=within)
        assert optimiser.state[p]["step"] == torchs.state[q]["step"] == 160
    assert expected < 0.5 * minibatches[0].loss.value(torch.zeros(N_ROWS, N_STATES, N_ACTIONS)).item()


def test_the_loss_is_that_before_the_last_step(minibatches):
    network, optimiser = network_and_optimiser(torch.float64)
    settings = {"n_states": N_STATES, "grad_norm_clip": 10.0}
    first = fit_cells(network, optimiser, minibatches, steps=1, **settings)
    loss = minibatches[0].loss
    assert first == pytest.approx(loss.value(torch.zeros(N_ROWS, N_STATES, N_ACTIONS)).item())
    before = loss.value(network(minibatches[0].shared)).item()
    assert fit_cells(network, optimiser, minibatches, steps=1, **settings) == pytest.approx(before)
    assert before < first


def test_minibatches_are_taken_in_turn(minibatches):
    a, b, c = minibatches
    found = []
    for given in (minibatches, [a, b, c, a, b, c, a], [a]):
        network, optimiser = network_and_optimiser(torch.float64)
        fit_cells(network, optimiser, given, n_states=N_STATES, steps=7, grad_norm_clip=10.0)
        found.append(torch.nn.utils.parameters_to_vector(network.parameters()))
    assert torch.equal(found[0], found[1])
    assert (found[0] - found[2]).abs().max() > 1e-3


@pytest.mark.parametrize("minibatches", ["squares"], indirect=True)
def test_the_rate_falls_within_a_fit_and_is_the_optimisers_at_the_next(minibatches):
    # a gradient that never changes makes Adam's step its rate: 1 + 1/2 of it in a fit of two steps
    shared, loss = minibatches[0]
    network, optimiser = network_and_optimiser(torch.float64)
    far = Minibatch(shared, WeightedSquares(torch.full_like(loss.goal, 1e9), loss.weight))
    for expected in (1.5 * LR, 3.0 * LR):
        fit_cells(network, optimiser, [far], n_states=N_STATES, steps=2, grad_norm_clip=1e30)
        assert torch.allclose(network[-1].bias, torch.tensor(expected, dtype=torch.float64), rtol=1e-6)
    assert optimiser.param_groups[0]["lr"] == LR


def test_an_optimiser_of_others_is_refused(minibatches):
    network, _ = network_and_optimiser(torch.float64)
    _, optimiser = network_and_optimiser(torch.float64)
    with pytest.raises(AssertionError):
        fit_cells(network, optimiser, minibatches, n_states=N_STATES, steps=1, grad_norm_clip=1.0)


@pytest.mark.parametrize("minibatches", ["squares"], indirect=True)
def test_numbers_that_are_none_are_told(minibatches):
    shared, loss = minibatches[0]
    network, optimiser = network_and_optimiser(torch.float64)
    broken = [Minibatch(shared * torch.nan, loss)]
    value = fit_cells(network, optimiser, broken, n_states=N_STATES, steps=2, grad_norm_clip=1.0)
    assert math.isnan(value)
