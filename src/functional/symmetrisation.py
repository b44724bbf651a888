"""Symmetrisation of functions of a tuple, and its lift to the lattice (Yardim & He 2025, Def. 2, 3)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .lattice import arrangements, count_tuples, n_arrangements, representatives

TupleFunction = Callable[[Tensor], Tensor]
"""A function of n-tuples of cells 0 .. d - 1: [..., n] int64 -> [..., *value], batch by batch."""


class TooManyArrangementsError(ValueError):
    """More distinct arrangements than the caller wants to call a function at."""


class MonteCarlo(NamedTuple):
    """Attributes:
    mean: unbiased estimate, [..., *value].
    standard_error: of the mean, the same shape.
    """

    mean: Tensor
    standard_error: Tensor


def empirical_distribution(tuples: Tensor, n_values: int) -> Tensor:
    """sigma(x), the share of the entries of x at each value: [..., n] int64 -> [..., d] float64."""
    return count_tuples(tuples, n_values).double() / tuples.shape[-1]


def symmetrise_exact(f: TupleFunction, tuples: Tensor, *, n_values: int, most: int) -> Tensor:
    """Sym(f)(x) = 1/n! sum_g f(x_g(1), ..., x_g(n)) over all permutations g  (Yardim & He 2025, Def. 2).

    Computed as the mean over the distinct arrangements of x: each of them is made by the same number
    prod_j c_j! of permutations, those that exchange equal entries alone, and so has the same weight.

    Args:
        f: the function; called once, at all arrangements.
        tuples: x, [..., n] int64 in 0 .. d - 1.
        n_values: d.
        most: arrangements that f may be called at.

    Returns:
        [..., *value].

    Raises:
        TooManyArrangementsError: there are more than ``most``.
    """
    return lift_exact(f, count_tuples(tuples, n_values), most=most)


def lift_exact(f: TupleFunction, counts: Tensor, *, most: int) -> Tensor:
    """Sym-bar(f) at points of the lattice: Sym(f) is a function of the counts alone (Def. 3).

    Args:
        f, most: as for ``symmetrise_exact``.
        counts: [..., d] int64, all of the same sum n.

    Returns:
        [..., *value].
    """
    flat = counts.reshape(-1, counts.shape[-1])
    n_calls = int(n_arrangements(flat).sum())
    if n_calls > most:
        raise TooManyArrangementsError(f"{n_calls:,} distinct arrangements, at most {most:,} are tried")
    owner, arranged = arrangements(flat)
    means = group_means(f(arranged), owner, len(flat))
    return means.reshape((*counts.shape[:-1], *means.shape[1:]))


def lift(symmetric: TupleFunction, counts: Tensor) -> Tensor:
    """The lift f-bar(c) = f(x) for any x with the counts c: [..., d] -> [..., *value].

    Well defined for a symmetric f alone: all tuples of the same counts are permutations of each other.
    """
    flat = counts.reshape(-1, counts.shape[-1])
    values = symmetric(representatives(flat))
    return values.reshape((*counts.shape[:-1], *values.shape[1:]))


def group_means(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Mean of values [M, *value] over each group [M] int64, none of them empty: [n_groups, *value]."""
    sums = values.new_zeros(n_groups, *values.shape[1:]).index_add_(0, group, values)
    sizes = torch.bincount(group, minlength=n_groups).to(values.dtype)
    return sums / sizes.reshape(-1, *(1,) * (values.dim() - 1))


def random_arrangements(tuples: Tensor, *, n_draws: int, generator: torch.Generator) -> Tensor:
    """Uniformly random permutations of tuples [..., n], independent: [..., n_draws, n] int64."""
    shape = (*tuples.shape[:-1], n_draws, tuples.shape[-1])
    keys = torch.rand(shape, generator=generator, dtype=torch.float64, device=tuples.device)
    return tuples.unsqueeze(-2).expand(shape).gather(-1, keys.argsort(-1))


def symmetrise_monte_carlo(
    f: TupleFunction, tuples: Tensor, *, n_draws: int, generator: torch.Generator
) -> MonteCarlo:
    """Sym(f)(x) estimated at random arrangements of x: unbiased, with its standard error.

    Args:
        f: the function; called once, at all draws.
        tuples: x, [..., n] int64.
        n_draws: M >= 2, arrangements drawn for each tuple.
        generator: of the draws.
    """
    values = f(random_arrangements(tuples, n_draws=n_draws, generator=generator))  # [..., M, *value]
    return mean_of_draws(values, dim=tuples.dim() - 1)


def mean_of_draws(values: Tensor, *, dim: int) -> MonteCarlo:
    """Mean of independent draws along ``dim``, two at least, with its standard error."""
    n_draws = values.shape[dim]
    assert n_draws >= 2, "one draw has no standard error"
    return MonteCarlo(values.mean(dim), values.std(dim) / n_draws**0.5)
