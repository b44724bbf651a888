"""Temporal-difference learning of a private Q for every agent, each from its own trajectory alone.

Yardim & He 2025, Def. 10 and Alg. 1, run by N agents beside one another: agent i has its own policy
pi^i and its own table

    Q^i_h(s, a) = E[ r^i + tau Ent(pi^i_h(. | s)) + Q^i_{h+1}(s', a') ],   Q^i_H = 0.

Targets come from the next states and actions that the agent met, so that nothing of size S x A x S
is counted; memory is a few tables [N, H, S, A], time a few passes over the batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .distributions import entropy


class Trajectories(NamedTuple):
    """What N agents did in B episodes.

    Attributes:
        states: local states, [B, T + 1, N] (the last is not read), integers in any numeric dtype.
        actions: [B, T, N] (a longer time axis is cut), integers.
        rewards: individual rewards, [B, T, N], reward units.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor

    def episode(self, index: int) -> "Trajectories":
        """One episode, B = 1."""
        return Trajectories(*(field[index : index + 1] for field in self))

    def agents(self, chosen: slice) -> "Trajectories":
        """Some of the agents."""
        return Trajectories(*(field[:, :, chosen] for field in self))


class PrivateSweep(NamedTuple):
    """Attributes:
    q_values: [N, T, S, A], reward units; 0 in cells that the agent did not visit.
    visits: of its cells by the agent, [N, T, S, A].
    """

    q_values: Tensor
    visits: Tensor


def sweep_backwards_privately(
    trajectories: Trajectories, log_policy: Tensor, *, tau: float, expected: bool = True
) -> PrivateSweep:
    """TD targets of every agent from the last step to the first, each from its freshest Q^i_{h+1}.

    The fixed point of Alg. 1 on the agent's own visits in all B episodes: its TD error, averaged
    over its visits of a cell, is zero in every cell. For one agent it is
    ``td_targets.sweep_backwards`` on the pooled statistics of that agent.

    Args:
        trajectories: of N agents, B episodes, T steps.
        log_policy: log pi^i, [N, T, S, A].
        tau: weight of the entropy.
        expected: expected-SARSA if true, SARSA otherwise.
    """
    states, actions, rewards = trajectories
    n_agents, horizon, n_states, n_actions = log_policy.shape
    assert rewards.shape[1:] == (horizon, n_agents), (rewards.shape, log_policy.shape)
    n_cells = n_states * n_actions
    agent = torch.arange(n_agents, device=rewards.device)  # [N]
    q_values, visits = torch.zeros_like(log_policy), torch.zeros_like(log_policy)
    following = torch.zeros_like(rewards[:, 0])  # [B, N]
    for h in reversed(range(horizon)):
        log_rows = log_policy[:, h]  # [N, S, A]
        state = states[:, h].long()
        cell = agent * n_cells + state * n_actions + actions[:, h].long()  # [B, N]
        target = (rewards[:, h] + following).double()
        total = torch.bincount(cell.flatten(), target.flatten(), minlength=n_agents * n_cells)
        count = torch.bincount(cell.flatten(), minlength=n_agents * n_cells)
        mean = (total / count.clamp(min=1)).to(log_policy.dtype).reshape(log_rows.shape)
        visits[:, h] = count.reshape(log_rows.shape)
        fresh = torch.where(visits[:, h] > 0, mean + tau * entropy(log_rows).unsqueeze(-1), 0.0)
        q_values[:, h] = fresh
        if expected:
            value = (log_rows.exp() * fresh).sum(-1)  # [N, S]
            following = value.take(agent * n_states + state)
        else:
            following = fresh.take(cell)
    return PrivateSweep(q_values, visits)


def private_td_error(
    q_values: Tensor, trajectories: Trajectories, log_policy: Tensor, *, tau: float, expected: bool
) -> Tensor:
    """TD error of every agent at every step it took, all h from the same Q (Yardim & He 2025, Alg. 1).

    r^i + tau Ent(pi^i_h(. | s)) + next value - Q^i_h(s, a); the next value is 0 after the last step.

    Args:
        q_values: Q^i, [N, T, S, A].
        trajectories: of N agents, B episodes, T steps.
        log_policy: log pi^i, [N, T, S, A].
        tau: weight of the entropy.
        expected: expected-SARSA or SARSA targets.

    Returns:
        [B, T, N], reward units.
    """
    row = own_rows(trajectories, log_policy)
    n_actions = log_policy.shape[-1]
    taken = q_values.take(row * n_actions + trajectories.actions[:, : row.shape[1]].long())  # [B, T, N]
    following = (log_policy.exp() * q_values).sum(-1).take(row) if expected else taken
    following = torch.cat([following[:, 1:], torch.zeros_like(following[:, :1])], 1)
    return trajectories.rewards + tau * entropy(log_policy).take(row) + following - taken


def private_td_step(
    q_values: Tensor,
    episode: Trajectories,
    log_policy: Tensor,
    *,
    tau: float,
    learning_rate: Tensor,
    expected: bool,
) -> Tensor:
    """One update of Alg. 1 by every agent: Q^i_h(s, a) += eta x TD error, all h at once from Q^m.

    Args:
        q_values: Q^m, [N, T, S, A].
        episode: one episode, B = 1, in which an agent visits one cell a step.
        log_policy: log pi^i, [N, T, S, A].
        tau: weight of the entropy.
        learning_rate: eta, [N, T, S, A].
        expected: expected-SARSA or SARSA targets.

    Returns:
        Q^{m+1} [N, T, S, A].
    """
    assert episode.rewards.shape[0] == 1, episode.rewards.shape
    error = private_td_error(q_values, episode, log_policy, tau=tau, expected=expected)
    cell = own_cells(episode, log_policy)
    step = (learning_rate.take(cell) * error).to(q_values.dtype)
    return q_values.flatten().index_add(0, cell.flatten(), step.flatten()).reshape(q_values.shape)


def visited_cells(trajectories: Trajectories, like: Tensor) -> Tensor:
    """How often every agent visited each of its cells: [N, T, S, A], shape and dtype of ``like``."""
    cell = own_cells(trajectories, like).flatten()
    return torch.bincount(cell, minlength=like.numel()).reshape(like.shape).to(like.dtype)


def own_rows(trajectories: Trajectories, table: Tensor) -> Tensor:
    """Where the row (i, h, s) of every step lies in a flattened table [N, T, S]: [B, T, N] int64."""
    n_agents, horizon, n_states, _ = table.shape
    agent = torch.arange(n_agents, device=table.device)  # [N]
    step = torch.arange(horizon, device=table.device).unsqueeze(-1)  # [T, 1]
    return (agent * horizon + step) * n_states + trajectories.states[:, :horizon].long()


def own_cells(trajectories: Trajectories, table: Tensor) -> Tensor:
    """Where the cell (i, h, s, a) of every step lies in a flattened table [N, T, S, A]: [B, T, N] int64."""
    row = own_rows(trajectories, table)
    return row * table.shape[-1] + trajectories.actions[:, : row.shape[1]].long()
