"""Outputs and gradients of a network of cells, by hand, in memory that is kept between steps."""

from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.activation import tanh_of_half_


class Layer(NamedTuple):
    """Attributes:
    weight: [n_out, n_in].
    bias: [n_out].
    """

    weight: Tensor
    bias: Tensor


def layers_of(vector: Tensor, sizes: list[int]) -> list[Layer]:
    """Views of the parameters of an ``mlp`` of these sizes, laid out as by ``parameters_to_vector``: [P]."""
    shapes = list(pairwise(sizes))
    ends = list(accumulate((n_in + 1) * n_out for n_in, n_out in shapes))
    assert vector.shape == (ends[-1],), (vector.shape, sizes)
    layers = []
    for (n_in, n_out), end in zip(shapes, ends, strict=True):
        weight = vector[end - (n_in + 1) * n_out : end - n_out].view(n_out, n_in)
        layers.append(Layer(weight, vector[end - n_out : end]))
    return layers


class CellGradients:
    """Forward and backward pass of a ``CellNetwork``, for many steps on minibatches of one shape.

    With x what the states of a row share, e_s the one-hot state, and W_x and W_e their columns of the first
    layer's weights:

        z_1 = W_x x + W_e e_s + b_1,   y_l = tanh z_l,   z_l = W_l y_{l-1} + b_l,   the outputs are z_L,
        dL/dz_{l-1} = (1 - y_{l-1}^2) W_l^T dL/dz_l,   dL/dW_l = dL/dz_l y_{l-1}^T,   dL/db_l = dL/dz_l,

    the last two summed over cells. On some tens of cells autograd spends most of its time on itself.

    Args:
        parameters: of the network, [P], read at every call; there is at least one hidden layer.
        sizes: n_in, the widths of the hidden layers, n_out.
        n_states: S.
        n_rows: R, steps of episodes in a minibatch.

    Attributes:
        gradient: dL / d parameters as the last ``backward`` left it, [P].
    """

    def __init__(self, parameters: Tensor, sizes: list[int], *, n_states: int, n_rows: int) -> None:
        self.gradient = torch.zeros_like(parameters)
        self.layers, self.slopes = layers_of(parameters, sizes), layers_of(self.gradient, sizes)
        (self.own, self.common), (self.own_slope, self.common_slope) = (
            layers[0].weight.split([n_states, sizes[0] - n_states], 1)
            for layers in (self.layers, self.slopes)
        )  # W_e [D, S], W_x [D, F - S]
        self.shape = (n_rows, n_states)
        self.rows = parameters.new_empty(n_rows, sizes[1])  # W_x x + b_1, or its slope
        self.states = parameters.new_empty(n_states, sizes[1])  # W_e^T, or its slope; contiguous, so fast
        self.values = [parameters.new_empty(n_rows * n_states, size) for size in sizes[1:]]  # y_l, z_L
        self.errors = [torch.empty_like(value) for value in self.values[:-1]]  # dL / dz_l

    def forward(self, shared: Tensor) -> Tensor:
        """``step_features`` [R, F - S] -> outputs [R, S, n_out], which the next call overwrites."""
        first, *others, last = self.layers
        below = self.values[0]
        torch.addmm(first.bias, shared, self.common.T, beta=2, alpha=2, out=self.rows)
        self.states.copy_(self.own.T)
        torch.add(self.rows.unsqueeze(1), self.states, alpha=2, out=below.view(*self.shape, -1))  # [R, S, D]
        tanh_of_half_(below)
        for layer, above in zip(others, self.values[1:-1], strict=True):
            below = tanh_of_half_(torch.addmm(layer.bias, below, layer.weight.T, beta=2, alpha=2, out=above))
        return torch.addmm(last.bias, below, last.weight.T, out=self.values[-1]).view(*self.shape, -1)

    def backward(self, shared: Tensor, error: Tensor) -> Tensor:
        """The gradient [P] from dL / d outputs [R, S, n_out], once after a ``forward`` of ``shared``."""
        error = error.view(len(self.values[0]), -1)
        for k in reversed(range(1, len(self.layers))):
            below = self.values[k - 1]
            torch.mm(error.T, below, out=self.slopes[k].weight)
            torch.sum(error, 0, out=self.slopes[k].bias)
            error = torch.mm(error, self.layers[k].weight, out=self.errors[k - 1])
            error.addcmul_(error, below.square_(), value=-1)  # nobody needs y_{l-1} any more
        cells = error.view(*self.shape, -1)  # [R, S, D]
        torch.sum(cells, 1, out=self.rows)
        torch.mm(self.rows.T, shared, out=self.common_slope)
        torch.sum(self.rows, 0, out=self.slopes[0].bias)
        self.own_slope.T.copy_(torch.sum(cells, 0, out=self.states))
        return self.gradient
