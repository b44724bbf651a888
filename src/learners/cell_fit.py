"""Gradient steps of a network of cells on fixed goals, without autograd."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.fit_losses import DivergenceFromGoal, WeightedSquares
from ..modules.cell_gradients import CellGradients
from .flat_adam import FlatAdam


class Minibatch(NamedTuple):
    """Attributes:
    shared: what the states of a row share, ``features.step_features`` [R, F - S].
    loss: of the outputs [R, S, n_out].
    """

    shared: Tensor
    loss: WeightedSquares | DivergenceFromGoal


@torch.no_grad()
def fit_cells(
    network: torch.nn.Sequential,
    optimiser: torch.optim.Adam,
    minibatches: Sequence[Minibatch],
    *,
    n_states: int,
    steps: int,
    grad_norm_clip: float,
) -> float:
    """Steps of Adam on minibatches of one shape, in turn; returns the loss before the last step.

    The rate of the k-th of K steps is (K - k + 1) / K of the optimiser's, so that a fit settles on the mean
    of its minibatches. What ``fitting.descend`` does with autograd, to rounding, several times faster where
    the networks are small; the network and its optimiser are left as by torch's own steps.

    Args:
        network: an ``mlp`` of cell features.
        optimiser: of exactly its parameters.
        minibatches: taken round and round.
        n_states: S.
        steps: how many, at least 1.
        grad_norm_clip: largest l2 norm of a gradient.
    """
    held = optimiser.param_groups[0]["params"]
    assert all(p is q for p, q in zip(held, network.parameters(), strict=True))
    adam = FlatAdam(optimiser, grad_norm_clip=grad_norm_clip)
    n_rows = len(minibatches[0].shared)
    passes = CellGradients(adam.parameters, layer_sizes(network), n_states=n_states, n_rows=n_rows)
    lr = optimiser.param_groups[0]["lr"]
    last_loss = 0.0
    for step in range(steps):
        shared, loss = minibatches[step % len(minibatches)]
        outputs = passes.forward(shared)
        if step + 1 == steps:
            last_loss = loss.value(outputs).item()
        gradient = passes.backward(shared, loss.gradient(outputs))
        adam.step(gradient, lr=lr * (1 - step / steps))
    adam.give_back()
    return last_loss


def layer_sizes(network: torch.nn.Sequential) -> list[int]:
    """n_in, the widths of the hidden layers, n_out."""
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    return [linear[0].in_features, *(layer.out_features for layer in linear)]
