"""Optimistic policy mirror descent: a step along what Q is expected to be next."""

import torch
from torch import Tensor

from ..functional.mirror_descent import looked_ahead


class Optimism(torch.nn.Module):
    """Remembers Q of the epoch before, and looks as far ahead again (``looked_ahead``).

    Only where Q was learnt in both epochs: what stands in for it elsewhere, 0 or the mean of a row, comes and
    goes with the visits, and its change says nothing of Q.

    Args:
        weight: o, > 0.
        shape: of Q, [H, S, A].
    """

    before: Tensor
    known: Tensor

    def __init__(self, weight: float, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("before", torch.zeros(shape))
        self.register_buffer("known", torch.zeros(shape, dtype=torch.bool))

    def ahead(self, q_values: Tensor, seen: Tensor) -> Tensor:
        """Q_t + o (Q_t - Q_{t-1}) where both are known, else Q_t; Q_t is remembered.

        Args:
            q_values: Q_t, [H, S, A].
            seen: where it was learnt, bool of a shape that broadcasts to it.

        Returns:
            [H, S, A]; in the first epoch Q_0.
        """
        both = self.known & seen
        found = torch.where(both, looked_ahead(q_values, self.before, self.weight), q_values)
        self.before.copy_(q_values)
        self.known.copy_(seen.expand_as(q_values))
        return found
