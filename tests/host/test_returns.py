"""Returns against the definition, and running statistics against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.host.components.running_mean_std import RunningMeanStd
from mf_pmd.host.utils.returns import gae_returns, n_step_returns

GAMMA = 0.9


def example(length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards and mask ``[4, T, 2]``, values ``[4, T+1, 2]``; the episodes end at different steps."""
    torch.manual_seed(seed)
    ends = torch.randint(1, length + 1, (4, 1, 1))
    mask = (torch.arange(length).view(1, -1, 1) < ends).float().expand(-1, -1, 2)
    return torch.rand(4, length, 2), mask, torch.rand(4, length + 1, 2)


def naive_return(rewards, mask, values, *, t, n_steps, bootstrap):
    """One return ``[B, N]``, reward by reward."""
    length = rewards.shape[1]
    total = torch.zeros_like(rewards[:, 0])
    for k in range(n_steps):
        if t + k == length:
            return total + bootstrap * GAMMA**k * values[:, length] * mask[:, length - 1]
        total = total + GAMMA**k * rewards[:, t + k] * mask[:, t + k]
    if t + n_steps < length:
        return total + GAMMA**n_steps * values[:, t + n_steps] * mask[:, t + n_steps]
    return total + bootstrap * GAMMA**n_steps * values[:, length] * mask[:, length - 1]


@settings(max_examples=60, deadline=None)
@given(length=st.integers(1, 7), n_steps=st.integers(1, 9), bootstrap=st.booleans(), seed=st.integers(0, 99))
def test_n_step_returns_are_those_of_the_definition(length, n_steps, bootstrap, seed):
    rewards, mask, values = example(length, seed)
    returns = n_step_returns(
        rewards, mask, values, gamma=GAMMA, n_steps=n_steps, add_value_last_step=bootstrap
    )
    for t in range(length):
        expected = naive_return(rewards, mask, values, t=t, n_steps=n_steps, bootstrap=bootstrap)
        torch.testing.assert_close(returns[:, t], expected)


def test_n_step_returns_by_hand():
    rewards = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1)
    values = torch.tensor([9.0, 10.0, 20.0, 30.0]).view(1, 4, 1)
    mask = torch.ones(1, 3, 1)
    call = {"gamma": 0.5, "n_steps": 2}
    with_last = n_step_returns(rewards, mask, values, add_value_last_step=True, **call)
    without = n_step_returns(rewards, mask, values, add_value_last_step=False, **call)
    assert with_last.flatten().tolist() == [1 + 1 + 0.25 * 20, 2 + 2 + 0.25 * 30, 4 + 0.5 * 30]
    assert without.flatten().tolist() == [1 + 1 + 0.25 * 20, 4, 4]


@pytest.mark.parametrize("bootstrap", [True, False])
def test_gae_is_one_step_at_lambda_zero_and_the_whole_sum_at_one(bootstrap):
    rewards, mask, values = example(6, seed=3)
    call = {"gamma": GAMMA, "add_value_last_step": bootstrap}
    inside = mask > 0
    for gae_lambda, n_steps in ((0.0, 1), (1.0, 7)):
        gae = gae_returns(rewards, mask, values, gae_lambda=gae_lambda, **call)
        n_step = n_step_returns(rewards, mask, values, n_steps=n_steps, **call)
        torch.testing.assert_close(gae[inside], n_step[inside])


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_running_statistics_are_those_of_everything_seen(sizes, seed):
    rng = np.random.default_rng(seed)
    blocks = [rng.normal(3, 2, (size, 2)) for size in sizes]
    stats = RunningMeanStd(epsilon=1e-8, shape=(2,))
    for block in blocks:
        stats.update(torch.tensor(block, dtype=torch.float32))
    seen = np.concatenate(blocks)
    np.testing.assert_allclose(stats.mean, seen.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(stats.var, seen.var(axis=0), rtol=1e-3, atol=1e-4)


def test_standardising_and_back():
    stats = RunningMeanStd(shape=(2,))
    stats.update(torch.tensor([[1.0, 5.0], [3.0, 9.0]]))
    values = torch.tensor([[2.0, 4.0]])
    torch.testing.assert_close(stats.restore_units(stats.standardise(values)), values)
    stats.update(torch.zeros(0, 2))
    assert stats.count == pytest.approx(2 + 1e-4)


def test_statistics_of_another_number_of_agents_are_pooled():
    source, target = RunningMeanStd(shape=(2,)), RunningMeanStd(shape=(3,))
    source.mean, source.var, source.count = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), 10.0
    target.load_state_dict(source.state_dict())
    assert target.mean.tolist() == [2, 2, 2]
    assert target.var.tolist() == [4, 4, 4]
