"""Proximal policy optimisation: the clipped surrogate, and what is measured of a step.

J. Schulman, F. Wolski, P. Dhariwal, A. Radford, O. Klimov, "Proximal Policy Optimization Algorithms", 2017
(arXiv 1707.06347). R rows are steps of episodes, J the agents learnt from; an entry [R, J] is an agent's
step. Where all agents share one network, means are over all entries that count; where each has a network of
its own (``own``), agent by agent, so that the sum over agents has for each network's parameters the gradient
of that network's own mean.
"""

import torch
from torch import Tensor


def counted_mean(values: Tensor, counts: Tensor, *, own: bool = False) -> Tensor:
    """Means over the entries that count: one of all [1], or one an agent [J]; 0 where none counts.

    Args:
        values: [R, J].
        counts: [R, J] bool.
        own: agent by agent.
    """
    dims = (0,) if own else (0, 1)
    total = torch.where(counts, values, 0.0).sum(dims)
    return (total / counts.sum(dims).clamp(min=1)).reshape(-1)


def standardised(values: Tensor, counts: Tensor, *, own: bool = False, floor: float = 1e-8) -> Tensor:
    """Values less their mean over the entries that count, over their deviation; 0 elsewhere.

    Args:
        values: [R, J].
        counts: [R, J] bool.
        own: mean and deviation agent by agent.
        floor: added to the deviation, so that values that are all alike give 0.
    """
    centred = torch.where(counts, values - counted_mean(values, counts, own=own), 0.0)
    deviation = counted_mean(centred.square(), counts, own=own).sqrt()
    return centred / (deviation + floor)


def clipped_surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, *, clip: float) -> Tensor:
    """min(rho A, clamp(rho, 1 - clip, 1 + clip) A), rho = pi(a) / pi_old(a)  (Schulman et al. 2017, Eq. 7).

    It is a lower bound of rho A, flat where the step has already taken rho as far as it pays.

    Args:
        log_probs: log pi(a) of the actions taken, [...].
        old_log_probs: under the policy that took them, [...].
        advantages: [...].
        clip: epsilon > 0.

    Returns:
        [...], in units of the advantages.
    """
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def log_ratio_kl(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    """An estimate of KL(pi_old | pi), entry by entry: rho - 1 - log rho, in nats, [...].

    Over actions of pi_old its mean is the KL; it is never negative, unlike -log rho, whose mean is the same.
    """
    log_ratio = log_probs - old_log_probs
    return log_ratio.expm1() - log_ratio


def clipped(log_probs: Tensor, old_log_probs: Tensor, *, clip: float) -> Tensor:
    """Whether the ratio rho has left [1 - clip, 1 + clip], [...] as 0.0 or 1.0."""
    return ((log_probs - old_log_probs).expm1().abs() > clip).to(log_probs.dtype)


def norm_factors(gradients: list[Tensor], *, most: float, own: bool = False) -> Tensor:
    """By what to multiply gradients so that their l2 norm is at most ``most``.

    Args:
        gradients: of all parameters of a network [...], or stacked over networks [N, ...].
        most: largest norm.
        own: the norm of each network's gradient by itself.

    Returns:
        [1], or one factor a network [N]; 1 where the norm is small enough.
    """
    squares = [
        g.square().reshape(len(g), -1).sum(1) if own else g.square().sum().reshape(1) for g in gradients
    ]
    norm = torch.stack(squares).sum(0).sqrt()
    return (most / norm.clamp(min=1e-12)).clamp(max=1.0)
