"""Lipschitz constants, in l1, of functions of the population: on the lattice, and of affine ones.

Moves of mass from one cell to another are the extreme points of the l1 ball of changes that keep the total,
so that all of these constants are attained along such moves [ours].
"""

import torch
from torch import Tensor

from .lattice import lattice, lattice_index

ENTRIES_AT_ONCE = 2**22  # of the distances that one call makes, 32 MiB


def lattice_slopes(values: Tensor, *, n_agents: int, n_cells: int) -> Tensor:
    """max |f(mu) - f(mu')|_1 / |mu - mu'|_1 over the points of the lattice, function by function.

    It is enough to look at pairs that differ by one agent's cell: any two points are joined by such moves,
    of 2 / n each, whose lengths add up to their distance.

    Args:
        values: F functions with values in R^V at every point, [K, F, V], in the order of ``lattice``.
        n_agents: n >= 1.
        n_cells: d.

    Returns:
        [F]; 0 where there is one cell alone.
    """
    base = lattice(n_agents - 1, n_cells)
    moved = base.unsqueeze(1) + torch.eye(n_cells, dtype=torch.long)
    neighbours = lattice_index(moved).to(values.device)  # [K', d]
    entries = n_cells * max(n_cells, values.shape[2])
    steepest = []
    for some in values.split(max(1, ENTRIES_AT_ONCE // entries), 1):
        most = values.new_zeros(some.shape[1])
        for part in neighbours.split(max(1, ENTRIES_AT_ONCE // (entries * some.shape[1]))):
            there = some[part].transpose(1, 2)  # [k, F, d, V]
            most = torch.maximum(most, torch.cdist(there, there, p=1.0).amax((0, 2, 3)))
        steepest.append(most)
    return torch.cat(steepest) * (n_agents / 2)


def population_update(laws: Tensor, populations: Tensor) -> Tensor:
    """nu'(s') = sum_c mu(c) P(s' | c, mu): laws [Q, d, S] at populations [Q, d] -> [Q, S]."""
    return torch.einsum("qc,qcs->qs", populations, laws)


def affine_population_slope(corner_laws: Tensor) -> Tensor:
    """L_pop of mu -> (nu', pi) on the simplex, for a P affine in mu: exact.

    With T_jc = P(. | c, e_j) the update is the quadratic sum_{c,j} mu_c mu_j T_jc, and its derivative at e_k
    along e_a is T_ka + T_ak. The l1 norm of a derivative is convex in mu, so it is largest at a corner, along
    a move: L_pop = max_{k,a,b} |T_ka + T_ak - T_kb - T_bk|_1 / 2.

    Args:
        corner_laws: T, [d (population), d (cell), S].

    Returns:
        A scalar.
    """
    derivative = corner_laws + corner_laws.transpose(0, 1)  # [k, a, S]
    return torch.cdist(derivative, derivative, p=1.0).max() / 2


def affine_gap(values: Tensor, populations: Tensor, corners: Tensor) -> Tensor:
    """Largest distance of f(mu) from sum_j mu_j f(e_j), 0 for a function affine in mu.

    Args:
        values: at the populations, [Q, *value].
        populations: [Q, d].
        corners: f(e_j), [d, *value].
    """
    return (values - torch.tensordot(populations, corners, dims=1)).abs().max()


def farthest_laws(laws: Tensor) -> Tensor:
    """max |P(. | c, mu) - P(. | c', mu')|_1 over cells and populations, of laws [Q, d, S]; a scalar."""
    rows = laws.reshape(-1, laws.shape[-1]).unique(dim=0)
    at_once = max(1, ENTRIES_AT_ONCE // len(rows))
    return torch.stack([torch.cdist(part, rows, p=1.0).max() for part in rows.split(at_once)]).max()
