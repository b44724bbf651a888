"""Fictitious play on the tables of a mean-field game."""

from typing import NamedTuple

import torch
from torch import Tensor

from .best_response import best_response
from .mean_field import Flow, MeanFieldModel, mean_field_flow, tabular_policy


class FictitiousPlayIterate(NamedTuple):
    """Attributes:
    policy: the new average, [H, S, A].
    response: a greedy best response to the old average, [H, S, A], rows one-hot.
    flow: Lambda of the old average.
    """

    policy: Tensor
    response: Tensor
    flow: Flow


def deviator_density(flow: Flow, policy: Tensor, initial_law: Tensor) -> Tensor:
    """Law of the local state of one agent that plays ``policy`` while the population keeps its flow.

    d_0 = rho0,  d_{h+1}(s') = sum_{s,a} d_h(s) pi_h(a | s) P(s' | s, a, mu_h).

    Args:
        flow: of the population.
        policy: the agent's, [H, S, A].
        initial_law: rho0 [S].

    Returns:
        [H, S]; rows sum to 1.
    """
    density = [initial_law]
    for h in range(policy.shape[0] - 1):
        density.append(torch.einsum("s,sa,sat->t", density[-1], policy[h], flow.transition[h]))
    return torch.stack(density)


def density_mixture(policies: Tensor, densities: Tensor, weights: Tensor) -> Tensor:
    """The policy of a population of which a share w_k plays pi^k and is spread as d^k.

    pi_h(a | s) = sum_k w_k d^k_h(s) pi^k_h(a | s) / sum_k w_k d^k_h(s)  (Elie et al. 2020, Sec. 3; Perrin et
    al. 2020, Sec. 2); the uniform row where nobody is.

    Args:
        policies: pi^k, [K, H, S, A].
        densities: d^k, [K, H, S].
        weights: w_k >= 0, [K], sum to 1.
    """
    mass = (weights.reshape(-1, 1, 1) * densities).unsqueeze(-1)  # [K, H, S, 1]
    total = mass.sum(0)
    rows = (mass * policies).sum(0) / torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, rows, 1.0 / policies.shape[-1])


def fictitious_play_step(model: MeanFieldModel, policy: Tensor, *, weight: float) -> FictitiousPlayIterate:
    """Mix a best response into the average, by density (Elie et al. 2020; Perrin et al. 2020, Alg. 1).

    The best response is computed against the flow of the average, and its density is that of one agent in
    that flow. Where the kernel does not depend on mu, the flow of the new average is exactly
    (1 - w) times the old flow plus w times the flow of the best response. Where it does, the next
    iteration starts from the flow that the new average really makes.

    Args:
        model: the game, float64 tables.
        policy: the average of t + 1 policies, [H, S, A].
        weight: w = 1 / (t + 2) makes it the average of t + 2.
    """
    flow = mean_field_flow(model, tabular_policy(policy))
    actions = best_response(flow.transition, flow.reward).actions
    response = torch.nn.functional.one_hot(actions, policy.shape[-1]).to(policy.dtype)
    densities = torch.stack([flow.mu.sum(-1), deviator_density(flow, response, model.initial_law)])
    weights = torch.tensor([1 - weight, weight], dtype=policy.dtype, device=policy.device)
    mixture = density_mixture(torch.stack([policy, response]), densities, weights)
    return FictitiousPlayIterate(mixture, response, flow)
