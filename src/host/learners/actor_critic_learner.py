"""Advantage actor-critic with shared parameters: IA2C with an individual critic, MAA2C with a central one.

Mnih et al., "Asynchronous Methods for Deep Reinforcement Learning", ICML 2016, section 4 (A3C; A2C is its
synchronous form), for many agents as in Papoudakis et al., "Benchmarking Multi-Agent Deep Reinforcement
Learning Algorithms in Cooperative Tasks", NeurIPS 2021: n-step returns bootstrapped by a target critic, and
one gradient step of each network on the whole batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ...errors import UserError
from ..components.episode_batch import EpisodeBatch, Scheme
from ..components.running_mean_std import RunningMeanStd
from ..modules.critics import REGISTRY as CRITICS
from ..utils.registries import look_up
from ..utils.returns import gae_returns, n_step_returns
from . import common

PROBABILITY_FLOOR = 1e-10  # keeps the logarithm of an unavailable action finite
SETTINGS_OF_NETWORKS = (
    "name",
    "hidden_dim",
    "use_rnn",
    "obs_agent_id",
    "obs_last_action",
    "obs_individual_obs",
)


@dataclass(frozen=True)
class Targets:
    """What a batch is learnt from; fixed while the networks take their steps.

    Attributes:
        actions: ``[B, T, N]`` long.
        mask: ``[B, T, N]``, 1 on the steps of an episode.
        returns: ``[B, T, N]``, in the units of the critic.
    """

    actions: Tensor
    mask: Tensor
    returns: Tensor


class ActorCriticLearner:
    """Actor and critic shared by all agents, each of which learns from its own reward or the common one.

    Args:
        mac: the controller, whose parameters are the actor's.
        scheme: the completed scheme of the batches.
        logger: receives the statistics.
        args: the settings of ``ia2c.yaml`` or ``maa2c.yaml``.
    """

    supports_individual_rewards = True

    def __init__(self, mac: Any, scheme: Scheme, logger: Any, args: SimpleNamespace):
        check_settings(args)
        common.require_selector(mac, args, given="policies")
        critic = look_up(
            CRITICS, "critic_type", args.critic_type, given="batches of episodes", by=args.learner
        )
        self.args = args
        self.mac = mac
        self.logger = logger
        self.obs_size = scheme["obs"]["vshape"]
        self.agent_params = list(mac.parameters())
        self.agent_optimiser = Adam(self.agent_params, lr=args.lr)
        self.critic: nn.Module = critic(scheme, args)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.critic_params = list(self.critic.parameters())
        self.critic_optimiser = Adam(self.critic_params, lr=args.lr)
        self.training_steps = 0
        self.last_target_update = 0
        self.log_stats_t = -args.learner_log_interval - 1
        columns = (1,) if args.common_reward else (args.n_agents,)
        self.reward_stats = RunningMeanStd(shape=columns, device=args.device)
        self.return_stats = RunningMeanStd(shape=(args.n_agents,), device=args.device)

    @property
    def epochs(self) -> int:
        """Gradient steps of each network on a batch: one, for the policy gradient is that of the actor."""
        return 1

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:
        """`epochs` steps of critic and actor on a batch of episodes of the current policy.

        Raises:
            DivergenceError: a loss or a gradient is not finite; the networks keep their values.
        """
        targets = self._targets(batch)
        played = None
        for _ in range(self.epochs):
            policy = self.mac.forward_all(batch)[:, :-1]
            log_policy = log_taken(policy, targets.actions)
            played = log_policy.detach() if played is None else played
            advantages, critic_stats = self._critic_step(batch, targets)
            gain = self._gain(log_policy, played, advantages)
            actor_stats = self._actor_step(gain, policy, targets.mask)
        self._update_target_critic()
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            stats = {**critic_stats, **actor_stats, "advantage_mean": mean(advantages, targets.mask)}
            for key, value in stats.items():
                self.logger.log_stat(key, value.item(), t_env)
            self.log_stats_t = t_env

    def cuda(self) -> None:
        """Move the networks to the GPU."""
        self.mac.cuda()
        self.critic.cuda()
        self.target_critic.cuda()

    def save_models(self, path: str) -> None:
        """Write networks, optimisers, statistics and counters."""
        common.save_parts(self, path, self._parts())

    def load_models(self, path: str) -> None:
        """Restore everything that :meth:`save_models` wrote.

        Raises:
            UserError: the checkpoint is of another game, or of networks of another form.
        """
        common.load_parts(self, path, self._parts())

    def _gain(self, log_policy: Tensor, played: Tensor, advantages: Tensor) -> Tensor:
        """What the actor's step increases, ``[B, T, N]``; its gradient is the policy gradient.

        Equation: ``log pi(a | s) A`` (Mnih et al., 2016, section 4), the advantage taken as a constant.

        Args:
            log_policy: ``[B, T, N]``, of the actions under the actor.
            played: ``[B, T, N]``, of the actions under the policy that this batch's steps started from.
            advantages: ``[B, T, N]``.
        """
        return log_policy * advantages

    def identity(self) -> dict[str, dict[str, Any]]:
        """What two runs must share for networks to carry over."""
        return common.identity(self.args, obs_size=self.obs_size, settings=SETTINGS_OF_NETWORKS)

    def _parts(self) -> dict[str, Any]:
        """File name -> what a checkpoint keeps in it, beside the controller and the counters."""
        return {
            "critic": self.critic,
            "target_critic": self.target_critic,
            "agent_opt": self.agent_optimiser,
            "critic_opt": self.critic_optimiser,
        }

    @torch.no_grad()
    def _targets(self, batch: EpisodeBatch) -> Targets:
        n_agents = self.args.n_agents
        mask = common.steps_that_count(batch)
        rewards = batch["reward"][:, :-1]  # [B, T, 1 or N]
        if self.args.standardise_rewards:
            self.reward_stats.update(rewards[mask.squeeze(-1) > 0])
            rewards = self.reward_stats.standardise(rewards)
        mask = mask.expand(-1, -1, n_agents)
        returns = self._returns(batch, rewards.expand(-1, -1, n_agents), mask)
        return Targets(batch["actions"][:, :-1].squeeze(-1).long(), mask, returns)

    def _returns(self, batch: EpisodeBatch, rewards: Tensor, mask: Tensor) -> Tensor:
        values = self.target_critic(batch).squeeze(-1)  # [B, T+1, N]
        if self.args.standardise_returns:
            values = self.return_stats.restore_units(values)
        rule = {"gamma": self.args.gamma, "add_value_last_step": self.args.add_value_last_step}
        if self.args.use_gae:
            returns = gae_returns(rewards, mask, values, gae_lambda=self.args.gae_lambda, **rule)
        else:
            returns = n_step_returns(rewards, mask, values, n_steps=self.args.q_nstep, **rule)
        if self.args.standardise_returns:
            self.return_stats.update(returns[mask[..., 0] > 0])
            returns = self.return_stats.standardise(returns)
        return returns

    def _critic_step(self, batch: EpisodeBatch, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """One step towards the returns; advantages ``[B, T, N]`` as they were before it."""
        mask = targets.mask
        values = self.critic(batch)[:, :-1].squeeze(-1)  # [B, T, N]
        advantages = (targets.returns - values) * mask
        loss = mean(advantages.square(), mask)
        grad_norm = common.descend(
            loss, self.critic_optimiser, self.critic_params, name="critic_loss", args=self.args
        )
        return advantages.detach(), {
            "critic_loss": loss,
            "critic_grad_norm": grad_norm,
            "td_error_abs": mean(advantages.abs(), mask),
            "q_taken_mean": mean(values, mask),
            "target_mean": mean(targets.returns, mask),
        }

    def _actor_step(self, gain: Tensor, policy: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """One step up the gain plus the entropy bonus.

        Args:
            gain: ``[B, T, N]``.
            policy: ``[B, T, N, A]``.
            mask: ``[B, T, N]``.
        """
        entropy = -(policy * (policy + PROBABILITY_FLOOR).log()).sum(dim=-1)
        loss = -mean(gain + self.args.entropy_coef * entropy, mask)
        grad_norm = common.descend(
            loss, self.agent_optimiser, self.agent_params, name="pg_loss", args=self.args
        )
        return {
            "pg_loss": loss,
            "agent_grad_norm": grad_norm,
            "pi_max": mean(policy.max(dim=-1).values, mask),
            "policy_entropy": mean(entropy, mask),
        }

    def _update_target_critic(self) -> None:
        self.training_steps += 1
        copied = common.follow(
            list(self.target_critic.parameters()),
            self.critic_params,
            setting=self.args.target_update_interval_or_tau,
            age=self.training_steps - self.last_target_update,
        )
        if copied:
            self.last_target_update = self.training_steps


def check_settings(args: SimpleNamespace) -> None:
    """Refuse what an actor and a critic of values cannot learn with.

    Raises:
        UserError: with key, value and remedy.
    """
    if args.agent_output_type != "pi_logits":
        raise UserError(f"agent_output_type={args.agent_output_type}: {args.learner} needs pi_logits")
    common.require_at_least_one(args, ("q_nstep", "hidden_dim"))
    common.require_positive(args, ("lr", "grad_norm_clip", "target_update_interval_or_tau"))
    common.require_share(args, ("gamma", "gae_lambda"))


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``[B, T, N]`` over the steps that count."""
    return (values * mask).sum() / mask.sum()


def log_taken(policy: Tensor, actions: Tensor) -> Tensor:
    """Log-probabilities ``[B, T, N]`` of the actions under ``[B, T, N, A]``."""
    return (policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1) + PROBABILITY_FLOOR).log()
