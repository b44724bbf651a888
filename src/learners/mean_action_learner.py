"""What mf_q and mf_ac share: the regression of Q(s, a, a-bar) on cells, with a target network."""

import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..functional.cells import CellStatistics
from ..functional.mean_action import (
    mean_actions,
    mean_field_targets,
    previous_mean_actions,
    squared_error,
    taken,
)
from ..modules.critics import MeanActionCritic
from .cell_learner import CellLearner, require_range


class MeanActionLearner(CellLearner):
    """Regression of Q_h(s, a, nu, a-bar) on y = r + gamma v^MF(s') (Yang et al. 2018).

    Subclasses set ``critic`` and ``target_critic``, and say in ``policy_rows`` whose policy v^MF takes.

    Args:
        args: besides CellLearner's, reads ``gamma``, ``lr``, ``critic_steps``, ``minibatch_episodes``,
            ``target_update_rate``, ``count_exponent``, ``grad_norm_clip``.
    """

    critic: MeanActionCritic
    target_critic: MeanActionCritic
    critic_optimiser: torch.optim.Optimizer

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        require_range(
            args,
            positive=("lr", "grad_norm_clip", "target_update_rate"),
            at_least_one=("critic_steps", "minibatch_episodes"),
            shares=("gamma", "target_update_rate", "count_exponent"),
        )

    @staticmethod
    def counts_next_cells(args: SimpleNamespace) -> bool:
        return True  # an agent's own action of the next step says which a-bar it meets there

    def make_critic(self, critic: MeanActionCritic) -> None:
        """Take the critic, copy its target; Adam is fused, for these are many small steps."""
        self.critic = critic
        self.target_critic = copy.deepcopy(critic)
        self.critic_optimiser = torch.optim.Adam(critic.parameters(), lr=self.args.lr, fused=True)

    def modules(self) -> dict[str, Any]:
        return {"target_critic": self.target_critic, "critic_optimiser": self.critic_optimiser}

    def cuda(self) -> None:
        super().cuda()
        self.critic.cuda()
        self.target_critic.cuda()

    def policy_rows(self, statistics: CellStatistics, previous: Tensor) -> Tensor:
        """pi_h(a | s, a-bar_{h-1}) by the own action of the step before, [B, T, S, A, A].

        Args:
            statistics: of B episodes.
            previous: features of the rows of a-bar_{h-1}, [B, T, S, A, F].
        """
        raise NotImplementedError

    def row_features(self, statistics: CellStatistics) -> tuple[Tensor, Tensor]:
        """Features of the rows at a-bar of the step itself and of the step before, [B, T, S, A, F] each."""
        population = statistics.population
        mean_action = mean_actions(statistics.visits)
        steps = torch.arange(population.shape[1], device=population.device)
        features = self.critic.features
        return (
            features(population, mean_action, steps),
            features(population, previous_mean_actions(mean_action), steps),
        )

    @torch.no_grad()
    def targets(self, statistics: CellStatistics, current: Tensor, previous: Tensor) -> Tensor:
        """y of every cell, [B, T, S, A], reward units."""
        policy = self.policy_rows(statistics, previous)
        return mean_field_targets(statistics, policy, self.target_critic(current), gamma=self.args.gamma)

    def loss(self, statistics: CellStatistics) -> Tensor:
        """Weighted mean square of (y - Q) / H."""
        current, previous = self.row_features(statistics)
        target = self.targets(statistics, current, previous)
        prediction = taken(self.critic(current))
        exponent = self.args.count_exponent
        return squared_error(prediction, target, statistics.visits, count_exponent=exponent) / (
            self.critic.horizon**2
        )

    @torch.no_grad()
    def td_error(self, statistics: CellStatistics) -> float:
        """Mean over visits of |y - Q|, cell by cell of each episode."""
        current, previous = self.row_features(statistics)
        error = (self.targets(statistics, current, previous) - taken(self.critic(current))).abs()
        return ((statistics.visits * error).sum() / statistics.visits.sum()).item()

    @torch.no_grad()
    def q_taken_mean(self, statistics: CellStatistics) -> float:
        """Mean over visits of Q(s, a, a-bar)."""
        values = taken(self.critic(self.row_features(statistics)[0]))
        return ((statistics.visits * values).sum() / statistics.visits.sum()).item()

    def descend(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """One clipped gradient step."""
        optimiser.zero_grad()
        loss.backward()
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self.args.grad_norm_clip)
        optimiser.step()

    @torch.no_grad()
    def update_target(self) -> None:
        """phi_ <- (1 - rate) phi_ + rate phi."""
        for slow, fast in zip(self.target_critic.parameters(), self.critic.parameters(), strict=True):
            slow.lerp_(fast, self.args.target_update_rate)
