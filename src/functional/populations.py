"""Populations to look at a kernel at: spread over the simplex, on the lattice, and a move away."""

import torch
from torch import Tensor


def spread_populations(n: int, n_cells: int, *, generator: torch.Generator) -> Tensor:
    """Distributions over d cells to look at, [n, d] float64.

    Corners first (a third of n at most), then the even one, the rest on random faces: some near the middle
    of their face, some near its corners.
    """
    order = torch.randperm(n_cells, generator=generator)[: n // 3]
    corners = torch.nn.functional.one_hot(order, n_cells).double()
    n_rest = n - len(corners)
    keys = torch.rand(n_rest, n_cells, generator=generator, dtype=torch.float64)
    size = torch.randint(min(2, n_cells), n_cells + 1, (n_rest, 1), generator=generator)
    on_face = keys.argsort(-1).argsort(-1) < size
    evenness = torch.tensor([0.3, 1.0, 3.0])[torch.randint(3, (n_rest, 1), generator=generator)]
    weights = torch.empty(n_rest, n_cells, dtype=torch.float64).exponential_(generator=generator) ** evenness
    weights = torch.where(on_face, weights, 0.0)
    weights[0] = 1.0
    return torch.cat([corners, weights / weights.sum(1, keepdim=True)])


def round_to_lattice(mu: Tensor, n_agents: int) -> Tensor:
    """The nearest counts of n agents, by largest remainders: [..., d] -> [..., d] int64."""
    shares = mu.double() * n_agents
    counts = (shares + 1e-9).floor()
    missing = (n_agents - counts.sum(-1, keepdim=True)).long()
    rank = (counts - shares).argsort(-1).argsort(-1)  # 0 for the largest remainder
    return counts.long() + (rank < missing)


def moves(mu: Tensor, n: int, *, share: float, generator: torch.Generator) -> Tensor:
    """mu [d], d >= 2, with a share of one cell's mass moved to another, for n pairs of cells: [n, d]."""
    least = min(1e-3, 0.5 / len(mu)) * mu.sum()  # below the mean, so that some cell holds more
    full = (mu > least).nonzero().squeeze(1).cpu()
    source = full[torch.randint(len(full), (n,), generator=generator)]
    shift = torch.randint(1, len(mu), (n,), generator=generator)
    target = (source + shift) % len(mu)
    there = mu.repeat(n, 1)
    rows = torch.arange(n, device=mu.device)
    source, target = source.to(mu.device), target.to(mu.device)
    mass = there[rows, source] * share
    there[rows, source] -= mass
    there[rows, target] += mass
    return there
