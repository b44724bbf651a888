"""What networks see, by hand."""

import pytest
import torch

from mf_pmd.modules.features import CellNetwork, cell_features, feature_size, mlp, step_features


def test_features_by_hand():
    population = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])  # [1, K = 2, S = 2]
    features = cell_features(population, torch.tensor([0, 2]), n_states=2, horizon=4)
    assert features.shape == (1, 2, 2, feature_size(2, 4, population=True))
    # one-hot state, one-hot h, h / H, population
    assert features[0, 0, 1].tolist() == [0, 1, 1, 0, 0, 0, 0.0, 0.25, 0.75]
    assert features[0, 1, 0].tolist() == [1, 0, 0, 0, 1, 0, 0.5, 0.5, 0.5]
    without = cell_features(None, torch.tensor([0, 2]), n_states=2, horizon=4)
    assert without.shape == (2, 2, feature_size(2, 4, population=False))
    assert torch.equal(without, features[0, ..., :7])


@pytest.mark.parametrize("sizes", [[3, 2], [3, 5, 2], [7, 8, 8, 4]])
def test_a_network_starts_at_zero_and_can_leave_it(sizes):
    torch.manual_seed(0)
    network = mlp(sizes)
    inputs = torch.randn(6, sizes[0])
    assert torch.equal(network(inputs), torch.zeros(6, sizes[-1]))
    network(inputs).square().sum().backward()
    (network(inputs) - 1).square().sum().backward()
    last = network[-1]
    assert isinstance(last, torch.nn.Linear)
    assert last.weight.grad.abs().sum() > 0
    if len(sizes) > 2:
        assert network[0].weight.abs().sum() > 0


@pytest.mark.parametrize("population", [True, False])
def test_a_network_of_cells_is_the_network_of_their_features(population):
    sizes = {"n_states": 5, "horizon": 4}
    nu, steps = torch.rand(3, 4, 5).softmax(-1) if population else None, torch.arange(4)
    network = CellNetwork([feature_size(5, 4, population=population), 7, 7, 2])
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    values = network(step_features(nu, steps, horizon=4))
    whole = torch.nn.Sequential(*network)
    expected = whole(cell_features(nu, steps, **sizes))
    assert values.shape == ((3, 4, 5, 2) if population else (4, 5, 2))
    assert torch.allclose(values, expected, atol=1e-6)
    gradients = [
        torch.autograd.grad(out.square().sum(), list(network.parameters())) for out in (values, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
        assert one.abs().sum() > 0
