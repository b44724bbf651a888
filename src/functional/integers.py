"""Small integers: the types that hold states and actions of many agents, and how often each value occurs."""

import torch
from torch import Tensor

FEW_VALUES = 32  # up to which other devices count by comparing, value by value


def smallest_integer(n_values: int) -> torch.dtype:
    """The smallest integer type that holds 0 .. n_values - 1."""
    if n_values <= 2**8:
        return torch.uint8
    if n_values <= 2**15:
        return torch.int16
    return torch.int32 if n_values <= 2**31 else torch.int64


def as_integers(values: Tensor) -> Tensor:
    """The same values if their type is one of integers, else int64; for whoever takes both."""
    return values.long() if values.is_floating_point() else values


def paired(first: Tensor, second: Tensor, n_first: int, n_second: int) -> Tensor:
    """The number of the pair, first x n_second + second, in the smallest type that holds all of them.

    But never in a smaller one than ``second`` comes in: what is out of range in int64 stays out of range.

    Args:
        first: 0 .. n_first - 1, any integer type.
        second: 0 .. n_second - 1, any integer type, a shape that broadcasts.
    """
    dtype = torch.promote_types(smallest_integer(n_first * n_second), second.dtype)
    return first.to(dtype) * n_second + second.to(dtype)


def tally(values: Tensor, n_values: int) -> Tensor:
    """How often each value occurs, [n_values] int64.

    On the CPU by ``bincount``, which reads small integers as they are. Elsewhere ``bincount`` would wait for
    the device, so that few values are compared with all, and many are added to their places.

    Args:
        values: 0 .. n_values - 1, one axis, any integer type.
        n_values: K.
    """
    if values.device.type == "cpu":
        return torch.bincount(values, minlength=n_values)
    if n_values <= FEW_VALUES:
        return torch.stack([(values == k).sum() for k in range(n_values)])
    ones = torch.ones((), dtype=torch.int64, device=values.device).expand(len(values))
    return torch.zeros(n_values, dtype=torch.int64, device=values.device).index_add_(0, values.long(), ones)


def as_index(values: Tensor) -> Tensor:
    """The same values in a type that torch takes for an index: int32, or int64 if they came in it."""
    return values if values.dtype in (torch.int32, torch.int64) else values.int()
