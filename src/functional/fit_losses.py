"""Losses of a network's outputs on fixed goals, with their gradients."""

from typing import NamedTuple

import torch
from torch import Tensor

from .distributions import kl_divergence


class WeightedSquares(NamedTuple):
    """L(y) = sum_x w(x) (y(x) - g(x))^2.

    Attributes:
        goal: g, of the outputs' shape.
        weight: w, of the same.
    """

    goal: Tensor
    weight: Tensor

    def value(self, outputs: Tensor) -> Tensor:
        """L, a scalar."""
        return (self.weight * (outputs - self.goal).square()).sum()

    def gradient(self, outputs: Tensor) -> Tensor:
        """dL / dy = 2 w (y - g)."""
        return (outputs - self.goal).mul_(self.weight).mul_(2)


class DivergenceFromGoal(NamedTuple):
    """L(y) = sum_x w(x) KL(pi(x) | g(x)), pi = softmax(y) over the last axis, in nats.

    Attributes:
        goal: log g, [..., A], finite.
        weight: w, [...].
    """

    goal: Tensor
    weight: Tensor

    def value(self, outputs: Tensor) -> Tensor:
        """L, a scalar."""
        return (self.weight * kl_divergence(torch.log_softmax(outputs, -1), self.goal)).sum()

    def gradient(self, outputs: Tensor) -> Tensor:
        """dL / dy_a = w pi_a (log pi_a - log g_a - KL(pi | g)).

        With autograd's own last operation. A goal that is met leaves 1e-10 of rounding, of which Adam, who
        divides by its size, makes whole steps: in another order of operations runs would be other runs.
        """
        log_policy = torch.log_softmax(outputs, -1)
        share = self.weight.unsqueeze(-1) * log_policy.exp()
        slope = (log_policy - self.goal).add_(1).mul_(share)  # dL / d log pi
        return torch.ops.aten._log_softmax_backward_data(slope, log_policy, -1, outputs.dtype)
