"""Mixers: VDN is a sum, QMIX is monotone and reaches payoffs that no sum does."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mf_pmd.host.modules.mixers import REGISTRY, QMixer

SETTINGS = {
    "n_agents": 3,
    "state_shape": 2,
    "mixing_embed_dim": 4,
    "hypernet_layers": 2,
    "hypernet_embed": 8,
    "reward_scalarisation": "sum",
}


def args(**changes):
    return SimpleNamespace(**{**SETTINGS, **changes})


def test_vdn_sums_or_averages_as_the_reward_does():
    values = torch.tensor([[[1.0, 2.0, 6.0], [0.0, -3.0, 0.0]]])
    states = torch.randn(1, 2, 2)
    assert REGISTRY["vdn"](args())(values, states).tolist() == [[[9.0], [-3.0]]]
    mean = REGISTRY["vdn"](args(reward_scalarisation="mean"))(values, states)
    torch.testing.assert_close(mean, torch.tensor([[[3.0], [-1.0]]]))


@given(
    seed=st.integers(0, 10**6),
    layers=st.sampled_from([1, 2]),
    scalarisation=st.sampled_from(["sum", "mean"]),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_qmix_falls_with_no_agents_value(seed, layers, scalarisation, scale):
    torch.manual_seed(seed)
    mixer = QMixer(args(hypernet_layers=layers, reward_scalarisation=scalarisation)).double()
    values = (scale * torch.randn(5, 6, 3, dtype=torch.double)).requires_grad_()
    states = scale * torch.randn(5, 6, 2, dtype=torch.double)
    total = mixer(values, states)
    assert total.shape == (5, 6, 1)
    (slopes,) = torch.autograd.grad(total.sum(), values)
    assert (slopes >= 0).all()
    assert slopes.max() > 0


def test_qmix_by_hand():
    """One unit, a linear hypernetwork of a state of one number."""
    mixer = QMixer(args(n_agents=2, state_shape=1, mixing_embed_dim=1, hypernet_layers=1))
    with torch.no_grad():
        for network, weight, bias in (
            (mixer.hyper_w_1, [[1.0], [-3.0]], [0.0, 1.0]),
            (mixer.hyper_w_2, [[-1.0]], [0.0]),
            (mixer.hyper_b_1, [[0.5]], [0.0]),
        ):
            network.weight.copy_(torch.tensor(weight))
            network.bias.copy_(torch.tensor(bias))
        mixer.state_value[0].weight.fill_(1.0)
        mixer.state_value[0].bias.fill_(0.0)
        mixer.state_value[2].weight.fill_(10.0)
        mixer.state_value[2].bias.fill_(1.0)
    # s = 2: w_1 = |2|, |-6 + 1|; b_1 = 1; w_2 = |-2|; v = 10 * 2 + 1
    states = torch.full((1, 2, 1), 2.0)
    values = torch.tensor([[[1.0, 1.0], [-1.0, 0.0]]])
    below = torch.tensor(-2.0 + 1.0)
    expected = torch.stack([torch.tensor(2 * 8.0 + 21), 2 * F.elu(below) + 21]).view(1, 2, 1)
    torch.testing.assert_close(mixer(values, states), expected)


def test_the_weights_of_qmix_come_from_the_state():
    mixer = QMixer(args())
    values = torch.randn(1, 2, 3)
    one, two = torch.randn(1, 2, 2), torch.randn(1, 2, 2)
    slopes = []
    for states in (one, two):
        free = values.clone().requires_grad_()
        slopes.append(torch.autograd.grad(mixer(free, states).sum(), free)[0])
    assert not torch.allclose(slopes[0], slopes[1])


def fitted(mixer, payoff):
    """Largest error of a mixer and free action values of two agents, fitted to a payoff ``[2, 2]``."""
    values = torch.nn.Parameter(0.1 * torch.randn(2, 2))  # [N, A]
    optimiser = torch.optim.Adam([values, *mixer.parameters()], lr=0.05)
    first, second = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    states = torch.zeros(1, 4, 2)
    for _ in range(400):
        taken = torch.stack([values[0, first], values[1, second]], dim=-1).unsqueeze(0)  # [1, 4, 2]
        errors = mixer(taken, states).squeeze() - payoff.flatten()
        optimiser.zero_grad()
        errors.square().mean().backward()
        optimiser.step()
    return errors.abs().max().item()


@pytest.mark.parametrize("seed", [0, 1])
def test_qmix_reaches_a_monotone_payoff_that_no_sum_reaches(seed):
    """The payoff of the two-step game of Rashid et al., 2018; a sum is 6/4 off everywhere."""
    torch.manual_seed(seed)
    payoff = torch.tensor([[0.0, 1.0], [1.0, 8.0]])
    assert fitted(QMixer(args(n_agents=2, mixing_embed_dim=8)), payoff) < 0.1
    assert fitted(REGISTRY["vdn"](args(n_agents=2)), payoff) == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize(("scalarisation", "alive"), [("mean", True), ("sum", False)])
def test_a_thousand_agents_saturate_a_sum_and_not_a_mean(scalarisation, alive):
    """The largest slope of the team's value, in units of an agent's share, over twenty drawn mixers."""
    steepest = []
    for seed in range(20):
        torch.manual_seed(seed)
        mixer = QMixer(args(n_agents=1000, mixing_embed_dim=8, reward_scalarisation=scalarisation))
        values = (0.2 * torch.randn(1) * torch.ones(1, 1, 1000)).requires_grad_()  # agents that see alike
        (slopes,) = torch.autograd.grad(mixer(values, torch.rand(1, 1, 2)).sum(), values)
        steepest.append(slopes.max().item() / mixer.share)
    assert (min(steepest) > 0.1) == alive
    assert alive or min(steepest) < 1e-3


@pytest.mark.parametrize("name", list(REGISTRY))
def test_mixers_grow_linearly_in_the_agents(name):
    small, large = (
        sum(p.numel() for p in REGISTRY[name](args(n_agents=n)).parameters()) for n in (100, 1000)
    )
    assert large <= 10 * small


@pytest.mark.parametrize("name", list(REGISTRY))
def test_the_form_of_a_mixer_is_made_of_settings(name):
    assert set(REGISTRY[name].form) <= set(SETTINGS)
