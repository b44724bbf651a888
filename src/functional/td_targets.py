"""Temporal-difference learning of Q^{tau, pi} from cell statistics (Yardim & He 2025, Def. 10, Alg. 1).

Q_h(s, a) sums R + tau Ent(pi_h') from step h on, the entropy of step h included:

    Q_h(s, a) = E[ r + tau Ent(pi_h(. | s)) + Q_{h+1}(s', a') ],   Q_H = 0.

A SARSA target takes Q_{h+1} at the action a' that was played, an expected-SARSA target its mean
under pi_{h+1}(. | s').
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .cells import CellStatistics
from .distributions import entropy


class TDSweep(NamedTuple):
    """Attributes:
    q_values: [B, T, S, A], reward units.
    visited: whether the cell was, [B, T, S, A] bool.
    """

    q_values: Tensor
    visited: Tensor


def next_value(
    statistics: CellStatistics, h: int, q_next: Tensor, policy_next: Tensor, *, expected: bool
) -> Tensor:
    """Mean of the bootstrap value over the visits of every cell at step h.

    Args:
        statistics: of B episodes; ``next_cell`` is read when ``expected`` is false.
        h: the step, at most T - 2 (after the last step the value is 0).
        q_next: Q_{h+1}, [B, S, A].
        policy_next: pi_{h+1}(a | s), [B or 1, S, A].
        expected: expected-SARSA if true, SARSA otherwise.

    Returns:
        [B, S, A]; 0 where the cell was not visited.
    """
    visits = statistics.visits[:, h].clamp(min=1)  # [B, S, A]
    if expected:
        value = (policy_next * q_next).sum(-1)  # [B, S]
        return torch.einsum("bsat,bt->bsa", statistics.next_state[:, h], value) / visits
    assert statistics.next_cell is not None, "SARSA targets need count_next_cells=True"
    return torch.einsum("bsatc,btc->bsa", statistics.next_cell[:, h], q_next) / visits


def sweep_backwards(
    statistics: CellStatistics,
    log_policy: Tensor,
    *,
    tau: float,
    expected: bool = True,
    fallback: Tensor | None = None,
    lam: float = 1.0,
    fill_rows: bool = False,
) -> TDSweep:
    """TD targets of all steps from the last to the first, each from the freshest Q_{h+1}.

    The fixed point of Alg. 1 on the given visits: the TD error of every cell, averaged over its
    visits, is zero. With a ``fallback`` (a critic's values) unvisited cells take it, and the
    bootstrap is lam Q_swept + (1 - lam) Q_fallback, so lam = 1 bootstraps as late as the data
    allow and lam = 0 after one step.

    Args:
        statistics: of B episodes; pool them first for one table shared by all.
        log_policy: log pi, [B or 1, T, S, A].
        tau: weight of the entropy.
        expected: expected-SARSA or SARSA targets.
        fallback: [B, T, S, A] or None for 0.
        lam: in [0, 1]; used with a fallback alone.
        fill_rows: give unvisited cells the mean over the visits of their row, which leaves their action's
            advantage at 0 whatever the rewards' origin; without a fallback alone.

    Returns:
        The targets and where they come from visits; unvisited cells hold the fallback, the mean of their
        row, or 0.
    """
    horizon = statistics.visits.shape[1]
    visited = statistics.visits > 0
    reward = statistics.reward_sum / statistics.visits.clamp(min=1) + tau * entropy(log_policy).unsqueeze(-1)
    policy = log_policy.exp()
    base = torch.zeros_like(reward) if fallback is None else fallback
    q_values: list[Tensor] = []
    bootstrap = None  # Q_{h+1} as seen from step h, [B, S, A]
    for h in reversed(range(horizon)):
        target = reward[:, h]
        if bootstrap is not None:
            target = target + next_value(statistics, h, bootstrap, policy[:, h + 1], expected=expected)
        instead = row_mean(target, statistics.visits[:, h]) if fill_rows else base[:, h]
        swept = torch.where(visited[:, h], target, instead)
        bootstrap = swept if fallback is None else lam * swept + (1 - lam) * base[:, h]
        q_values.append(swept)
    return TDSweep(torch.stack(q_values[::-1], 1), visited)


def row_mean(values: Tensor, visits: Tensor) -> Tensor:
    """Mean of values [..., A] over the visits [..., A] of their row, [..., 1]; 0 where nobody was."""
    return (visits * values).sum(-1, keepdim=True) / visits.sum(-1, keepdim=True).clamp(min=1)


def td_error(
    q_values: Tensor, statistics: CellStatistics, log_policy: Tensor, *, tau: float, expected: bool
) -> Tensor:
    """Mean TD error of every cell over its visits, 0 where there were none.

    r + tau Ent(pi_h) + next value - Q_h(s, a), all h from the same Q (Yardim & He 2025, Alg. 1).

    Args:
        q_values: Q, [T, S, A].
        statistics: of B episodes.
        log_policy: log pi, [T, S, A].
        tau: weight of the entropy.
        expected: expected-SARSA or SARSA targets.

    Returns:
        [B, T, S, A], reward units.
    """
    visits = statistics.visits.clamp(min=1)
    if expected:
        value = (log_policy[1:].exp() * q_values[1:]).sum(-1)  # [T - 1, S]
        following = torch.einsum("bhsat,ht->bhsa", statistics.next_state[:, :-1], value)
    else:
        assert statistics.next_cell is not None, "SARSA targets need count_next_cells=True"
        following = torch.einsum("bhsatc,htc->bhsa", statistics.next_cell[:, :-1], q_values[1:])
    following = torch.cat([following, torch.zeros_like(visits[:, :1])], 1)  # nothing follows the last step
    target = (statistics.reward_sum + following) / visits + tau * entropy(log_policy).unsqueeze(-1)
    return torch.where(statistics.visits > 0, target - q_values, 0.0)


def td_step(
    q_values: Tensor,
    statistics: CellStatistics,
    log_policy: Tensor,
    *,
    tau: float,
    learning_rate: Tensor,
    expected: bool,
) -> Tensor:
    """One update of Alg. 1: Q_h(s, a) += eta x mean TD error of the cell, all h at once from Q^m.

    Args:
        q_values: Q^m, [T, S, A].
        statistics: of one episode, B = 1 (agent 1 alone for the paper's form).
        log_policy: log pi, [T, S, A].
        tau: weight of the entropy.
        learning_rate: eta, [T, S, A].
        expected: expected-SARSA or SARSA targets.

    Returns:
        Q^{m+1} [T, S, A].
    """
    return (
        q_values + learning_rate * td_error(q_values, statistics, log_policy, tau=tau, expected=expected)[0]
    )


def paper_learning_rate(episode: int, delta: float) -> float:
    """eta_m = (2 / delta) / (m + 2 / delta), m = 0, 1, ... (Yardim & He 2025, Alg. 1).

    ``delta`` is the smallest positive probability of a visited (h, s, a), unknown in practice.
    """
    return (2 / delta) / (episode + 2 / delta)


def visit_learning_rate(visits: Tensor) -> Tensor:
    """eta = 2 / (c + 1), c the episodes that visited the cell so far, the current one included."""
    return 2.0 / (visits + 1.0)
