"""Symmetrised policy mirror descent with tables (Yardim & He 2025, Alg. 1 and 2)."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from ..functional.distributions import entropy, kl_divergence
from ..functional.mirror_descent import mirror_descent_step, square_spread
from ..functional.td_targets import (
    paper_learning_rate,
    sweep_backwards,
    td_error,
    td_step,
    visit_learning_rate,
)
from .mean_field_learner import MeanFieldLearner


class MFPMDTabularLearner(MeanFieldLearner):
    """Q^{tau, pi} by TD on a table, then pi by the closed mirror-descent step.

    ``td_order: simultaneous`` is Alg. 1: Q starts at 0 and all steps h are updated at once, one
    episode after another, with ``td_learning_rate: paper`` or ``visits``. ``td_order: backward``
    (the default) goes from the last step to the first on the averages over all episodes: the table
    at which the mean TD error of every cell is zero. Q of a cell that nobody visited is 0.

    Under ``step_rule: scale_free`` a cell that nobody visited takes the mean of its row.

    Args:
        args: besides MeanFieldLearner's, reads ``td_order``, ``td_learning_rate``, ``td_delta``.
    """

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        for key, allowed in {
            "td_order": ("backward", "simultaneous"),
            "td_learning_rate": ("visits", "paper"),
        }.items():
            if getattr(args, key) not in allowed:
                raise UserError(f"{key}={getattr(args, key)}: choose one of {', '.join(allowed)}")
        if not 0 < args.td_delta <= 1:
            raise UserError(f"td_delta={args.td_delta}: it is a probability, in (0, 1]")
        if not mac.agent.tabular:
            raise UserError(f"agent={args.agent}: {args.name} needs agent=mean_field_table")

    @staticmethod
    def sweeps_backwards(args: SimpleNamespace) -> bool:
        return args.td_order == "backward"

    @torch.inference_mode()  # small operations start a quarter faster than under no_grad
    def update(self, statistics: CellStatistics) -> dict[str, float]:
        """One epoch; metrics as in docs/mf_pmd.md."""
        agent = self.mac.agent
        log_policy: Tensor = agent.log_table  # [H, S, A]
        visits = statistics.visits.sum(0)  # [T, S, A]
        # 0 in epoch 0 where its unit is measured there: a step from a uniform policy is the same with any tau
        tau = self.tau
        q_values = self.evaluate(statistics, log_policy, tau=tau)
        if self.spreads is not None:
            square = square_spread(q_values, visits)
            if self.epoch == 0:
                self.spreads.begin(square)
            self.spreads.add(square)
        xi, ahead = self.xi, q_values
        if self.optimism is not None:
            ahead = self.optimism.ahead(q_values, visits > 0)
        new = mirror_descent_step(log_policy, ahead, xi=xi, tau=tau, mixing=self.mixing)
        metrics = {"step_size": xi}
        if self.logs or not math.isfinite(new.sum().item()):  # metrics tell of divergence, too
            weights = statistics.state_count.sum(0)
            weights = weights / weights.sum()
            metrics |= {
                "mirror_descent_kl": (weights * kl_divergence(new, log_policy)).sum().item(),
                "td_error_abs": self.mean_error(statistics, log_policy, q_values, tau=tau),
                "policy_entropy": (weights * entropy(new)).sum().item(),
                "unvisited_cells": (visits == 0).float().mean().item(),
            }
        agent.log_table.copy_(new)
        return metrics

    def evaluate(self, statistics: CellStatistics, log_policy: Tensor, *, tau: float) -> Tensor:
        """Q [H, S, A] of the policy that was played."""
        expected = self.args.td_target == "expected_sarsa"
        if self.args.td_order == "backward":
            policy, fill = log_policy.unsqueeze(0), self.spreads is not None
            sweep = sweep_backwards(statistics.pooled(), policy, tau=tau, expected=expected, fill_rows=fill)
            return sweep.q_values[0]
        q_values, visits = torch.zeros_like(log_policy), torch.zeros_like(log_policy)
        for m in range(statistics.visits.shape[0]):
            episode = statistics.episode(m)
            visits += episode.visits[0] > 0
            rate = self.learning_rate(m, visits)
            q_values = td_step(q_values, episode, log_policy, tau=tau, learning_rate=rate, expected=expected)
        return q_values

    def mean_error(
        self, statistics: CellStatistics, log_policy: Tensor, q_values: Tensor, *, tau: float
    ) -> float:
        """Mean over visits of the absolute TD error that is left, cell by cell of each episode."""
        expected = self.args.td_target == "expected_sarsa"
        error = td_error(q_values, statistics, log_policy, tau=tau, expected=expected)
        return ((statistics.visits * error.abs()).sum() / statistics.visits.sum()).item()

    def learning_rate(self, episode: int, visits: Tensor) -> Tensor:
        """eta of Alg. 1 for every cell, [H, S, A]."""
        if self.args.td_learning_rate == "paper":
            return torch.full_like(visits, paper_learning_rate(episode, self.args.td_delta))
        return visit_learning_rate(visits)
