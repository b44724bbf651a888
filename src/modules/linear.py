"""A linear layer whose inputs come in several pieces."""

import torch


def uniform_linear(n_in: int, n_out: int, *, fan_in: int, bias: bool = True) -> torch.nn.Linear:
    """A linear layer that is a piece of one with ``fan_in`` inputs, and drawn like it.

    Weights and biases are uniform in +-1 / sqrt(fan_in), as torch draws those of the whole layer. Pieces
    added up are the whole layer on inputs side by side, which need not be put side by side.
    """
    layer = torch.nn.Linear(n_in, n_out, bias=bias)
    bound = fan_in**-0.5
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -bound, bound)
    return layer
