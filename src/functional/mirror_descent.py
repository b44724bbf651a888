"""Policy mirror descent in closed form, and its schedules."""

import math

import torch
from torch import Tensor


def step_size(epoch: int, c_xi: float) -> float:
    """xi_t = c_xi / sqrt(t + 1), t = 0, 1, ...; c_xi = 1 is Yardim & He 2025, Alg. 2."""
    return c_xi / math.sqrt(epoch + 1)


def square_spread(q_values: Tensor, visits: Tensor) -> Tensor:
    """G^2 = sum_h sum_s nu_h(s) (max_a Q_h(s, a) - min_a Q_h(s, a))^2, over visited cells.

    Args:
        q_values: [H, S, A], reward units.
        visits: [H, S, A]; nu_h is the share of the visits.

    Returns:
        A scalar in squared reward units; adding a constant to a row of Q changes nothing.
    """
    seen = visits > 0
    if bool(seen.all()):
        low, high = torch.aminmax(q_values, dim=-1)
        spread = high - low  # [H, S]
    else:
        high = torch.where(seen, q_values, -torch.inf).amax(-1)
        low = torch.where(seen, q_values, torch.inf).amin(-1)
        spread = torch.where(seen.any(-1), high - low, 0.0)
    held = visits.sum(-1)
    share = held / held.sum(-1, keepdim=True).clamp(min=1)
    return (share * spread.square()).sum()


def scale_free_step_size(sum_of_squares: float, c: float) -> float:
    """xi_t = c / sqrt(sum_{k <= t} G_k^2), in 1 / reward units (Orabona & Pal 2018, Sec. 4, for one player).

    xi_t Q_t is then a pure number: multiplying all rewards by a constant changes no policy. 0 where Q never
    told actions apart.
    """
    return c / math.sqrt(sum_of_squares) if sum_of_squares > 0 else 0.0


def looked_ahead(q_values: Tensor, before: Tensor, weight: float) -> Tensor:
    """Q_t + o (Q_t - Q_{t-1}): a guess of Q_{t+1}, [..., A] in reward units.

    Policy mirror descent along it is optimistic (Rakhlin & Sridharan 2013, "Optimization, learning, and games
    with predictable sequences", whose o is 1). Where a policy chases a population that runs from it, Q turns
    back and forth, and a step along Q alone comes too late.
    """
    return torch.add(q_values, q_values - before, alpha=weight)


def mixing_weight(epoch: int, c_mix: float, mix_offset: float) -> float:
    """w_t = min(1, c_mix / (t + offset)), t = 0, 1, ...

    1 and 1 are Yardim & He 2025, Alg. 2; like every pair of equals they discard the first update.
    """
    return min(1.0, c_mix / (epoch + mix_offset))


def mirror_descent_target(log_policy: Tensor, q_values: Tensor, *, xi: float, tau: float) -> Tensor:
    """Solution of one regularised mirror-descent step (Yardim & He 2025, Def. 12), before any mixing.

    argmax_u xi / (1 - tau xi) [<q, u> + tau Ent(u)] - KL(u | pi), whose closed form is
    pi^(a | s) proportional to pi(a | s)^(1 - tau xi) exp(xi q(s, a)). Adding a constant in a to q
    (the paper's q = Q - tau Ent(pi)) changes nothing.

    Args:
        log_policy: log pi [..., A].
        q_values: q or Q [..., A], reward units.
        xi: step size, > 0, tau xi < 1.
        tau: weight of the entropy, >= 0.

    Returns:
        log pi^ [..., A], normalised.
    """
    assert 0 <= tau * xi < 1, (tau, xi)
    return torch.log_softmax((1 - tau * xi) * log_policy + xi * q_values, dim=-1)


def mix_with_uniform(log_policy: Tensor, weight: float, *, available: Tensor | None = None) -> Tensor:
    """log[(1 - w) pi + w Uniform] of log pi [..., A], w in [0, 1] (Yardim & He 2025, Alg. 2, last line).

    With ``available`` [..., A] bool the uniform policy is that over the available actions, the others having
    probability zero (log-probability -inf) before and after.
    """
    if weight == 0:
        return log_policy
    if available is None:
        uniform = torch.full_like(log_policy, math.log(weight / log_policy.shape[-1]))
    else:
        share = weight / available.sum(-1, keepdim=True).to(log_policy.dtype)
        uniform = torch.where(available, share.log(), -torch.inf)
    if weight == 1:
        return uniform
    return torch.logaddexp(log_policy + math.log1p(-weight), uniform)


def mirror_descent_step(
    log_policy: Tensor,
    q_values: Tensor,
    *,
    xi: float,
    tau: float,
    mixing: float,
    available: Tensor | None = None,
) -> Tensor:
    """One step of policy mirror descent: the closed form, then the mixture with the uniform policy.

    pi_{t+1} = (1 - w_t) pi^_{t+1} + w_t Uniform (Yardim & He 2025, Alg. 2). Shapes and units as in
    ``mirror_descent_target``; ``mixing`` is w_t in [0, 1], ``available`` as in ``mix_with_uniform``.
    """
    target = mirror_descent_target(log_policy, q_values, xi=xi, tau=tau)
    return mix_with_uniform(target, mixing, available=available)
