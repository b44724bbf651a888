"""Independent PPO with shared parameters.

de Witt et al., "Is Independent Learning All You Need in the StarCraft Multi-Agent Challenge?", 2020, in the
form that Papoudakis et al., "Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative
Tasks", NeurIPS 2021, gave it in EPyMARL: n-step returns from a target critic, and one gradient step an epoch
of each network on the whole batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ...errors import DivergenceError, UserError
from ..components.episode_batch import EpisodeBatch, Scheme
from ..components.running_mean_std import RunningMeanStd
from ..modules.critics import REGISTRY as CRITICS
from ..utils.registries import look_up
from ..utils.returns import gae_returns, n_step_returns

PROBABILITY_FLOOR = 1e-10  # keeps the logarithm of an unavailable action finite


@dataclass
class Targets:
    """What a batch is learnt from; fixed while the networks take their steps.

    Attributes:
        actions: ``[B, T, N]`` long.
        mask: ``[B, T, N]``, 1 on the steps of an episode.
        returns: ``[B, T, N]``, in the units of the critic.
        log_policy: ``[B, T, N]``, of the actions under the policy that took them.
    """

    actions: Tensor
    mask: Tensor
    returns: Tensor
    log_policy: Tensor


class PPOLearner:
    """Actor and critic shared by all agents, each of which learns from its own observation and reward.

    Args:
        mac: the controller, whose parameters are the actor's.
        scheme: the completed scheme of the batches.
        logger: receives the statistics.
        args: the settings of ``ippo.yaml``.
    """

    supports_individual_rewards = True

    def __init__(self, mac: Any, scheme: Scheme, logger: Any, args: SimpleNamespace):
        if args.agent_output_type != "pi_logits":
            raise UserError(f"agent_output_type={args.agent_output_type}: ppo_learner needs pi_logits")
        check_settings(args)
        self.args = args
        self.mac = mac
        self.logger = logger
        self.obs_size = scheme["obs"]["vshape"]
        self.agent_params = list(mac.parameters())
        self.agent_optimiser = Adam(self.agent_params, lr=args.lr)
        self.critic: nn.Module = look_up(CRITICS, "critic_type", args.critic_type)(scheme, args)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.critic_params = list(self.critic.parameters())
        self.critic_optimiser = Adam(self.critic_params, lr=args.lr)
        self.training_steps = 0
        self.last_target_update = 0
        self.log_stats_t = -args.learner_log_interval - 1
        columns = (1,) if args.common_reward else (args.n_agents,)
        self.reward_stats = RunningMeanStd(shape=columns, device=args.device)
        self.return_stats = RunningMeanStd(shape=(args.n_agents,), device=args.device)

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:
        """`epochs` steps of critic and actor on a batch of episodes of the current policy.

        Raises:
            DivergenceError: a loss or a gradient is not finite; the networks keep their values.
        """
        targets = self._targets(batch)
        for _ in range(self.args.epochs):
            policy = self._policy(batch)
            advantages, critic_stats = self._critic_step(batch, targets)
            actor_stats = self._actor_step(policy, advantages, targets)
        self._update_target_critic()
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            for key, value in {**critic_stats, **actor_stats}.items():
                self.logger.log_stat(key, value.item(), t_env)
            self.log_stats_t = t_env

    def cuda(self) -> None:
        """Move the networks to the GPU."""
        self.mac.cuda()
        self.critic.cuda()
        self.target_critic.cuda()

    def save_models(self, path: str) -> None:
        """Write networks, optimisers, statistics and counters."""
        self.mac.save_models(path)
        torch.save(self.critic.state_dict(), f"{path}/critic.th")
        torch.save(self.target_critic.state_dict(), f"{path}/target_critic.th")
        torch.save(self.agent_optimiser.state_dict(), f"{path}/agent_opt.th")
        torch.save(self.critic_optimiser.state_dict(), f"{path}/critic_opt.th")
        torch.save(
            {
                **self._shared(),
                "training_steps": self.training_steps,
                "last_target_update": self.last_target_update,
                "log_stats_t": self.log_stats_t,
                "reward_stats": self.reward_stats.state_dict(),
                "return_stats": self.return_stats.state_dict(),
            },
            f"{path}/learner.th",
        )

    def load_models(self, path: str) -> None:
        """Restore everything that :meth:`save_models` wrote.

        Raises:
            UserError: the checkpoint is of another game, or of networks of another form.
        """
        state = _load(path, "learner")
        for part, remedy in (
            ("game", "take a checkpoint of the same game"),
            ("settings", "take the same setting, or another checkpoint"),
        ):
            for key, value in self._shared()[part].items():
                there = state[part][key]
                if there != value:
                    raise UserError(
                        f"checkpoint_path={path}: {key} is {there} there and {value} here; {remedy}"
                    )
        self.mac.load_models(path)
        self.critic.load_state_dict(_load(path, "critic"))
        self.target_critic.load_state_dict(_load(path, "target_critic"))
        self.agent_optimiser.load_state_dict(_load(path, "agent_opt"))
        self.critic_optimiser.load_state_dict(_load(path, "critic_opt"))
        self.training_steps = state["training_steps"]
        self.last_target_update = state["last_target_update"]
        self.log_stats_t = state["log_stats_t"]
        self.reward_stats.load_state_dict(state["reward_stats"])
        self.return_stats.load_state_dict(state["return_stats"])

    def _shared(self) -> dict[str, dict[str, Any]]:
        """What two runs must share for the networks to carry over; the number of agents may differ."""
        env_args = self.args.env_args
        game = {
            "game": env_args.get("map_name") or env_args.get("key") or self.args.env,
            "obs_shape": self.obs_size,
            "n_actions": self.args.n_actions,
            "episode_limit": self.args.episode_limit,
        }
        settings = ("name", "hidden_dim", "use_rnn", "obs_agent_id", "obs_last_action")
        return {"game": game, "settings": {key: getattr(self.args, key) for key in settings}}

    @torch.no_grad()
    def _targets(self, batch: EpisodeBatch) -> Targets:
        n_agents = self.args.n_agents
        actions = batch["actions"][:, :-1].squeeze(-1)  # [B, T, N]
        ended = batch["terminated"][:, :-1].float()  # [B, T, 1]
        filled = batch["filled"][:, :-1].float()
        mask = torch.cat([filled[:, :1], filled[:, 1:] * (1 - ended[:, :-1])], dim=1)  # [B, T, 1]
        rewards = batch["reward"][:, :-1]  # [B, T, 1 or N]
        if self.args.standardise_rewards:
            self.reward_stats.update(rewards[mask.squeeze(-1) > 0])
            rewards = self.reward_stats.standardise(rewards)
        mask = mask.expand(-1, -1, n_agents)
        returns = self._returns(batch, rewards.expand(-1, -1, n_agents), mask)
        log_policy = _log_taken(self._policy(batch), actions)
        return Targets(actions, mask, returns, log_policy)

    def _returns(self, batch: EpisodeBatch, rewards: Tensor, mask: Tensor) -> Tensor:
        values = self.target_critic(batch).squeeze(-1)  # [B, T+1, N]
        if self.args.standardise_returns:
            values = self.return_stats.restore_units(values)
        common = {"gamma": self.args.gamma, "add_value_last_step": self.args.add_value_last_step}
        if self.args.use_gae:
            returns = gae_returns(rewards, mask, values, gae_lambda=self.args.gae_lambda, **common)
        else:
            returns = n_step_returns(rewards, mask, values, n_steps=self.args.q_nstep, **common)
        if self.args.standardise_returns:
            self.return_stats.update(returns[mask[..., 0] > 0])
            returns = self.return_stats.standardise(returns)
        return returns

    def _policy(self, batch: EpisodeBatch) -> Tensor:
        """``[B, T, N, A]`` along the episodes."""
        return self.mac.forward_all(batch)[:, :-1]

    def _critic_step(self, batch: EpisodeBatch, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """One step towards the returns; advantages ``[B, T, N]`` as they were before it."""
        mask = targets.mask
        values = self.critic(batch)[:, :-1].squeeze(-1)  # [B, T, N]
        advantages = (targets.returns - values) * mask
        loss = _mean(advantages.square(), mask)
        grad_norm = self._descend(loss, self.critic_optimiser, self.critic_params, "critic_loss")
        return advantages.detach(), {
            "critic_loss": loss,
            "critic_grad_norm": grad_norm,
            "td_error_abs": _mean(advantages.abs(), mask),
            "q_taken_mean": _mean(values, mask),
            "target_mean": _mean(targets.returns, mask),
        }

    def _actor_step(self, policy: Tensor, advantages: Tensor, targets: Targets) -> dict[str, Tensor]:
        """One step on the clipped surrogate plus the entropy bonus."""
        ratio = (_log_taken(policy, targets.actions) - targets.log_policy).exp()
        clipped = ratio.clamp(1 - self.args.eps_clip, 1 + self.args.eps_clip)
        entropy = -(policy * (policy + PROBABILITY_FLOOR).log()).sum(dim=-1)
        gain = torch.min(ratio * advantages, clipped * advantages) + self.args.entropy_coef * entropy
        loss = -_mean(gain, targets.mask)
        grad_norm = self._descend(loss, self.agent_optimiser, self.agent_params, "pg_loss")
        return {
            "advantage_mean": _mean(advantages, targets.mask),
            "pg_loss": loss,
            "agent_grad_norm": grad_norm,
            "pi_max": _mean(policy.max(dim=-1).values, targets.mask),
            "policy_entropy": _mean(entropy, targets.mask),
        }

    def _descend(self, loss: Tensor, optimiser: Adam, parameters: list[nn.Parameter], name: str) -> Tensor:
        """One clipped gradient step; the norm of the gradient before clipping."""
        optimiser.zero_grad()
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(parameters, self.args.grad_norm_clip)
        if not bool(torch.isfinite(loss.detach() + grad_norm)):
            raise DivergenceError(
                f"{name}={loss.item()} with a gradient of norm {grad_norm.item()}; "
                f"lr={self.args.lr} may be too large"
            )
        optimiser.step()
        return grad_norm

    def _update_target_critic(self) -> None:
        """A copy every so many batches, or a step of exponential averaging."""
        self.training_steps += 1
        setting = self.args.target_update_interval_or_tau
        if setting > 1:
            if self.training_steps - self.last_target_update >= setting:
                self.target_critic.load_state_dict(self.critic.state_dict())
                self.last_target_update = self.training_steps
            return
        with torch.no_grad():
            for target, parameter in zip(self.target_critic.parameters(), self.critic_params, strict=True):
                target.lerp_(parameter, setting)


def check_settings(args: SimpleNamespace) -> None:
    """Refuse what PPO cannot learn with.

    Raises:
        UserError: with key, value and remedy.
    """
    for key in ("epochs", "q_nstep", "hidden_dim"):
        if not getattr(args, key) >= 1:
            raise UserError(f"{key}={getattr(args, key)}: at least 1 is needed")
    for key in ("lr", "grad_norm_clip", "eps_clip", "target_update_interval_or_tau"):
        if not getattr(args, key) > 0:
            raise UserError(f"{key}={getattr(args, key)}: must be positive")
    for key in ("gamma", "gae_lambda"):
        if not 0 <= getattr(args, key) <= 1:
            raise UserError(f"{key}={getattr(args, key)}: a value from 0 to 1 is needed")


def _load(path: str, name: str) -> Any:
    return torch.load(f"{path}/{name}.th", map_location="cpu", weights_only=True)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``[B, T, N]`` over the steps that count."""
    return (values * mask).sum() / mask.sum()


def _log_taken(policy: Tensor, actions: Tensor) -> Tensor:
    """Log-probabilities ``[B, T, N]`` of the actions under ``[B, T, N, A]``."""
    return (policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1) + PROBABILITY_FLOOR).log()
