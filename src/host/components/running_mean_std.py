"""Mean and variance of a stream."""

from typing import Any

import torch
from torch import Tensor


class RunningMeanStd:
    """Mean and population variance of everything seen, one for each column.

    Equation: with (m, v, c) of the stream and (m', v', c') of a block, d = m' - m and n = c + c',
    ``m <- m + d c'/n`` and ``v <- (v c + v' c' + d^2 c c'/n) / n`` (Chan, Golub and LeVeque, 1983).

    Args:
        epsilon: weight of the prior (mean 0, variance 1), in entries.
        shape: ``(columns,)``.
        device: where the statistics live.
    """

    def __init__(self, epsilon: float = 1e-4, shape: tuple[int, ...] = (), device: Any = "cpu"):
        self.mean = torch.zeros(shape, device=device)
        self.var = torch.ones(shape, device=device)
        self.count = epsilon

    def update(self, values: Tensor) -> None:
        """Take in a block ``[..., columns]``; an empty one changes nothing."""
        rows = values.reshape(-1, values.shape[-1])
        if len(rows) == 0:
            return
        total = self.count + len(rows)
        delta = rows.mean(dim=0) - self.mean
        spread = self.var * self.count + rows.var(dim=0, correction=0) * len(rows)
        self.var = (spread + delta.square() * (self.count * len(rows) / total)) / total
        self.mean = self.mean + delta * (len(rows) / total)
        self.count = total

    def standardise(self, values: Tensor) -> Tensor:
        """Values ``[..., columns]`` in units of the stream's standard deviation from its mean."""
        return (values - self.mean) / self.var.sqrt()

    def restore_units(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`standardise`."""
        return values * self.var.sqrt() + self.mean

    def state_dict(self) -> dict[str, Any]:
        """Mean, variance and count."""
        return {"mean": self.mean, "var": self.var, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; statistics of another number of columns are pooled over them."""
        mean, var = state["mean"].to(self.mean), state["var"].to(self.var)
        if mean.shape != self.mean.shape:
            var = (var.mean() + mean.var(correction=0)).expand_as(self.var).clone()
            mean = mean.mean().expand_as(self.mean).clone()
        self.mean, self.var, self.count = mean, var, state["count"]
