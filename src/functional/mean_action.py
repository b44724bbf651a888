"""Mean-field Q-learning on cells: the others' mean action, v^MF and its targets (Yang et al. 2018).

Y. Yang, R. Luo, M. Li, M. Zhou, W. Zhang, J. Wang, "Mean Field Multi-Agent Reinforcement Learning",
ICML 2018. Every agent is a neighbour of every other, so a-bar of agent i is the mean one-hot action
of the N - 1 others. It depends on i through i's own action alone: A rows serve all N agents.
"""

import torch
from torch import Tensor

from .cells import CellStatistics
from .distributions import others_distribution


def mean_actions(visits: Tensor) -> Tensor:
    """a-bar of every step, by the agent's own action of that step.

    a-bar^i = 1/(N - 1) sum_{k != i} onehot(a^k), the agent itself left out exactly.

    Args:
        visits: of the cells of all agents, [B, T, S, A].

    Returns:
        [B, T, A, A]; row o is what an agent that played o met. A row whose action nobody played is
        never looked up.
    """
    return others_distribution(visits.sum(-2))


def previous_mean_actions(mean_action: Tensor) -> Tensor:
    """a-bar of the step before, by the agent's own action of the step before; uniform at step 0.

    Args:
        mean_action: [B, T, A, A], see ``mean_actions``.

    Returns:
        [B, T, A, A].
    """
    return torch.cat([uniform_mean_action(mean_action[:, 0]).unsqueeze(1), mean_action[:, :-1]], 1)


def uniform_mean_action(like: Tensor) -> Tensor:
    """The a-bar that precedes the first action, 1 / A each: in the shape of ``like`` [..., A]."""
    return torch.full_like(like, 1.0 / like.shape[-1])


def previous_action_counts(statistics: CellStatistics) -> Tensor:
    """Agents by local state and own action of the step before, [B, T, S, A]; at step 0 all under action 0."""
    first = torch.zeros_like(statistics.visits[:, :1])
    first[..., 0] = statistics.state_count[:, :1]
    return torch.cat([first, statistics.arrivals()[:, :-1]], 1)


def boltzmann_policy(q_values: Tensor, beta: float) -> Tensor:
    """pi(a) proportional to exp(beta Q(a)), [..., A] (Yang et al. 2018)."""
    return torch.softmax(beta * q_values, -1)


def taken(q_values: Tensor) -> Tensor:
    """Q of the action that was taken, at the a-bar met by those who took it.

    Args:
        q_values: Q(s, a, a-bar of row o), [..., S, A (o), A].

    Returns:
        [..., S, A]: the entries with a = o.
    """
    return torch.diagonal(q_values, dim1=-2, dim2=-1)


def mean_field_value(policy: Tensor, q_values: Tensor) -> Tensor:
    """v^MF(s) = sum_a pi(a | s, a-bar_) Q(s, a, a-bar)  (Yang et al. 2018, the mean-field value).

    The policy reads a-bar_, the mean action of the step before; Q is evaluated at a-bar, that of the
    step itself, of which the others' played actions are one sample.

    Args:
        policy: by the agent's action p of the step before, [..., S, A (p), A].
        q_values: by its action o of the step, [..., S, A (o), A].

    Returns:
        [..., S, A (p), A (o)], reward units.
    """
    return torch.einsum("...spa,...soa->...spo", policy, q_values)


def mean_field_targets(
    statistics: CellStatistics, policy: Tensor, q_values: Tensor, *, gamma: float
) -> Tensor:
    """y = r + gamma v^MF(s'), averaged over the visits of every cell (Yang et al. 2018, MF-Q).

    v^MF_T = 0. The mean over visits loses nothing: the squared errors of the agents in a cell differ
    from that of their mean by a number free of Q.

    Args:
        statistics: with ``next_cell``.
        policy: pi_h(a | s, a-bar_{h-1}), by the agent's own action of the step before, [B, T, S, A, A].
        q_values: target network's Q_h(s, a, a-bar_h), by its own action of step h, [B, T, S, A, A].
        gamma: discount of a step.

    Returns:
        [B, T, S, A], reward units; 0 where the cell was not visited.
    """
    assert statistics.next_cell is not None, "the next step's own action is counted by count_next_cells=True"
    value = mean_field_value(policy, q_values)[:, 1:]  # [B, T - 1, S, A (p), A (o)]
    following = torch.einsum("bhsatc,bhtac->bhsa", statistics.next_cell[:, :-1], value)
    following = torch.cat([following, torch.zeros_like(statistics.visits[:, :1])], 1)
    return (statistics.reward_sum + gamma * following) / statistics.visits.clamp(min=1)


def squared_error(prediction: Tensor, target: Tensor, visits: Tensor, *, count_exponent: float) -> Tensor:
    """Weighted mean square of target - prediction over the cells.

    With ``count_exponent`` 1 a cell weighs its visits, which is the mean over agents and steps (up to
    the spread of the targets within a cell, free of the prediction); with 0 all visited cells
    weigh the same.

    Args:
        prediction: [B, T, S, A].
        target: [B, T, S, A].
        visits: [B, T, S, A].
        count_exponent: in [0, 1].

    Returns:
        A scalar, in the square of the units of the two.
    """
    weight = torch.where(visits > 0, visits**count_exponent, 0.0)
    return (weight * (target - prediction).square()).sum() / weight.sum()


def policy_gradient_loss(log_policy: Tensor, advantage: Tensor, visits: Tensor) -> Tensor:
    """- mean over agents and steps of log pi(a | s) x advantage (Yang et al. 2018, MF-AC).

    Its gradient is minus the policy gradient, mean of grad log pi(a | s) Q(s, a, a-bar), when the
    advantage is Q, or Q less a number that the own action has no part in.

    Args:
        log_policy: log pi(a | s), [B or 1, T, S, A].
        advantage: [B, T, S, A], reward units; it is not differentiated.
        visits: [B, T, S, A].

    Returns:
        A scalar, reward units.
    """
    return -(visits * advantage.detach() * log_policy).sum() / visits.sum()


def advantages(policy: Tensor, q_values: Tensor, *, baseline: bool) -> Tensor:
    """What an action is worth at the a-bar met by those who took it, [B, T, S, A], reward units.

    Q(s, a, a-bar), less v(s, a-bar) = sum_b pi(b | s) Q(s, b, a-bar) with ``baseline``. The others'
    mean action is independent of the agent's own action given the states, so the baseline leaves
    the mean of the policy gradient as it is and lowers its variance.

    Args:
        policy: pi(a | s), [B or 1, T, S, A].
        q_values: Q(s, a, a-bar of row o), [B, T, S, A (o), A].
        baseline: whether to subtract v.
    """
    values = taken(q_values)
    if not baseline:
        return values
    return values - (policy.unsqueeze(-2) * q_values).sum(-1)
