"""Best response against a fixed flow, by backward induction."""

from typing import NamedTuple

import torch
from torch import Tensor


class BestResponse(NamedTuple):
    """Attributes:
    value: optimal value at step 0 of every state, [..., S].
    actions: a greedy action of every step and state, [..., H, S] int64.
    """

    value: Tensor
    actions: Tensor


def best_response(transition: Tensor, reward: Tensor) -> BestResponse:
    """Backward induction: V_h(s) = max_a R_h(s, a) + sum_s' P_h(s' | s, a) V_{h+1}(s'), V_H = 0.

    Args:
        transition: [..., H, S, A, S], as many problems as there are batch dimensions for.
        reward: [..., H, S, A], reward units a step.

    Returns:
        The optimal values at h = 0 (reward units summed over the horizon) and greedy actions;
        ties go to the lowest action.
    """
    *batch, horizon, n_states, _ = reward.shape
    value = reward.new_zeros(*batch, n_states)
    actions = torch.zeros(*batch, horizon, n_states, dtype=torch.long, device=reward.device)
    for h in reversed(range(horizon)):
        ahead = torch.einsum("...sat,...t->...sa", transition[..., h, :, :, :], value)
        value, actions[..., h, :] = (reward[..., h, :, :] + ahead).max(-1)
    return BestResponse(value, actions)
