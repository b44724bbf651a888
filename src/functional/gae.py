"""Generalised advantage estimation, for episodes of unequal length and agents that come and go.

J. Schulman, P. Moritz, S. Levine, M. Jordan, P. Abbeel, "High-Dimensional Continuous Control Using
Generalized Advantage Estimation", ICLR 2016 (arXiv 1506.02438).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Advantages(NamedTuple):
    """Attributes:
    advantages: A_t, [B, T, J] in reward units; 0 on steps that do not count.
    returns: A_t + V(s_t), what the critic is to learn, [B, T, J] in reward units; 0 likewise.
    """

    advantages: Tensor
    returns: Tensor


def generalised_advantages(
    rewards: Tensor, values: Tensor, counts: Tensor, terminated: Tensor, *, gamma: float, lam: float
) -> Advantages:
    """A_t = sum_k (gamma lam)^k delta_{t+k}, delta_t = r_t + gamma V(s_{t+1}) - V(s_t) (ICLR 2016, Eq. 16).

    The sum ends with the agent's episode. After a step that terminated it nothing follows; one that was cut
    short is worth V of the observation it was cut at. ``lam`` 0 gives the TD error, 1 the return less V.

    Args:
        rewards: [B, T, J].
        values: V of the observations, [B, T + 1, J] in reward units; that after the last step of an episode
            cut short is read, so give 0 there to an agent that is no longer there.
        counts: the steps that were taken, [B, T, J] bool.
        terminated: steps that ended an episode for good, [B, T, 1 or J].
        gamma: discount of a step, in [0, 1].
        lam: lambda, in [0, 1].
    """
    horizon = rewards.shape[1]
    assert values.shape == (rewards.shape[0], horizon + 1, rewards.shape[2]), (values.shape, rewards.shape)
    assert counts.shape == rewards.shape, (counts.shape, rewards.shape)
    discount = gamma * (1 - terminated.to(rewards.dtype))  # [B, T, 1 or J]
    delta = rewards + discount * values[:, 1:] - values[:, :-1]
    following = torch.zeros_like(rewards[:, 0])  # A of the next step, 0 where it does not count
    advantages: list[Tensor] = []
    for t in reversed(range(horizon)):
        following = torch.where(counts[:, t], delta[:, t] + lam * discount[:, t] * following, 0.0)
        advantages.append(following)
    stacked = torch.stack(advantages[::-1], 1)
    return Advantages(stacked, torch.where(counts, stacked + values[:, :-1], 0.0))
