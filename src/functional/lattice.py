"""The lattice of populations that n agents can form on d cells, and the tuples that form them.

A point is its count vector c [d] of whole numbers that sum to n; its distribution is c / n. Points are kept
in the order in which c falls lexicographically, so that the number of a point is known from its counts.
"""

import math

import torch
from torch import Tensor


def lattice_size(n_agents: int, n_cells: int) -> int:
    """K = C(n + d - 1, d - 1), the number of count vectors."""
    return math.comb(n_agents + n_cells - 1, n_cells - 1)


def lattice(n_agents: int, n_cells: int) -> Tensor:
    """Every count vector of n agents on d cells, first cell fullest first: [K, d] int64."""
    left = torch.tensor([n_agents])  # agents not yet placed, by row
    counts = left.new_empty(1, 0)
    for _ in range(n_cells - 1):
        choices = left + 1
        row = torch.arange(len(left)).repeat_interleave(choices)
        first = (choices.cumsum(0) - choices)[row]
        held = left[row] - (torch.arange(len(row)) - first)
        counts = torch.cat([counts[row], held.unsqueeze(1)], 1)
        left = left[row] - held
    return torch.cat([counts, left.unsqueeze(1)], 1)


def lattice_index(counts: Tensor) -> Tensor:
    """The row of ``lattice`` at which count vectors stand: [..., d] -> [...] int64.

    A point comes after those that agree with it up to cell j and hold more there. With r agents and k cells
    behind cell j these are sum_{r' < r} C(r' + k - 1, k - 1) = C(r + k - 1, k) points.
    """
    n_cells = counts.shape[-1]
    total = int(counts.reshape(-1, n_cells)[0].sum())
    behind = total - counts.cumsum(-1)[..., :-1]  # [..., d - 1]
    before = torch.zeros(total + 1, n_cells, dtype=torch.long)  # [r, k]
    for k in range(1, n_cells):
        before[1:, k] = (before[1:, k - 1] if k > 1 else torch.ones(total, dtype=torch.long)).cumsum(0)
    cells_behind = torch.arange(n_cells - 1, 0, -1)
    return before.to(counts.device)[behind, cells_behind.to(counts.device)].sum(-1)


def count_tuples(tuples: Tensor, n_values: int) -> Tensor:
    """How often each value occurs in tuples [..., n] of values in 0 .. d - 1: [..., d] int64."""
    counts = torch.zeros(*tuples.shape[:-1], n_values, dtype=torch.long, device=tuples.device)
    return counts.scatter_add_(-1, tuples, torch.ones_like(tuples))


def representatives(counts: Tensor) -> Tensor:
    """The sorted tuple of each count vector: [K, d] -> [K, n] int64."""
    n_points, n_cells = counts.shape
    values = torch.arange(n_cells, device=counts.device).repeat(n_points)
    return values.repeat_interleave(counts.flatten()).reshape(n_points, -1)


def n_arrangements(counts: Tensor) -> Tensor:
    """n! / prod_j c_j!, the distinct tuples of each count vector [..., d]: [...] float64."""
    logs = torch.lgamma(counts.sum(-1).double() + 1) - torch.lgamma(counts.double() + 1).sum(-1)
    return logs.exp().round()


def arrangements(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Every distinct tuple of every count vector.

    Args:
        counts: [K, d] int64; all rows have the same sum n.

    Returns:
        The row of ``counts`` that a tuple belongs to, [M], and the tuples, [M, n], both int64.
    """
    owner = torch.arange(len(counts), device=counts.device)
    left, tuples = counts, counts.new_empty(len(counts), 0)
    for _ in range(int(counts[0].sum())):
        row, value = (left > 0).nonzero(as_tuple=True)
        tuples = torch.cat([tuples[row], value.unsqueeze(1)], 1)
        left = left[row] - torch.nn.functional.one_hot(value, counts.shape[1])
        owner = owner[row]
    return owner, tuples
