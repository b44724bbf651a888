"""Optimistic policy mirror descent: a step along what Q is expected to be next."""

import torch
from torch import Tensor

from ..functional.mirror_descent import looked_ahead


class Optimism(torch.nn.Module):
    """Remembers Q of the epoch before, and looks as far ahead again (``looked_ahead``).

    Args:
        weight: o, > 0.
        shape: of Q, [H, S, A].
    """

    before: Tensor

    def __init__(self, weight: float, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("before", torch.zeros(shape))

    def ahead(self, q_values: Tensor, *, epoch: int) -> Tensor:
        """Q_t + o (Q_t - Q_{t-1}) of Q_t [H, S, A], which is remembered; Q_0 itself in epoch 0."""
        found = q_values if epoch == 0 else looked_ahead(q_values, self.before, self.weight)
        self.before.copy_(q_values)
        return found
