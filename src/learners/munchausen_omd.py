"""Munchausen online mirror descent (Lauriere et al. 2022, D-MOMD), model-free, on cells."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from ..functional.distributions import entropy, kl_divergence
from ..functional.munchausen import munchausen_sweep
from ..functional.td_targets import TDSweep
from ..modules.agents import SoftQNetworkAgent
from .cell_learner import CellLearner, require_range, require_undiscounted
from .epoch_learner import require_mean_field_agent


class MunchausenOMDLearner(CellLearner):
    """Online mirror descent whose sum of Q-functions is one network.

    Outer iteration: all agents play pi = softmax(Q_old / tau); Q is regressed on

        r + weight tau log pi(a | s) + sum_a' pi(a' | s') [Q(s', a') - tau log pi(a' | s')]

    over the cells (h, s, a) of the batch, pooled over its episodes, and the new policy is softmax(Q / tau).

    Args:
        args: besides CellLearner's, reads ``gamma``, ``tau``, ``munchausen_weight``, ``lr``,
            ``critic_steps``, ``count_exponent``, ``grad_norm_clip``, ``population_dependent``.
    """

    remedies = ("lr",)

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        require_undiscounted(args)
        require_mean_field_agent(mac, args)
        if args.agent != "soft_q_network":
            raise UserError(
                f"agent={args.agent}: {args.name} plays softmax(Q / tau), use agent=soft_q_network"
            )
        if args.population_dependent:
            raise UserError(
                f"population_dependent=True: {args.name} reads the population through the time step, "
                "set population_dependent=False"
            )
        require_range(
            args,
            positive=("tau", "lr", "grad_norm_clip"),
            at_least_one=("critic_steps",),
            shares=("munchausen_weight", "count_exponent"),
        )
        self.optimiser = torch.optim.Adam(mac.agent.parameters(), lr=args.lr, fused=True)

    def modules(self) -> dict[str, Any]:
        return {"optimiser": self.optimiser}

    def update(self, statistics: CellStatistics) -> dict[str, float]:
        """One outer iteration; metrics as in docs/munchausen_omd.md."""
        agent: SoftQNetworkAgent = self.mac.agent
        features = self.mac.features(statistics.population)  # [1, T, S, F]
        pooled = statistics.pooled()
        with torch.no_grad():
            before = agent.q_values(features)
            old = torch.log_softmax(before / self.args.tau, -1)
        sweep = self.sweep(pooled, old, before)
        error = (sweep.q_values - before).abs()
        loss = self.fit(features, sweep, pooled.visits)
        with torch.no_grad():
            new = torch.log_softmax(agent.q_values(features) / self.args.tau, -1)
        weight = pooled.state_count / pooled.state_count.sum()  # [1, T, S]
        return {
            "td_error_abs": ((pooled.visits * error).sum() / pooled.visits.sum()).item(),
            "critic_loss": loss,
            "policy_entropy": (weight * entropy(new)).sum().item(),
            "mirror_descent_kl": (weight * kl_divergence(new, old)).sum().item(),
            "step_size": 1 / self.args.tau,
            "unvisited_cells": (~sweep.visited).float().mean().item(),
        }

    def sweep(self, pooled: CellStatistics, log_policy: Tensor, q_values: Tensor) -> TDSweep:
        """Targets of all cells (h, s, a), [1, T, S, A]."""
        settings = {"tau": self.args.tau, "weight": self.args.munchausen_weight}
        return munchausen_sweep(pooled, log_policy, q_values, **settings)

    def fit(self, features: Tensor, sweep: TDSweep, visits: Tensor) -> float:
        """Weighted regression on fixed targets; returns the last loss, in units of (reward / H)^2."""
        agent: SoftQNetworkAgent = self.mac.agent
        weight = torch.where(sweep.visited, visits**self.args.count_exponent, 0.0)
        weight = weight / weight.sum()
        goal = sweep.q_values / agent.horizon
        loss = torch.zeros(())
        for _ in range(self.args.critic_steps):
            self.optimiser.zero_grad()
            loss = (weight * (agent.layers(features) - goal).square()).sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(agent.parameters(), self.args.grad_norm_clip)
            self.optimiser.step()
        return loss.item()
