"""The simulated GPU refuses what CUDA refuses, and tells what the host waits for."""

import pytest
import torch

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that is there is not simulated")
WAITS = {
    "a number": lambda x: x.sum().item(),
    "a truth": lambda x: bool((x > 0).all()),
    "a list": lambda x: x.tolist(),
    "a copy of it": lambda x: x.cpu(),
    "a copy to it": lambda x: torch.ones(4).to(x.device),
    "a list to it": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "a number to it": lambda x: torch.tensor(3, device=x.device),
    "where": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "a place that is not there": lambda x: x[torch.tensor([0, 1])],
    "a number written to a place": lambda x: x.__setitem__(
        torch.zeros(1, dtype=torch.int64, device=x.device), 5.0
    ),
    "a number written to one entry": lambda x: x.__setitem__(0, 5.0),
    "values that occur": lambda x: x.unique(),
    "how often": lambda x: x.long().bincount(minlength=4),
    "repeats": lambda x: x.repeat_interleave(torch.ones(4, dtype=torch.int64, device=x.device)),
    "equal": lambda x: torch.equal(x, x),
    "in inference mode": lambda x: torch.inference_mode()(lambda: x.sum().item())(),
    "a draw that is checked": lambda x: torch.multinomial(x, 1),
}
DOES_NOT = {
    "constants": lambda x: (torch.zeros(3, device=x.device), torch.full((), 3, device=x.device)),
    "a choice": lambda x: torch.where(x > 0, x, 1.0),
    "a masked number": lambda x: x.__setitem__(x > 2, 5.0),
    "a slice written to": lambda x: x.__setitem__(slice(0, 2), 5.0),
    "a place that is there": lambda x: x[torch.zeros(2, dtype=torch.int64, device=x.device)],
    "sums at places": lambda x: torch.zeros_like(x).index_add_(0, torch.arange(4, device=x.device), x),
    "draws": lambda x: (torch.rand(3, device=x.device), torch.randperm(3, device=x.device)),
    "known classes": lambda x: torch.nn.functional.one_hot(x.long(), 9),
    "a scalar of the host": lambda x: x * torch.tensor(2.0),
    "a sorted search": lambda x: torch.searchsorted(x, x),
    "binomials": lambda x: torch.binomial(x, x / 10),
}  # fmt: skip
REFUSED = {
    "a sum of both": lambda x: x + torch.ones(4),
    "both side by side": lambda x: torch.cat([x, torch.ones(1)]),
    "a table that is not there": lambda x: torch.ones(4)[x.long() - 1],
    "values that are not there": lambda x: x.__setitem__(x.long()[:2] - 1, torch.ones(2)),
    "products of integers": lambda x: x.long().view(2, 2) @ x.long().view(2, 2),
    "a generator that is not there": lambda x: torch.rand(2, device=x.device, generator=torch.Generator()),
}


@pytest.fixture
def numbers(gpu):
    return torch.arange(1, 5, device="cuda").float()


@pytest.mark.parametrize("what", WAITS)
def test_it_tells_what_the_host_waits_for(gpu, numbers, what):
    WAITS[what](numbers)
    with gpu.no_waiting(), pytest.raises(RuntimeError):
        WAITS[what](numbers)


@pytest.mark.parametrize("what", DOES_NOT)
def test_what_needs_no_waiting_is_let_pass(gpu, numbers, what):
    with gpu.no_waiting():
        DOES_NOT[what](numbers)


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses_what_cuda_refuses(numbers, what):
    with pytest.raises(RuntimeError):
        REFUSED[what](numbers)


def test_it_computes(gpu):
    layer = torch.nn.Linear(2, 1)
    expected = layer(torch.ones(3, 2)).detach()
    weight = layer.weight
    layer.cuda()
    assert layer.weight is weight  # as optimisers need it
    assert layer.weight.device.type == "cuda"
    found = layer(torch.ones(3, 2, device="cuda"))
    assert found.is_cuda
    torch.testing.assert_close(found.detach().cpu(), expected)
    written = torch.zeros(2, 3, device="cuda")
    written[1].copy_(torch.ones(3, device="cuda"))
    assert written.tolist() == [[0.0] * 3, [1.0] * 3]
