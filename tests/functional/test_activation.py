"""The fast form of the tanh."""

import torch

from mf_pmd.functional.activation import tanh_, tanh_of_half_


def test_it_is_the_tanh():
    values = torch.cat([torch.linspace(-100, 100, 4001), torch.logspace(-8, 0, 100)])
    assert (tanh_(values.clone()) - values.double().tanh()).abs().max() < 2e-7
    assert torch.equal(tanh_(torch.tensor([0.0, -200.0, 200.0])), torch.tensor([0.0, -1.0, 1.0]))


def test_its_gradient_is_the_tanh_s():
    values = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    found, expected = (torch.autograd.grad(f(values * 1).sum(), values)[0] for f in (tanh_, torch.tanh))
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradgradcheck(lambda x: tanh_(x * 1), values[:5].detach().requires_grad_())


def test_of_what_was_doubled_before():
    values = torch.linspace(-100, 100, 4001)
    doubled = 2 * values
    assert tanh_of_half_(doubled) is doubled
    assert torch.equal(doubled, tanh_(values.clone()))
