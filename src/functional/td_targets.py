"""Temporal-difference learning of Q^{tau, pi} from cell statistics (Yardim & He 2025, Def. 10, Alg. 1).

Q_h(s, a) sums R + tau Ent(pi_h') from step h on, the entropy of step h included:

    Q_h(s, a) = E[ r + tau Ent(pi_h(. | s)) + Q_{h+1}(s', a') ],   Q_H = 0.

A SARSA target takes Q_{h+1} at the action a' that was played, an expected-SARSA target its mean
under pi_{h+1}(. | s').
"""

from collections.abc import Callable
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
    visits, lam = statistics.visits, 1.0 if fallback is None else lam
    visited, mass = visits > 0, visits.clamp(min=1)
    complete = bool(visited.all())  # as usual among many agents: nothing is to be filled in
    reward = statistics.reward_sum / mass
    if tau:
        reward = reward + tau * entropy(log_policy).unsqueeze(-1)
    base = reward.new_zeros(()).expand(reward.shape) if fallback is None else fallback

    def swept(target: Tensor, at: int | slice) -> Tensor:
        if complete:
            return target
        instead = row_mean(target, visits[:, at]) if fill_rows else base[:, at]
        return torch.where(visited[:, at], target, instead)

    if not expected:

        def bootstrap(h: int, after: Tensor) -> Tensor:
            target = swept(reward[:, h] + after, h)
            return target if lam == 1 else lam * target + (1 - lam) * base[:, h]

        return TDSweep(swept(reward + after_cells(statistics, bootstrap), slice(None)), visited)
    # V_h(s) = offset_h(s) + sum_a kept_h(s, a) x (mean of V_{h+1}(s') over the visits of (h, s, a)): from one
    # step to the one before it goes V alone, and all the rest is computed for all steps at once
    policy = kept = log_policy.exp()
    unswept = None
    if lam < 1 or not complete:
        kept = lam * policy * visited
        others = policy - kept  # goes to the fallback or, where rows are filled, to the row's mean target
        unswept = (others * base).sum(-1)
        if fill_rows:
            kept = kept + others.sum(-1, keepdim=True) * row_shares(visits)
    offset = (kept * reward).sum(-1)
    values = statistics.values_backwards(kept / mass, offset if unswept is None else unswept + offset)
    following = statistics.value_reached(values[:, 1:]) / mass
    return TDSweep(swept(reward + following, slice(None)), visited)


def after_cells(statistics: CellStatistics, bootstrap: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Mean of Q_{h+1}(s', a') over the visits of every cell, a' the action that was played.

    Args:
        statistics: of B episodes, with ``next_cell``.
        bootstrap: (h, what follows on the cells of step h [B, S, A]) -> Q_h as the step before sees it.

    Returns:
        [B, T, S, A]; 0 at the last step and where nobody was.
    """
    assert statistics.next_cell is not None, "SARSA targets need count_next_cells=True"
    following = [torch.zeros_like(statistics.visits[:, 0])]
    for h in reversed(range(statistics.visits.shape[1] - 1)):
        q_next = bootstrap(h + 1, following[-1])
        total = torch.einsum("bsatc,btc->bsa", statistics.next_cell[:, h], q_next)
        following.append(total / statistics.visits[:, h].clamp(min=1))
    return torch.stack(following[::-1], 1)


def row_shares(visits: Tensor) -> Tensor:
    """Visits [..., A] over those of their row; 0 where nobody was."""
    return visits / visits.sum(-1, keepdim=True).clamp(min=1)


def row_mean(values: Tensor, visits: Tensor) -> Tensor:
    """Mean of values [..., A] over the visits [..., A] of their row, [..., 1]; 0 where nobody was."""
    return (row_shares(visits) * values).sum(-1, keepdim=True)


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
        following = statistics.value_reached(value.unsqueeze(0), slice(None, -1))
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
