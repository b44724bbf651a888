"""Returns: what critics learn. Steps along axis 1, everything else side by side."""

import torch
from torch import Tensor
from torch.nn import functional as F


def n_step_returns(
    rewards: Tensor, mask: Tensor, values: Tensor, *, gamma: float, n_steps: int, add_value_last_step: bool
) -> Tensor:
    """The sum of `n_steps` discounted rewards, then the value of the state they lead to.

    Equation: ``G_t = sum_{k < n, t+k < T} gamma^k m_{t+k} r_{t+k} + gamma^n m_{t+n} V_{t+n}``, without the
    last term when ``t + n >= T``; there ``gamma^(T-t) m_{T-1} V_T`` takes its place if `add_value_last_step`.

    Args:
        rewards: ``[B, T, N]``.
        mask: ``[B, T, N]``, 1 on the steps of an episode and 0 after its end.
        values: ``[B, T+1, N]``.
        gamma: discount of a step.
        n_steps: rewards in a return, at least 1.
        add_value_last_step: bootstrap from the state after the last step, terminal or not.

    Returns:
        ``[B, T, N]``.
    """
    length = rewards.shape[1]
    assert values.shape[1] == length + 1
    assert mask.shape == rewards.shape
    masked_rewards = F.pad(rewards * mask, (0, 0, 0, n_steps - 1))
    returns = torch.zeros_like(rewards)
    for k in range(n_steps):
        returns += gamma**k * masked_rewards[:, k : k + length]
    bootstrapped = max(length - n_steps, 0)
    inside = gamma**n_steps * (values[:, :length] * mask)[:, n_steps:]
    tail = torch.zeros_like(returns[:, bootstrapped:])
    if add_value_last_step:
        steps_left = torch.arange(length - bootstrapped, 0, -1, device=rewards.device)
        last = values[:, length:] * mask[:, length - 1 :]  # [B, 1, N]
        tail = gamma ** steps_left.view(1, -1, 1) * last
    return returns + torch.cat([inside, tail], dim=1)


def gae_returns(
    rewards: Tensor,
    mask: Tensor,
    values: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
    add_value_last_step: bool,
) -> Tensor:
    """Generalised advantage estimates plus values (Schulman et al., 2016, equation 16).

    Equation: ``A_t = d_t + gamma lambda A_{t+1}``, ``d_t = m_t (r_t + gamma m_{t+1} V_{t+1} - V_t)``, where
    ``m_T`` is ``m_{T-1}`` if `add_value_last_step`, else 0. The rest is as in :func:`n_step_returns`.
    """
    last = mask[:, -1:] if add_value_last_step else torch.zeros_like(mask[:, -1:])
    next_mask = torch.cat([mask[:, 1:], last], dim=1)
    errors = mask * (rewards + gamma * next_mask * values[:, 1:] - values[:, :-1])
    advantages = torch.zeros_like(errors)
    running = torch.zeros_like(errors[:, 0])
    for t in reversed(range(errors.shape[1])):
        running = errors[:, t] + gamma * gae_lambda * running
        advantages[:, t] = running
    return advantages + values[:, :-1]
