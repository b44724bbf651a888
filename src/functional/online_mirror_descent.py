"""Online mirror descent on the tables of a mean-field game."""

from typing import NamedTuple

import torch
from torch import Tensor

from .mean_field import Flow, MeanFieldModel, mean_field_flow, tabular_policy


class MirrorDescentIterate(NamedTuple):
    """Attributes:
    logits: y_{t+1}, [H, S, A].
    q_values: Q^{pi_t} along the flow of pi_t, [H, S, A], reward units summed over the steps left.
    flow: Lambda(pi_t).
    """

    logits: Tensor
    q_values: Tensor
    flow: Flow


def policy_q_values(flow: Flow) -> Tensor:
    """Q^pi along the flow of pi, by backward induction.

    Q_h(s, a) = R(s, a, mu_h) + sum_s' P(s' | s, a, mu_h) sum_a' pi_{h+1}(a' | s') Q_{h+1}(s', a'), Q_H = 0.

    Returns:
        [H, S, A], reward units summed over the steps left.
    """
    q_values = torch.zeros_like(flow.reward)
    value = torch.zeros_like(flow.reward[0, :, 0])  # [S]
    for h in reversed(range(flow.reward.shape[0])):
        q_values[h] = flow.reward[h] + flow.transition[h] @ value
        value = (flow.policy[h] * q_values[h]).sum(-1)
    return q_values


def online_mirror_descent_step(
    model: MeanFieldModel, logits: Tensor, *, step_size: float
) -> MirrorDescentIterate:
    """y_{t+1} = y_t + step Q^{pi_t},  pi_t = softmax(y_t)  (Perolat et al. 2022, Alg. 1).

    Args:
        model: the game, float64 tables.
        logits: y_t, [H, S, A].
        step_size: > 0; logits per unit of reward.
    """
    flow = mean_field_flow(model, tabular_policy(torch.softmax(logits, -1)))
    q_values = policy_q_values(flow)
    return MirrorDescentIterate(logits + step_size * q_values, q_values, flow)
