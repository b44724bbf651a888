"""The passes by hand, against autograd."""

import pytest
import torch

from mf_pmd.modules.cell_gradients import CellGradients, layers_of
from mf_pmd.modules.features import CellNetwork

N_STATES, N_SHARED = 3, 6


@pytest.fixture(params=[[4], [5, 7], [8, 8, 4]], ids=str)
def network(request):
    """Of one, two and three hidden layers, parameters of order 1 in float64."""
    torch.manual_seed(0)
    made = CellNetwork([N_STATES + N_SHARED, *request.param, 2]).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return made


def passes_of(network, n_rows):
    vector = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    sizes = [linear[0].in_features, *(layer.out_features for layer in linear)]
    return CellGradients(vector, sizes, n_states=N_STATES, n_rows=n_rows)


def test_layers_are_views_of_the_vector():
    vector = torch.arange(3 * 2 + 2 + 2 * 1 + 1.0)
    first, last = layers_of(vector, [3, 2, 1])
    assert first.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert first.bias.tolist() == [6, 7]
    assert last.weight.tolist() == [[8, 9]]
    vector[10] = -1
    assert last.bias.tolist() == [-1]
    with pytest.raises(AssertionError):
        layers_of(vector[1:], [3, 2, 1])


def test_outputs_and_gradients_are_those_of_autograd(network):
    random = torch.Generator().manual_seed(1)
    passes = passes_of(network, 4)
    for _ in range(3):  # nothing is left in memory of the minibatch before
        shared = torch.randn(4, N_SHARED, generator=random, dtype=torch.float64)
        error = torch.randn(4, N_STATES, 2, generator=random, dtype=torch.float64)
        outputs = network(shared)
        found = passes.forward(shared)
        assert (found - outputs).abs().max() < 1e-12
        gradients = torch.autograd.grad((outputs * error).sum(), list(network.parameters()))
        expected = torch.cat([gradient.flatten() for gradient in gradients])
        assert (passes.backward(shared, error) - expected).abs().max() < 1e-10
        assert all(gradient.abs().max() > 0.1 for gradient in gradients)


def test_parameters_are_read_at_every_call(network):
    passes = passes_of(network, 1)
    shared = torch.ones(1, N_SHARED, dtype=torch.float64)
    before = passes.forward(shared).clone()
    passes.layers[-1].bias.add_(1.0)
    assert torch.allclose(passes.forward(shared), before + 1)


def test_single_precision_is_near(network):
    single = CellNetwork([layer.in_features for layer in network if isinstance(layer, torch.nn.Linear)] + [2])
    single.load_state_dict(network.state_dict())
    passes = passes_of(single, 4)
    shared = torch.randn(4, N_SHARED, generator=torch.Generator().manual_seed(2))
    assert (passes.forward(shared) - network(shared.double())).abs().max() < 1e-5
    error = torch.ones(4, N_STATES, 2)
    gradients = torch.autograd.grad(network(shared.double()).sum(), list(network.parameters()))
    expected = torch.cat([gradient.flatten() for gradient in gradients])
    assert ((passes.backward(shared, error) - expected).abs() < 1e-5 * (1 + expected.abs())).all()
