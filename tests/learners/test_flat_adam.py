"""Adam on one vector, against torch's own on the same gradients."""

import pytest
import torch

from mf_pmd.learners.flat_adam import FlatAdam

SETTINGS = {"lr": 0.02, "betas": (0.8, 0.97), "eps": 1e-3}


def layer(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3, dtype=dtype)


def gradients(count, dtype=torch.float64):
    """Of l2 norms from about .04 to about 40."""
    random = torch.Generator().manual_seed(1)
    return [10 ** (k % 4 - 2) * torch.randn(15, generator=random, dtype=dtype) for k in range(count)]


def torch_steps(optimiser, given, *, clip):
    """With torch's own tools."""
    parameters = optimiser.param_groups[0]["params"]
    for gradient in given:
        for p, piece in zip(parameters, gradient.split([12, 3]), strict=True):
            p.grad = piece.view_as(p).clone()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()


def flat_steps(optimiser, given, *, clip):
    adam = FlatAdam(optimiser, grad_norm_clip=clip)
    for gradient in given:
        adam.step(gradient.clone(), lr=optimiser.param_groups[0]["lr"])
    adam.give_back()


def numbers(network, optimiser):
    """Parameters, m, v and k, in one vector."""
    states = [optimiser.state[p] for p in network.parameters()]
    pieces = [*network.parameters(), *(state[key] for state in states for key in sorted(state))]
    return torch.cat([piece.detach().flatten().double() for piece in pieces])


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("clip", [1.0, 1e6])
def test_steps_are_those_of_torch(dtype, within, clip):
    found = []
    for steps in (torch_steps, flat_steps):
        network = layer(dtype)
        optimiser = torch.optim.Adam(network.parameters(), **SETTINGS)
        steps(optimiser, gradients(40, dtype), clip=clip)
        found.append(numbers(network, optimiser))
    assert torch.allclose(*found, rtol=within, atol=within)
    assert (found[0][:12] - layer().weight.detach().flatten()).abs().max() > 0.1


def test_the_first_step_by_hand():
    network = layer()
    before = network.bias.detach().clone()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.5, eps=0.25)
    gradient = torch.zeros(15, dtype=torch.float64)
    gradient[12:] = torch.tensor([3.0, 0.0, -1.0])
    flat_steps(optimiser, [gradient], clip=100.0)
    # m / (1 - beta_1) = g and v / (1 - beta_2) = g^2
    expected = before - 0.5 * torch.tensor([3 / 3.25, 0.0, -1 / 1.25])
    assert torch.allclose(network.bias.detach(), expected, atol=1e-12)
    assert torch.equal(network.weight.detach(), layer().weight.detach())


def test_a_gradient_is_cut_to_its_largest_norm():
    network = layer()
    optimiser = torch.optim.Adam(network.parameters(), lr=1.0)
    gradient = torch.zeros(15, dtype=torch.float64)
    gradient[:2] = torch.tensor([3.0, 4.0])
    flat_steps(optimiser, [gradient], clip=0.5)
    mean = optimiser.state[network.weight]["exp_avg"].flatten()[:2]
    assert torch.allclose(mean, 0.1 * torch.tensor([0.3, 0.4], dtype=torch.float64), rtol=1e-5)


@pytest.mark.parametrize("first", [torch_steps, flat_steps])
@pytest.mark.parametrize("second", [torch_steps, flat_steps])
def test_either_takes_up_what_the_other_left_and_a_file_held(first, second):
    # checkpoints of before, and code of before, know torch's Adam alone
    network, given = layer(), gradients(20)
    optimiser = torch.optim.Adam(network.parameters(), fused=True, **SETTINGS)
    first(optimiser, given[:7], clip=1.0)
    held = optimiser.state_dict()
    other = layer()
    other.load_state_dict(network.state_dict())
    restored = torch.optim.Adam(other.parameters(), fused=True, **SETTINGS)
    restored.load_state_dict(held)
    second(restored, given[7:], clip=1.0)
    whole = layer()
    uninterrupted = torch.optim.Adam(whole.parameters(), **SETTINGS)
    torch_steps(uninterrupted, given, clip=1.0)
    expected = numbers(whole, uninterrupted)
    assert torch.allclose(numbers(other, restored), expected, rtol=1e-12, atol=1e-12)


def test_what_it_cannot_do_is_refused():
    optimiser = torch.optim.Adam(layer().parameters(), weight_decay=0.1)
    with pytest.raises(AssertionError):
        FlatAdam(optimiser, grad_norm_clip=1.0)
