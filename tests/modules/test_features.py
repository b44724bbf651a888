"""What networks see, by hand."""

import pytest
import torch

from mf_pmd.modules.features import cell_features, feature_size, mlp


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
