"""The induced mean-field game: its model, its flow Lambda(pi) and its value V(mu, pi)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import require_policy

Policy = Callable[[int, Tensor], Tensor]
"""A policy of the mean-field game: (h, nu [S]) -> pi_h(a | s) [S, A]. A tabular one ignores nu."""


class MeanFieldModel(NamedTuple):
    """A finite-horizon mean-field game with known tables (Yardim & He 2025, Def. 4).

    Attributes:
        initial_law: rho0 [S].
        horizon: H, in environment steps.
        transition: mu [S, A] -> P(s' | s, a, mu) [S, A, S]; (mu, h) -> P_h where ``time_dependent``.
        reward: mu [S, A] -> R(s, a, mu) [S, A], in [0, 1]; (mu, h) -> R_h where ``time_dependent``.
        time_dependent: whether the tables differ from step to step. Whoever walks a model asks for
            them by ``transition_at`` and ``reward_at``, and need not know.
    """

    initial_law: Tensor
    horizon: int
    transition: Callable[..., Tensor]
    reward: Callable[..., Tensor]
    time_dependent: bool = False

    def transition_at(self, h: int, mu: Tensor) -> Tensor:
        """P_h(s' | s, a, mu) at step h: mu [S, A] -> [S, A, S]."""
        return self.transition(mu, h) if self.time_dependent else self.transition(mu)

    def reward_at(self, h: int, mu: Tensor) -> Tensor:
        """R_h(s, a, mu) at step h: mu [S, A] -> [S, A]."""
        return self.reward(mu, h) if self.time_dependent else self.reward(mu)


class Flow(NamedTuple):
    """What a policy makes of the population.

    Attributes:
        mu: distribution over state-action pairs, [H, S, A].
        policy: the rows pi_h(a | s) that were played, [H, S, A].
        transition: P_h(s' | s, a, mu_h), [H, S, A, S].
        reward: R_h(s, a, mu_h), [H, S, A].
    """

    mu: Tensor
    policy: Tensor
    transition: Tensor
    reward: Tensor


def tabular_policy(table: Tensor) -> Policy:
    """Read a table pi [H, S, A] as a policy that ignores the population."""
    return lambda h, nu: table[h]


def uniform_policy(n_states: int, n_actions: int) -> Policy:
    """The policy that plays every action with probability 1 / A."""
    return lambda h, nu: torch.full((n_states, n_actions), 1.0 / n_actions, dtype=nu.dtype, device=nu.device)


def mean_field_flow(model: MeanFieldModel, policy: Policy) -> Flow:
    """Population flow Lambda(pi) (Yardim & He 2025, Def. 4).

    mu_0 = rho0 x pi_0,  mu_{h+1}(s', a') = sum_{s,a} mu_h(s, a) P_h(s' | s, a, mu_h) pi_{h+1}(a' | s').

    Args:
        model: the game, S local states and A actions.
        policy: (h, nu [S]) -> [S, A]; it is shown the marginal nu_h of its own flow.

    Returns:
        The flow with the tables met along it, in the dtype of ``model.initial_law``.

    Raises:
        NotAPolicyError: a row of the policy is no distribution (NaN, negative, or not summing to 1).
    """
    nu = model.initial_law
    steps = []
    for h in range(model.horizon):
        rows = require_policy(policy(h, nu).to(nu.dtype), name=f"the policy at step {h}")
        mu = nu.unsqueeze(-1) * rows  # [S, A]
        transition = model.transition_at(h, mu)
        steps.append((mu, rows, transition, model.reward_at(h, mu)))
        nu = torch.einsum("sa,sat->t", mu, transition)
    return Flow(*(torch.stack(parts) for parts in zip(*steps, strict=True)))


def expected_return(flow: Flow) -> Tensor:
    """V(Lambda(pi), pi) = sum_h <mu_h, R_h(., ., mu_h)>: a scalar in reward units summed over the horizon."""
    return (flow.mu * flow.reward).sum()
