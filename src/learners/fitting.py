"""Gradient steps of one network on one loss, as learners that fit targets take them."""

from collections.abc import Callable

import torch
from torch import Tensor


def descend(
    loss: Callable[[int], Tensor],
    optimiser: torch.optim.Optimizer,
    *,
    steps: int,
    grad_norm_clip: float,
    falling_from: float | None = None,
) -> float:
    """Gradient steps, the loss told the number of each; returns the loss before the last of them.

    Args:
        loss: of a step's number, a scalar.
        optimiser: of the network.
        steps: how many.
        grad_norm_clip: largest l2 norm of a gradient.
        falling_from: a rate that falls to 0 in equal steps from here, so that a fit settles on the mean of
            its minibatches; None keeps the optimiser's.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    value = torch.zeros(())
    for step in range(steps):
        if falling_from is not None:
            for group in optimiser.param_groups:
                group["lr"] = falling_from * (1 - step / steps)
        optimiser.zero_grad()
        value = loss(step)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, grad_norm_clip)
        optimiser.step()
    return value.item()
