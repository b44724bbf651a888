"""Munchausen targets: mirror descent without a sum of Q-tables (Vieillard et al. 2020; Lauriere et al. 2022).

N. Vieillard, O. Pietquin, M. Geist, "Munchausen Reinforcement Learning", NeurIPS 2020; M. Lauriere et al.,
"Scalable Deep Reinforcement Learning Algorithms for Mean Field Games", ICML 2022 (D-MOMD).
"""

import torch
from torch import Tensor

from .cells import CellStatistics
from .td_targets import TDSweep


def soft_value(q_values: Tensor, log_policy: Tensor, *, tau: float) -> Tensor:
    """sum_a pi(a | s) [Q(s, a) - tau log pi(a | s)]: Q, log pi [..., S, A] -> [..., S].

    An action of probability zero (log-probability -inf) contributes 0.
    """
    policy = log_policy.exp()
    return torch.where(policy > 0, policy * (q_values - tau * log_policy), 0.0).sum(-1)


def munchausen_sweep(
    statistics: CellStatistics, log_policy: Tensor, fallback: Tensor, *, tau: float, weight: float
) -> TDSweep:
    """Targets of all steps from the last to the first, each from the freshest Q_{h+1}.

    Q_h(s, a) = r + weight tau log pi_h(a | s)
                  + sum_a' pi_{h+1}(a' | s') [Q_{h+1}(s', a') - tau log pi_{h+1}(a' | s')],

    averaged over the visits of a cell, Q_H = 0: with pi = softmax(Q_old / tau) the policy of the previous
    outer iteration. It is the fixed point, on these visits, of the regression with a target network. Put
    q = Q - weight tau log pi: then q is Q^pi with entropy weight (1 - weight) tau, but for
    a constant in a, and softmax(Q / tau) is proportional to pi^weight exp(q / tau), the mirror-descent step
    of size 1 / tau.

    Args:
        statistics: of B episodes; pool them first for one table shared by all.
        log_policy: log pi of the previous outer iteration, [B or 1, T, S, A].
        fallback: Q of the cells that nobody visited, [B or 1, T, S, A].
        tau: temperature, > 0, reward units.
        weight: of the Munchausen term, in [0, 1]; 1 is mirror descent without entropy.

    Returns:
        The targets and where they come from visits; unvisited cells hold the fallback.
    """
    visited = statistics.visits > 0
    visits = statistics.visits.clamp(min=1)
    reward = statistics.reward_sum / visits + weight * tau * log_policy
    q_values: list[Tensor] = []
    for h in reversed(range(visits.shape[1])):
        target = reward[:, h]
        if q_values:
            value = soft_value(q_values[-1], log_policy[:, h + 1], tau=tau)  # [B, S]
            reached = statistics.value_reached(value.unsqueeze(1), slice(h, h + 1))[:, 0]
            target = target + reached / visits[:, h]
        q_values.append(torch.where(visited[:, h], target, fallback[:, h]))
    return TDSweep(torch.stack(q_values[::-1], 1), visited)
