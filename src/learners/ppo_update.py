"""The update of PPO, for whoever has samples and networks: it knows of no controller and of no batch.

J. Schulman et al., "Proximal Policy Optimization Algorithms", 2017 (arXiv 1707.06347), Alg. 1.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.distributions import entropy
from ..functional.ppo import (
    clipped,
    clipped_surrogate,
    counted_mean,
    log_ratio_kl,
    norm_factors,
    standardised,
)
from .epoch_learner import require_range


class Samples(NamedTuple):
    """Steps that were played: R rows, each a step of an episode, of J agents.

    Attributes:
        actions: [R, J] int64.
        log_probs: under the policy that played them, [R, J].
        advantages: [R, J], in any unit: they are standardised minibatch by minibatch.
        returns: what the critic is to learn, [R, J] in the critic's units.
        counts: which entries are steps that were taken, [R, J] bool.
    """

    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor
    counts: Tensor

    def rows(self, chosen: Tensor) -> "Samples":
        """Some of the rows, by number [r]."""
        return Samples(*(field[chosen] for field in self))


class Evaluation(NamedTuple):
    """What the networks say of some rows, with gradient.

    Attributes:
        log_policy: log pi of every action, [r, J, A].
        values: V in the critic's units, [r, J].
    """

    log_policy: Tensor
    values: Tensor


@dataclass(frozen=True)
class PPOSettings:
    """Attributes:
    epochs: passes over the rows.
    minibatches: gradient steps a pass.
    eps_clip: how far the ratio of probabilities pays.
    entropy_coef: weight of the entropy, in deviations of the advantage.
    grad_norm_clip: largest l2 norm of the gradient of each network.
    """

    epochs: int
    minibatches: int
    eps_clip: float
    entropy_coef: float
    grad_norm_clip: float

    @classmethod
    def of(cls, args: SimpleNamespace) -> "PPOSettings":
        """Read off the settings of an algorithm.

        Raises:
            UserError: a setting out of range.
        """
        require_range(args, positive=("eps_clip", "grad_norm_clip"), at_least_one=("epochs", "minibatches"))
        if not args.entropy_coef >= 0:
            raise UserError(f"entropy_coef={args.entropy_coef}: must not be negative")
        return cls(args.epochs, args.minibatches, args.eps_clip, args.entropy_coef, args.grad_norm_clip)


class PPOUpdate:
    """Several passes of minibatch gradient steps on the samples of one policy.

    The policy climbs E[min(rho A, clamp(rho) A)] + entropy_coef E[Ent(pi)], A standardised in each minibatch
    (Schulman et al. 2017, Eq. 9), the critic descends E[(V - return)^2]. A minibatch is a set of rows with
    all of their agents. The two networks share no parameter, so that their losses need no relative weight.

    Args:
        policy: its optimiser.
        critic: its optimiser.
        settings: see PPOSettings.
        own: every agent has networks of its own, whose parameters are stacked [N, ...]: means, deviations
            and the norms of gradients are then taken agent by agent, as if each were trained by itself.
    """

    def __init__(
        self,
        policy: torch.optim.Optimizer,
        critic: torch.optim.Optimizer,
        settings: PPOSettings,
        *,
        own: bool = False,
    ) -> None:
        self.optimisers = (policy, critic)
        self.settings = settings
        self.own = own

    def improve(self, samples: Samples, evaluate: Callable[[Tensor], Evaluation]) -> dict[str, float]:
        """All the passes.

        Args:
            samples: R rows.
            evaluate: the networks' outputs at rows given by number, [r] int64.

        Returns:
            ``policy_loss``, ``critic_loss``, ``policy_entropy``, ``approx_kl`` and ``clip_fraction``, means
            over the gradient steps of the last pass, each as it was before its step.
        """
        measured: list[Tensor] = []
        for _ in range(self.settings.epochs):
            parts = minibatches(samples.counts, self.settings.minibatches)
            measured = [self.step(samples.rows(chosen), evaluate(chosen)) for chosen in parts]
        means = torch.stack(measured).mean(0).tolist()
        names = ("policy_loss", "critic_loss", "policy_entropy", "approx_kl", "clip_fraction")
        return dict(zip(names, means, strict=True))

    def step(self, samples: Samples, evaluation: Evaluation) -> Tensor:
        """One gradient step of both networks; returns the five measures [5] before it."""
        counts, clip = samples.counts, self.settings.eps_clip
        log_probs = evaluation.log_policy.gather(-1, samples.actions.unsqueeze(-1)).squeeze(-1)
        advantages = standardised(samples.advantages, counts, own=self.own)
        gain = clipped_surrogate(log_probs, samples.log_probs, advantages, clip=clip)
        policy_entropy = entropy(evaluation.log_policy)
        policy_loss = -self.mean(gain + self.settings.entropy_coef * policy_entropy, counts)
        critic_loss = self.mean((evaluation.values - samples.returns).square(), counts)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        (policy_loss.sum() + critic_loss.sum()).backward()
        for optimiser in self.optimisers:
            self.clip_gradients(optimiser)
            optimiser.step()
        with torch.no_grad():
            kl = self.mean(log_ratio_kl(log_probs, samples.log_probs), counts)
            share = self.mean(clipped(log_probs, samples.log_probs, clip=clip), counts)
            measures = (policy_loss, critic_loss, self.mean(policy_entropy, counts), kl, share)
            return torch.stack([measure.mean() for measure in measures])

    def mean(self, values: Tensor, counts: Tensor) -> Tensor:
        """Over the entries that count: of all, [1], or agent by agent, [J]."""
        return counted_mean(values, counts, own=self.own)

    def clip_gradients(self, optimiser: torch.optim.Optimizer) -> None:
        """Shorten the gradient of a network, or of each of the stacked ones, to ``grad_norm_clip``."""
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        factors = norm_factors(gradients, most=self.settings.grad_norm_clip, own=self.own)
        for gradient in gradients:
            gradient.mul_(factors.reshape(-1, *[1] * (gradient.dim() - 1)))


def minibatches(counts: Tensor, n_parts: int) -> Iterator[Tensor]:
    """Rows with an entry that counts, [R, J] bool, in random order: ``n_parts`` sets of nearly one size, [r].

    No set is empty, unless nothing counts: that is one set of no row.
    """
    rows = counts.any(1).nonzero().squeeze(1)
    order = torch.randperm(len(rows), device=rows.device)
    return iter(rows[order].tensor_split(max(1, min(n_parts, len(rows)))))
