"""Agents moved by their counts: draws that cost the same however many agents there are."""

from typing import NamedTuple

import torch
from torch import Tensor

MOST_COUNTED = 10**12  # agents; float64 holds whole numbers to 2^53, and the draws were tested up to here


class Conditional(NamedTuple):
    """Laws over K places, as the conditional distribution method draws from them.

    Attributes:
        shares: p_k / (p_k + .. + p_K) of the W places that any law can reach, likeliest first, [W, ...];
            of places out of reach 0, of the last within it exactly 1.
        places: which they are, [..., W] int64.
        n_places: K.
    """

    shares: Tensor
    places: Tensor
    n_places: int


def conditional(laws: Tensor) -> Conditional:
    """Prepare laws for ``multinomial``.

    Args:
        laws: p, nonnegative, [..., K], any float type; rows that miss a sum of 1 by rounding are normalised
            by the method itself.
    """
    laws = laws.double()
    width = max(1, int((laws > 0).sum(-1).max()))
    likely, places = laws.topk(width, -1)  # the order of the draws does not matter to their law
    later = likely.flip(-1).cumsum(-1).flip(-1)
    shares = torch.where(likely > 0, likely / later, 0.0)
    return Conditional(shares.movedim(-1, 0), places, laws.shape[-1])


def multinomial(
    totals: Tensor, laws: Tensor | Conditional, *, generator: torch.Generator | None = None
) -> Tensor:
    """How many of n agents go to each of K places, independently of each other: draws from Multinomial(n, p).

    n_k ~ Binomial(n - n_1 - .. - n_{k-1}, p_k / (p_k + .. + p_K)), the conditional distribution method
    (Devroye 1986, Non-Uniform Random Variate Generation, Ch. XI). Places of probability zero take no draw
    and no agent; the last possible one takes whoever is left, so that the counts sum to n exactly.

    Args:
        totals: n, whole numbers up to MOST_COUNTED, [...] float64.
        laws: p as for ``conditional``, or what that made of them; all axes but the last broadcast with n.
        generator: of the draws; None for torch's global one.

    Returns:
        [..., K] float64, whole numbers.
    """
    assert totals.dtype == torch.float64, totals.dtype
    shares, places, n_places = laws if isinstance(laws, Conditional) else conditional(laws)
    left, *shares_left = torch.broadcast_tensors(totals, *shares)  # W of them
    drawn = []
    for share in shares_left[:-1]:
        drawn.append(torch.binomial(left, share, generator=generator))
        left = left - drawn[-1]
    counts = torch.stack([*drawn, left], -1)
    if n_places == 1:
        return counts
    found = counts.new_zeros(*left.shape, n_places)
    return found.scatter_(-1, places.expand_as(counts), counts)


def tally(labels: Tensor, n_values: int) -> Tensor:
    """Count a few agents followed one by one: labels [B, K] int64 in 0 .. n_values - 1 -> [B, n_values].

    Float64, to be added to what ``multinomial`` draws of the others.
    """
    counts = torch.zeros(len(labels), n_values, dtype=torch.float64, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.float64))


def draw_one_by_one(laws: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """One value from each law: [..., K] -> [...] int64; laws as for ``multinomial``."""
    if not laws.numel():
        return torch.zeros(laws.shape[:-1], dtype=torch.int64, device=laws.device)
    rows = laws.double().flatten(0, -2)
    return torch.multinomial(rows, 1, generator=generator).reshape(laws.shape[:-1])
