"""A smooth surrogate of an extension: the expectation over n independent draws from mu [ours].

  f~(mu) = E f(X_1, ..., X_n) = sum_c multinomial(c; n, mu) Sym-bar(f)(c),   X_k ~ mu independent.

It is a polynomial of degree n in mu (Bernstein's, on the simplex) and does not interpolate: at a point of
the lattice it averages over the points around, unless f is affine in the counts, where it is exact. Its l1
Lipschitz constant is at most that of Sym-bar(f) on the lattice: draws from mu and mu' can be coupled so that
each differs with probability |mu - mu'|_1 / 2 and then moves the empirical distribution by 2 / n.
"""

import torch
from torch import Tensor

from .symmetrisation import MonteCarlo, TupleFunction, mean_of_draws


def multinomial_law(counts: Tensor, mu: Tensor) -> Tensor:
    """n! prod_j mu_j^c_j / c_j! at count vectors [K, d] for distributions mu [..., d]: [..., K] float64."""
    counts, mu = counts.double(), mu.double()
    ways = torch.lgamma(counts.sum(-1) + 1) - torch.lgamma(counts + 1).sum(-1)  # [K], log
    return (ways + torch.xlogy(counts, mu.unsqueeze(-2)).sum(-1)).exp()


def smooth_exact(values: Tensor, counts: Tensor, mu: Tensor) -> Tensor:
    """f~(mu) from Sym-bar(f) on the whole lattice.

    Args:
        values: Sym-bar(f), [K, *value] float64.
        counts: the lattice, [K, d].
        mu: [..., d].

    Returns:
        [..., *value], convex combinations of the values.
    """
    return torch.tensordot(multinomial_law(counts, mu), values, dims=1)


def smooth_monte_carlo(
    f: TupleFunction, mu: Tensor, *, n_agents: int, n_draws: int, generator: torch.Generator
) -> MonteCarlo:
    """f~(mu) estimated at ``n_draws`` tuples of n independent draws from mu [..., d]."""
    flat = mu.reshape(-1, mu.shape[-1])
    drawn = torch.multinomial(flat, n_draws * n_agents, replacement=True, generator=generator)
    values = f(drawn.reshape(*mu.shape[:-1], n_draws, n_agents))  # [..., M, *value]
    return mean_of_draws(values, dim=mu.dim() - 1)
