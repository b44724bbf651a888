"""Independent policy mirror descent (Yardim & He 2025, Alg. 1 and 2, a private table for every agent)."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.distributions import entropy, kl_divergence
from ..functional.mirror_descent import mirror_descent_step, mixing_weight, step_size
from ..functional.private_td import (
    Trajectories,
    private_td_error,
    private_td_step,
    sweep_backwards_privately,
    visited_cells,
)
from ..functional.td_targets import paper_learning_rate, visit_learning_rate
from .epoch_learner import EpochLearner, require_choices, require_undiscounted
from .mean_field_learner import check_mirror_descent

CHUNK = 2**21  # entries of the largest temporary tensor, 16 MiB of int64


class IPMDLearner(EpochLearner):
    """Every agent learns Q^i from its own trajectory alone and takes its own mirror-descent step.

    The switches are those of ``mf_pmd_tabular``; what differs is that nothing is shared: agent i has
    pi^i [H, S, A], sees its own B trajectories an epoch, and Q^i of a cell that it did not visit is 0.
    Agents are independent given the batch, so they are worked off in chunks of bounded memory; a
    thousand agents are one chunk.

    Args:
        args: besides EpochLearner's, reads ``tau``, ``c_xi``, ``c_mix``, ``mix_offset``, ``td_target``,
            ``td_order``, ``td_learning_rate``, ``td_delta``, ``gamma``.
    """

    remedies = ("c_xi",)

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        require_undiscounted(args)
        require_choices(
            args,
            {
                "td_target": ("expected_sarsa", "sarsa"),
                "td_order": ("backward", "simultaneous"),
                "td_learning_rate": ("visits", "paper"),
            },
        )
        check_mirror_descent(args)
        if not 0 < args.td_delta <= 1:
            raise UserError(f"td_delta={args.td_delta}: it is a probability, in (0, 1]")
        if getattr(mac, "shares_policy", True):
            raise UserError(f"mac={args.mac}: {args.name} needs a table an agent, use mac=private_table_mac")

    @torch.no_grad()
    def learn(self, batch: Any) -> dict[str, float]:
        """One epoch; metrics as in docs/ipmd.md."""
        trajectories = Trajectories(batch["obs"][..., 0], batch["actions"][..., 0], batch["reward"][:, :-1])
        xi = step_size(self.epoch, self.args.c_xi)
        mixing = mixing_weight(self.epoch, self.args.c_mix, self.args.mix_offset)
        totals = []
        for agents in self.chunks(trajectories):
            own, old = trajectories.agents(agents), self.mac.log_table[agents]
            q_values = self.evaluate(own, old)
            new = mirror_descent_step(old, q_values, xi=xi, tau=self.args.tau, mixing=mixing)
            totals.append(self.totals(own, q_values, old, new))
            self.mac.log_table[agents] = new
        steps, cells = trajectories.rewards.numel(), self.mac.log_table.numel()
        shares = {
            key: sum(total[key] for total in totals) / (cells if key == "unvisited_cells" else steps)
            for key in totals[0]
        }
        return shares | {"step_size": xi}

    def chunks(self, trajectories: Trajectories) -> Iterator[slice]:
        """All agents, in slices whose tables and trajectories stay below CHUNK entries."""
        n_episodes, horizon, n_agents = trajectories.rewards.shape
        an_agent = horizon * max(n_episodes, self.n_states * self.n_actions)
        size = max(1, CHUNK // an_agent)
        return (slice(start, start + size) for start in range(0, n_agents, size))

    def evaluate(self, trajectories: Trajectories, log_policy: Tensor) -> Tensor:
        """Q^i [N, H, S, A] of the policies that were played."""
        tau, expected = self.args.tau, self.args.td_target == "expected_sarsa"
        if self.args.td_order == "backward":
            return sweep_backwards_privately(trajectories, log_policy, tau=tau, expected=expected).q_values
        q_values, visits = torch.zeros_like(log_policy), torch.zeros_like(log_policy)
        for m in range(trajectories.rewards.shape[0]):
            episode = trajectories.episode(m)
            visits += visited_cells(episode, visits)
            rate = self.learning_rate(m, visits)
            q_values = private_td_step(
                q_values, episode, log_policy, tau=tau, learning_rate=rate, expected=expected
            )
        return q_values

    def learning_rate(self, episode: int, visits: Tensor) -> Tensor:
        """eta of Alg. 1 for every cell of every agent, [N, H, S, A]."""
        if self.args.td_learning_rate == "paper":
            return torch.full_like(visits, paper_learning_rate(episode, self.args.td_delta))
        return visit_learning_rate(visits)

    def totals(
        self, trajectories: Trajectories, q_values: Tensor, old: Tensor, new: Tensor
    ) -> dict[str, float]:
        """Sums of the metrics over the steps of these agents, or over their cells (``unvisited_cells``)."""
        expected = self.args.td_target == "expected_sarsa"
        error = private_td_error(q_values, trajectories, old, tau=self.args.tau, expected=expected)
        visits = visited_cells(trajectories, old)
        rows = visits.sum(-1)  # [N, H, S]
        return {
            "td_error_abs": error.abs().double().sum().item(),
            "policy_entropy": (rows * entropy(new)).double().sum().item(),
            "mirror_descent_kl": (rows * kl_divergence(new, old)).double().sum().item(),
            "unvisited_cells": (visits == 0).sum().item(),
        }
