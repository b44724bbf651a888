"""Mean-field actor-critic (Yang et al., "Mean Field Multi-Agent Reinforcement Learning", ICML 2018)."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from ..functional.distributions import entropy, kl_divergence
from ..functional.mean_action import advantages, policy_gradient_loss
from ..modules.critics import REGISTRY as CRITICS
from ..modules.critics import MeanActionCritic
from .cell_learner import require_range
from .epoch_learner import require_mean_field_agent
from .mean_action_learner import MeanActionLearner


class MFACLearner(MeanActionLearner):
    """Actor pi_h(a | s), critic Q_h(s, a, nu, a-bar): Yang et al. 2018 (MF-AC), on policy.

    Critic: y = r + gamma sum_a' pi(a' | s') Q_(s', a', a-bar'), with Q_ the target network and a-bar' the
    mean action of the next step as it was played. Actor: the gradient of log pi(a | s) Q(s, a, a-bar),
    mean over agents and steps.

    Args:
        args: besides MeanActionLearner's, reads ``critic_type``, ``policy_steps``, ``baseline``,
            ``entropy_coef``.
    """

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        require_mean_field_agent(mac, args)
        critics = {name: kind for name, kind in CRITICS.items() if issubclass(kind, MeanActionCritic)}
        if args.critic_type not in critics:
            raise UserError(f"critic_type={args.critic_type}: choose one of {', '.join(critics)}")
        if args.agent != "mean_field_network":
            raise UserError(f"agent={args.agent}: {args.name} trains networks, use agent=mean_field_network")
        if not args.entropy_coef >= 0:
            raise UserError(f"entropy_coef={args.entropy_coef}: must not be negative")
        require_range(args, at_least_one=("policy_steps",))
        self.make_critic(critics[args.critic_type](scheme, args))
        self.agent_optimiser = torch.optim.Adam(mac.agent.parameters(), lr=args.lr, fused=True)

    def modules(self) -> dict[str, Any]:
        return {**super().modules(), "critic": self.critic, "agent_optimiser": self.agent_optimiser}

    def policy_rows(self, statistics: CellStatistics, previous: Tensor) -> Tensor:
        return self.mac.log_policy(statistics.population).exp().unsqueeze(-2)  # whatever was played before

    def update(self, statistics: CellStatistics) -> dict[str, float]:
        """Fit the critic to the batch, then the actor's gradient steps; metrics as in docs/mf_ac.md."""
        td_error = self.td_error(statistics)
        with torch.no_grad():
            old = self.mac.log_policy(statistics.population)
        critic_loss = self.fit_critic(statistics)
        policy_loss = self.improve(statistics)
        with torch.no_grad():
            new = self.mac.log_policy(statistics.population)
        weight = statistics.state_count / statistics.state_count.sum()  # [B, T, S]
        return {
            "td_error_abs": td_error,
            "critic_loss": critic_loss,
            "policy_loss": policy_loss,
            "q_taken_mean": self.q_taken_mean(statistics),
            "policy_entropy": (weight * entropy(new)).sum().item(),
            "policy_kl": (weight * kl_divergence(new, old)).sum().item(),
        }

    def fit_critic(self, statistics: CellStatistics) -> float:
        """Gradient steps on episodes of the batch, drawn anew for each; returns the last loss."""
        loss = torch.zeros(())
        n_episodes = statistics.visits.shape[0]
        for _ in range(self.args.critic_steps):
            chosen = torch.randperm(n_episodes)[: self.args.minibatch_episodes].to(statistics.visits.device)
            loss = self.loss(statistics.episodes(chosen))
            self.descend(loss, self.critic_optimiser)
            self.update_target()
        return loss.item()

    def improve(self, statistics: CellStatistics) -> float:
        """Steps up the policy gradient; returns the loss before the last of them, reward units."""
        with torch.no_grad():
            q_values = self.critic(self.row_features(statistics)[0])
        loss = torch.zeros(())
        for _ in range(self.args.policy_steps):
            loss = self.policy_loss(statistics, q_values)
            self.descend(loss, self.agent_optimiser)
        return loss.item()

    def policy_loss(self, statistics: CellStatistics, q_values: Tensor) -> Tensor:
        """- mean of log pi(a | s) x advantage, less ``entropy_coef`` x mean entropy.

        Args:
            statistics: of B episodes.
            q_values: Q(s, a, a-bar of row o), [B, T, S, A (o), A].
        """
        log_policy = self.mac.log_policy(statistics.population)
        advantage = advantages(log_policy.detach().exp(), q_values, baseline=self.args.baseline)
        loss = policy_gradient_loss(log_policy, advantage, statistics.visits)
        if not self.args.entropy_coef:
            return loss
        weight = statistics.state_count / statistics.state_count.sum()
        return loss - self.args.entropy_coef * (weight * entropy(log_policy)).sum()
