"""Q-learning with shared parameters: independent (IQL), or of a team's value (VDN, QMIX).

IQL: Tan, "Multi-Agent Reinforcement Learning: Independent vs. Cooperative Agents", ICML 1993, with the deep
Q-networks of Mnih et al., 2015. VDN and QMIX: the papers their mixers cite. Double Q-learning: van Hasselt,
Guez and Silver, AAAI 2016.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from ...errors import UserError
from ..components.episode_batch import EpisodeBatch, Scheme
from ..components.running_mean_std import RunningMeanStd
from ..modules.mixers import REGISTRY as MIXERS
from ..utils.registries import look_up
from . import common

SHARED_SETTINGS = ("name", "hidden_dim", "use_rnn", "obs_agent_id", "obs_last_action", "mixer")


@dataclass(frozen=True)
class Experience:
    """What a batch is learnt from, the same for all its gradient steps.

    Attributes:
        actions: ``[B, T, N, 1]`` long.
        rewards: ``[B, T, 1 or N]``.
        ended: ``[B, T, 1]``, 1 on the step after which nothing follows.
        mask: ``[B, T, 1]``, 1 on the steps of an episode.
        unavailable: ``[B, T, N, A]`` bool, actions that the agents cannot take at the next step.
    """

    actions: Tensor
    rewards: Tensor
    ended: Tensor
    mask: Tensor
    unavailable: Tensor


class QLearner:
    """One network of action values for all agents, and a mixer of their values or none.

    Without a mixer every agent learns from its own reward, or from the common one; with a mixer the value of
    the team learns from the common reward.

    Args:
        mac: the controller, whose parameters are the network's.
        scheme: the completed scheme of the batches.
        logger: receives the statistics.
        args: the settings of ``iql.yaml``, ``vdn.yaml`` or ``qmix.yaml``.
    """

    def __init__(self, mac: Any, scheme: Scheme, logger: Any, args: SimpleNamespace):
        check_settings(args)
        common.require_selector(mac, args, given="action values")
        self.args = args
        self.mac = mac
        self.logger = logger
        self.obs_size = scheme["obs"]["vshape"]
        self.target_mac = copy.deepcopy(mac)
        self.mixer: Any = None
        self.params = list(mac.parameters())
        if args.mixer is not None:
            self.mixer = look_up(MIXERS, "mixer", args.mixer)(args)
            self.params += list(self.mixer.parameters())
        self.target_mixer = copy.deepcopy(self.mixer)
        self.target_params = list(self.target_mac.parameters())
        if self.target_mixer is not None:
            self.target_params += list(self.target_mixer.parameters())
        for parameter in self.target_params:
            parameter.requires_grad_(False)
        self.optimiser = Adam(self.params, lr=args.lr)
        self.training_steps = 0
        self.last_target_update = 0
        self.log_stats_t = -args.learner_log_interval - 1
        n_rewards = 1 if args.common_reward else args.n_agents
        n_values = 1 if args.mixer is not None else args.n_agents
        self.reward_stats = RunningMeanStd(shape=(n_rewards,), device=args.device)
        self.return_stats = RunningMeanStd(shape=(n_values,), device=args.device)

    @property
    def supports_individual_rewards(self) -> bool:
        """Whether agents may have rewards of their own."""
        return self.mixer is None

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:
        """`epochs` gradient steps on a sample of the buffer.

        Raises:
            DivergenceError: the loss or its gradient is not finite; the networks keep their values.
        """
        experience = self._experience(batch)
        for _ in range(self.args.epochs):
            stats = self._step(batch, experience)
            self._update_targets()
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            for key, value in stats.items():
                self.logger.log_stat(key, value.item(), t_env)
            self.log_stats_t = t_env

    def cuda(self) -> None:
        """Move the networks to the GPU."""
        for network in (self.mac, self.target_mac, self.mixer, self.target_mixer):
            if network is not None:
                network.cuda()

    def save_models(self, path: str) -> None:
        """Write networks, targets, optimiser, statistics and counters."""
        common.save_parts(self, path, self._parts())
        torch.save([parameter.detach() for parameter in self.target_params], f"{path}/targets.th")

    def load_models(self, path: str) -> None:
        """Restore everything that :meth:`save_models` wrote.

        Raises:
            UserError: the checkpoint is of another game, or of networks of another form.
        """
        common.load_parts(self, path, self._parts())
        for parameter, saved in zip(self.target_params, common.load_file(path, "targets"), strict=True):
            parameter.copy_(saved)

    def _parts(self) -> dict[str, Any]:
        """File name -> what a checkpoint keeps in it, beside the controller, the targets and the counters."""
        mixer = {} if self.mixer is None else {"mixer": self.mixer}
        return {"opt": self.optimiser, **mixer}

    def identity(self) -> dict[str, dict[str, Any]]:
        """What two runs must share for networks, and mixers, to carry over."""
        settings = SHARED_SETTINGS + (self.mixer.form if self.mixer is not None else ())
        return common.identity(self.args, obs_size=self.obs_size, settings=settings)

    def _experience(self, batch: EpisodeBatch) -> Experience:
        ended = batch["terminated"][:, :-1].float()  # [B, T, 1]
        mask = common.steps_that_count(batch)
        rewards = batch["reward"][:, :-1]  # [B, T, 1 or N]
        if self.args.standardise_rewards:
            self.reward_stats.update(rewards[mask.squeeze(-1) > 0])
            rewards = self.reward_stats.standardise(rewards)
        unavailable = batch["avail_actions"][:, 1:] == 0
        return Experience(batch["actions"][:, :-1].long(), rewards, ended, mask, unavailable)

    def _step(self, batch: EpisodeBatch, experience: Experience) -> dict[str, Tensor]:
        """One gradient step on the squared TD error, mean over the steps that count."""
        values = self.mac.forward_all(batch)  # [B, T+1, N, A]
        taken = values[:, :-1].gather(-1, experience.actions).squeeze(-1)  # [B, T, N]
        if self.mixer is not None:
            taken = self.mixer(taken, batch["state"][:, :-1])  # [B, T, 1]
        targets = self._targets(batch, experience, values.detach())
        errors = (taken - targets) * experience.mask
        count = experience.mask.sum() * taken.shape[-1]
        loss = errors.square().sum() / count
        grad_norm = common.descend(loss, self.optimiser, self.params, name="loss", args=self.args)
        return {
            "loss": loss,
            "grad_norm": grad_norm,
            "td_error_abs": errors.abs().sum() / count,
            "q_taken_mean": (taken * experience.mask).sum() / count,
            "target_mean": (targets * experience.mask).sum() / count,
        }

    @torch.no_grad()
    def _targets(self, batch: EpisodeBatch, experience: Experience, values: Tensor) -> Tensor:
        """What the value of a step should be, ``[B, T, N]``, or ``[B, T, 1]`` with a mixer.

        Args:
            values: ``[B, T+1, N, A]`` of the network that learns.
        """
        target_values = self.target_mac.forward_all(batch)[:, 1:]
        choosing = values[:, 1:] if self.args.double_q else target_values
        next_values = best_values(target_values, choosing, experience.unavailable)
        if self.target_mixer is not None:
            next_values = self.target_mixer(next_values, batch["state"][:, 1:])
        if self.args.standardise_returns:
            next_values = self.return_stats.restore_units(next_values)
        targets = td_targets(experience.rewards, experience.ended, next_values, gamma=self.args.gamma)
        if self.args.standardise_returns:
            self.return_stats.update(targets[experience.mask.squeeze(-1) > 0])
            targets = self.return_stats.standardise(targets)
        return targets

    def _update_targets(self) -> None:
        self.training_steps += 1
        setting = self.args.target_update_interval_or_tau
        age = self.training_steps - self.last_target_update
        if common.follow(self.target_params, self.params, setting=setting, age=age):
            self.last_target_update = self.training_steps


def best_values(values: Tensor, choosing: Tensor, unavailable: Tensor) -> Tensor:
    """Each agent's value of the available action that `choosing` ranks first.

    Equation: ``Q(s, argmax_a Q_choosing(s, a))``; with `choosing` the values themselves it is their maximum,
    with those of the network that learns it is double Q-learning (van Hasselt et al., 2016, equation 4).

    Args:
        values: ``[B, T, N, A]``.
        choosing: ``[B, T, N, A]``.
        unavailable: ``[B, T, N, A]`` bool. Where nothing is available the value is finite and means nothing.

    Returns:
        ``[B, T, N]``.
    """
    best = choosing.masked_fill(unavailable, -torch.inf).argmax(dim=-1, keepdim=True)
    return values.gather(-1, best).squeeze(-1)


def td_targets(rewards: Tensor, ended: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    """``y_t = r_t + gamma (1 - ended_t) V_{t+1}``.

    Args:
        rewards: ``[B, T, N]``, or ``[B, T, 1]`` for all alike.
        ended: ``[B, T, 1]``, 1 where the episode terminated; a step at which it was only cut off bootstraps.
        next_values: ``[B, T, N]``, or ``[B, T, 1]`` of a team.
        gamma: discount of a step.

    Returns:
        The shape of `next_values`.
    """
    assert rewards.shape[-1] in (1, next_values.shape[-1])
    return rewards + gamma * (1 - ended) * next_values


def check_settings(args: SimpleNamespace) -> None:
    """Refuse what Q-learning cannot learn with.

    Raises:
        UserError: with key, value and remedy.
    """
    if args.agent_output_type != "q":
        raise UserError(f"agent_output_type={args.agent_output_type}: q_learner needs q")
    if args.mixer is not None and not args.common_reward:
        raise UserError(
            f"common_reward=False: mixer={args.mixer} learns the value of a team from one reward; "
            "set common_reward=True, or use --config=iql"
        )
    if args.reward_scalarisation not in ("sum", "mean"):
        raise UserError(f"reward_scalarisation={args.reward_scalarisation}: choose sum or mean")
    if args.mixer == "qmix" and args.hypernet_layers not in (1, 2):
        raise UserError(f"hypernet_layers={args.hypernet_layers}: 1 or 2 is needed")
    sizes = ("mixing_embed_dim", "hypernet_embed") if args.mixer == "qmix" else ()
    common.require_at_least_one(args, ("epochs", "hidden_dim", *sizes))
    common.require_positive(args, ("lr", "grad_norm_clip", "target_update_interval_or_tau"))
    common.require_share(args, ("gamma", "epsilon_start", "epsilon_finish", "evaluation_epsilon"))
