"""PPO with shared parameters: IPPO with an individual critic, MAPPO with a central one.

Schulman et al., "Proximal Policy Optimization Algorithms", 2017, for many agents as in de Witt et al., "Is
Independent Learning All You Need in the StarCraft Multi-Agent Challenge?", 2020 (IPPO) and Yu et al., "The
Surprising Effectiveness of PPO in Cooperative Multi-Agent Games", NeurIPS 2022 (MAPPO), in the form that
Papoudakis et al., "Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative Tasks",
NeurIPS 2021, gave them in EPyMARL: n-step returns from a target critic, and one gradient step an epoch of
each network on the whole batch.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..components.episode_batch import Scheme
from . import common
from .actor_critic_learner import ActorCriticLearner


class PPOLearner(ActorCriticLearner):
    """An actor-critic that takes several steps a batch, the policy ratio clipped.

    Args:
        mac: the controller, whose parameters are the actor's.
        scheme: the completed scheme of the batches.
        logger: receives the statistics.
        args: the settings of ``ippo.yaml`` or ``mappo.yaml``.
    """

    def __init__(self, mac: Any, scheme: Scheme, logger: Any, args: SimpleNamespace):
        common.require_at_least_one(args, ("epochs",))
        common.require_positive(args, ("eps_clip",))
        super().__init__(mac, scheme, logger, args)

    @property
    def epochs(self) -> int:
        """Gradient steps of each network on a batch."""
        return self.args.epochs

    def _gain(self, log_policy: Tensor, played: Tensor, advantages: Tensor) -> Tensor:
        return clipped_gain(log_policy, played, advantages, eps_clip=self.args.eps_clip)


def clipped_gain(log_policy: Tensor, played: Tensor, advantages: Tensor, *, eps_clip: float) -> Tensor:
    """The clipped surrogate of the policy's improvement (Schulman et al., 2017, equation 7), entry by entry.

    Equation: ``min(r A, clip(r, 1 - eps, 1 + eps) A)`` with ``r = pi(a | s) / pi_played(a | s)``.

    Args:
        log_policy: ``[B, T, N]``, of the actions under the actor.
        played: ``[B, T, N]``, of the actions under the policy that played them.
        advantages: ``[B, T, N]``.
        eps_clip: how far the ratio may pay.

    Returns:
        ``[B, T, N]``.
    """
    ratio = (log_policy - played).exp()
    clipped = ratio.clamp(1 - eps_clip, 1 + eps_clip)
    return torch.min(ratio * advantages, clipped * advantages)
