"""Generalised advantages: closed forms, and the defining sum by brute force."""

import pytest
import torch

from mf_pmd.functional.gae import generalised_advantages
from mf_pmd.functional.masks import counted_steps

B, T, J = 3, 5, 2


def random_batch(seed):
    """Rewards, values, the mask and the ends of a batch: episode 0 whole, 1 terminated early, 2 cut short."""
    random = torch.Generator().manual_seed(seed)
    rewards, values = (torch.randn(B, t, J, generator=random, dtype=torch.float64) for t in (T, T + 1))
    filled, terminated = torch.ones(B, T + 1), torch.zeros(B, T + 1)
    terminated[0, T - 1] = 1
    filled[1, 4:], terminated[1, 2] = 0, 1  # three steps, and the observation after them
    filled[2, 3:] = 0  # two steps, and the observation that they were cut short at
    counts = counted_steps(filled, terminated).unsqueeze(-1).expand(B, T, J)
    return rewards, values, counts, terminated[:, :-1].unsqueeze(-1)


def by_definition(rewards, values, lengths, cut, gamma, lam):
    """The sum of discounted TD errors, written out step by step."""
    advantages = torch.zeros_like(rewards)
    for b, length in enumerate(lengths):
        for t in range(length):
            for k in range(t, length):
                last = k == length - 1 and not cut[b]
                following = 0 if last else gamma * values[b, k + 1]
                delta = rewards[b, k] + following - values[b, k]
                advantages[b, t] += (gamma * lam) ** (k - t) * delta
    return advantages


def test_the_steps_of_episodes_of_unequal_length():
    _, _, counts, _ = random_batch(0)
    expected = [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]
    assert counts[..., 0].int().tolist() == expected


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.9, 0.0), (0.97, 0.6), (1.0, 0.95)])
def test_it_is_the_sum_of_discounted_errors(seed, gamma, lam):
    rewards, values, counts, terminated = random_batch(seed)
    found = generalised_advantages(rewards, values, counts, terminated, gamma=gamma, lam=lam)
    expected = by_definition(rewards, values, (5, 3, 2), (False, False, True), gamma, lam)
    torch.testing.assert_close(found.advantages, expected)
    values = torch.where(counts, values[:, :-1], 0.0)
    torch.testing.assert_close(found.returns, expected + values)


def test_lambda_0_is_the_td_error():
    rewards, values, counts, terminated = random_batch(1)
    found = generalised_advantages(rewards, values, counts, terminated, gamma=0.5, lam=0.0).advantages
    assert found[0, 4, 0] == rewards[0, 4, 0] - values[0, 4, 0]  # terminal: nothing follows
    assert found[2, 1, 0] == rewards[2, 1, 0] + 0.5 * values[2, 2, 0] - values[2, 1, 0]  # cut short
    assert found[0, 0, 1] == rewards[0, 0, 1] + 0.5 * values[0, 1, 1] - values[0, 0, 1]


def test_lambda_1_is_the_return_whatever_the_critic_says():
    rewards, values, counts, terminated = random_batch(2)
    found = generalised_advantages(rewards, values, counts, terminated, gamma=1.0, lam=1.0)
    torch.testing.assert_close(found.returns[0, 1], rewards[0, 1:].sum(0))
    torch.testing.assert_close(found.returns[1, 0], rewards[1, :3].sum(0))
    torch.testing.assert_close(found.returns[2, 0], rewards[2, :2].sum(0) + values[2, 2])


def test_a_right_critic_leaves_nothing_to_gain():
    rewards = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1)
    values = torch.tensor([7.0, 6.0, 4.0, 9.0]).reshape(1, 4, 1)  # of the returns to go; the last is not read
    counts, terminated = torch.ones(1, 3, 1, dtype=torch.bool), torch.tensor([0, 0, 1]).reshape(1, 3, 1)
    found = generalised_advantages(rewards, values, counts, terminated, gamma=1.0, lam=0.7)
    assert not found.advantages.any()
    assert found.returns.flatten().tolist() == [7.0, 6.0, 4.0]


def test_an_agent_that_leaves_learns_from_its_own_steps_alone():
    rewards, values, counts, terminated = random_batch(3)
    counts = counts.clone()
    counts[0, 2:, 1] = False  # gone after two steps, as agent 0 stays
    values[0, 2:, 1] = 0.0
    found = generalised_advantages(rewards, values, counts, terminated, gamma=1.0, lam=1.0)
    torch.testing.assert_close(found.returns[0, 0, 1], rewards[0, :2, 1].sum())
    torch.testing.assert_close(found.returns[0, 0, 0], rewards[0, :, 0].sum())
    assert not found.advantages[0, 2:, 1].any()
    assert not found.returns[0, 2:, 1].any()


def test_an_agent_that_is_away_for_a_while_starts_anew():
    rewards, values, counts, terminated = random_batch(4)
    counts = counts.clone()
    counts[0, 2, 0] = False
    values[0, 2, 0] = 0.0
    found = generalised_advantages(rewards, values, counts, terminated, gamma=1.0, lam=1.0).returns
    torch.testing.assert_close(found[0, 0, 0], rewards[0, :2, 0].sum())
    torch.testing.assert_close(found[0, 3, 0], rewards[0, 3:, 0].sum())


def test_what_never_counts_may_hold_anything():
    rewards, values, counts, terminated = random_batch(5)
    rewards, values = rewards.clone(), values.clone()
    expected = generalised_advantages(rewards, values, counts, terminated, gamma=1.0, lam=0.9)
    rewards[1, 3:], values[1, 4:] = torch.nan, torch.inf
    found = generalised_advantages(rewards, values, counts, terminated, gamma=1.0, lam=0.9)
    torch.testing.assert_close(found.advantages, expected.advantages)
    torch.testing.assert_close(found.returns, expected.returns)
