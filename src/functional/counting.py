"""Agents moved by their counts: draws that cost the same however many agents there are."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .shapes import common_shape

MOST_COUNTED = 10**12  # agents; float64 holds whole numbers to 2^53, and the draws were tested up to here
FEW_PLACES = 4  # that are drawn in order
SMALLEST = 1e-300  # what a sum of probabilities is at least, to be divided by


class Conditional(NamedTuple):
    """Laws over K places, as the conditional distribution method draws from them.

    Attributes:
        shares: p_k / (p_k + .. + p_W) of W places, in the order in which they are drawn, but for the last,
            which takes whoever is left: W - 1 tensors [...]; 0 of places out of reach, exactly 1 of the last
            within it.
        places: which they are, [..., W] int64; None for all K in order.
        n_places: K.
    """

    shares: tuple[Tensor, ...]
    places: Tensor | None
    n_places: int

    def one_by_one(self) -> "list[Conditional]":
        """Those along the first axis, such as the steps of an episode."""
        along = list(zip(*(share.unbind() for share in self.shares), strict=True))
        if self.places is None:
            return [Conditional(shares, None, self.n_places) for shares in along]
        places = self.places.unbind()
        along = along or [()] * len(places)
        return [Conditional(*pair, self.n_places) for pair in zip(along, places, strict=True)]


def conditional(laws: Tensor, *, dim: int = -1) -> Conditional:
    """Prepare laws for ``multinomial``: the order of the draws does not matter to their law.

    Few places are drawn in order, for looking among them for those within reach, likeliest first, takes
    longer than drawing nobody for the rest.

    Args:
        laws: p, nonnegative, [..., K], any float type; rows that miss a sum of 1 by rounding are normalised
            by the method itself.
        dim: the axis of the K places.
    """
    laws, n_places, places = laws.double(), laws.shape[dim], None
    if n_places > FEW_PLACES or n_places == 1:
        laws, dim = laws.movedim(dim, -1), -1
        width = max(1, int((laws > 0).sum(-1).max()))
        laws, places = laws.topk(width, -1)
    *first, later = laws.unbind(dim)
    later = later.clamp(min=SMALLEST)
    shares = []
    for chance in reversed(first):
        later = later + chance
        shares.append(chance / later)
    return Conditional(tuple(reversed(shares)), places, n_places)


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
    left = totals
    shape: Sequence[int] = shares[0].shape if places is None else places.shape[:-1]
    if totals.shape != shape:
        shape = common_shape(totals.shape, shape)
        left = totals.expand(shape)
    drawn = []
    for share in shares:
        drawn.append(torch.binomial(left, share, generator=generator))
        left = left - drawn[-1]
    counts = torch.stack([*drawn, left], -1)
    if places is None or n_places == 1:
        return counts
    found = counts.new_zeros(*shape, n_places)
    return found.scatter_add_(-1, places.expand_as(counts), counts)


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
