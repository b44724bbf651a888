"""N-player exploitability of an agent, from flows of the others held as they were."""

from typing import NamedTuple

import torch
from torch import Tensor

from .best_response import best_response

TOO_WIDE = 0.25  # of what the game can pay: an interval wider than this says nothing about a gain of 0


class FrozenFlows(NamedTuple):
    """The decision problems that one agent faced, one an episode, the others' play held fixed.

    Attributes:
        transition: P^i(s' | s, a, rho^-i_{b,h}), [B, H, S, A, S] float64.
        reward: R^i(s, a, rho^-i_{b,h}), [B, H, S, A] float64.
        initial_law: rho0 [S] float64.
    """

    transition: Tensor
    reward: Tensor
    initial_law: Tensor

    def halves(self) -> tuple["FrozenFlows", "FrozenFlows"]:
        """The first half of the episodes and the rest."""
        middle = self.transition.shape[0] // 2
        return (
            FrozenFlows(self.transition[:middle], self.reward[:middle], self.initial_law),
            FrozenFlows(self.transition[middle:], self.reward[middle:], self.initial_law),
        )


class Bracket(NamedTuple):
    """The gain of deviating, in reward units summed over the horizon.

    Attributes:
        estimate: what the deviation found gains on flows it was not fitted to.
        lower: the same minus z standard errors.
        upper: what it gains on the flows it was fitted to, plus z standard errors.
        too_weak: whether the deviator was: the lower end is no gain at all, and the interval is
            wide; a small estimate then means nothing.
    """

    estimate: float
    lower: float
    upper: float
    too_weak: bool


def flow_values(flows: FrozenFlows, policy: Tensor) -> Tensor:
    """V(flow_b, pi): expected return of one agent along each frozen flow, forward in time.

    Args:
        flows: of B episodes.
        policy: pi [H, S, A] float64.

    Returns:
        [B], reward units summed over the horizon.
    """
    n_episodes, horizon = flows.reward.shape[:2]
    law = flows.initial_law.expand(n_episodes, -1)  # [B, S]
    value = torch.zeros(n_episodes, dtype=law.dtype, device=law.device)
    for h in range(horizon):
        cells = law.unsqueeze(-1) * policy[h]  # [B, S, A]
        value = value + (cells * flows.reward[:, h]).sum((1, 2))
        law = torch.einsum("bsa,bsat->bt", cells, flows.transition[:, h])
    return value


def greedy_deviation(flows: FrozenFlows) -> Tensor:
    """The best response to the average decision problem of the flows, as a policy [H, S, A].

    Backward induction on the mean of the kernels over episodes. With common noise, or others who
    read the population, the flows differ by O(1) and this mean is biased: its gain is then a
    lower bound only.
    """
    actions = best_response(flows.transition.mean(0), flows.reward.mean(0)).actions  # [H, S]
    return torch.nn.functional.one_hot(actions, flows.reward.shape[-1]).to(flows.reward.dtype)


def deviation_gain(flows: FrozenFlows, policy: Tensor, *, z: float = 2.24) -> Bracket:
    """Bracket of F_i = max_pi' E_flow[V(flow, pi')] - E_flow[V(flow, pi_i)].

    The first half of the flows fits the deviation; both halves measure it, flow by flow, against
    the agent's own policy, so that what the flows have in common cancels. |F_i - E^i| = O(1 / N),
    of either sign: frozen flows do not answer the deviator.

    Args:
        flows: at least 4 episodes.
        policy: pi_i [H, S, A] float64.
        z: standard errors by which the ends are widened; neither covers without.

    Returns:
        The bracket; its ends are where they fall, the lower may be negative.
    """
    assert flows.reward.shape[0] >= 4, flows.reward.shape
    fitted, held_out = flows.halves()
    deviation = greedy_deviation(fitted)

    def gain(part: FrozenFlows) -> tuple[float, float]:
        paired = flow_values(part, deviation) - flow_values(part, policy)  # [B / 2]
        return paired.mean().item(), z * (paired.std() / len(paired) ** 0.5).item()

    inside, inside_error = gain(fitted)
    estimate, error = gain(held_out)
    lower, upper = estimate - error, max(inside + inside_error, estimate + error)
    payable = flows.reward.amax((2, 3)).sum(1).mean() - flows.reward.amin((2, 3)).sum(1).mean()
    return Bracket(estimate, lower, upper, lower <= 0 and upper - lower > TOO_WIDE * payable.item())
