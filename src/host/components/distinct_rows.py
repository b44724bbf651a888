"""Where the rows of an input repeat, so that a network shared by many agents sees each row once.

In a population game thousands of agents observe one of a few things: their local state, beside what is the
same for all. A feedforward network of the observation then costs what the distinct observations cost,
whatever the number of agents: it is evaluated on one row of each kind and the agents look their outputs up.
Nothing is approximated: rows are of one kind if they are equal entry by entry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

LARGEST_SHARE = 0.5  # of the rows that may be distinct: beyond it, looking up costs more than it saves


@dataclass(frozen=True)
class DistinctRows:
    """Rows sorted into kinds.

    Attributes:
        kind: ``[...]`` long, the kind of every row, from 0 to K - 1.
        where: one index tensor ``[K]`` for each axis of `kind`: a row of each kind.
    """

    kind: Tensor
    where: tuple[Tensor, ...]

    def pick(self, part: Tensor) -> Tensor:
        """One row of each kind, ``[K, x]``, of a part ``[..., x]`` whose axes may have length one."""
        return part.expand(*self.kind.shape, part.shape[-1])[self.where]

    def spread(self, outputs: Tensor) -> Tensor:
        """Every row's outputs ``[..., y]``, from those of the kinds ``[K, y]``; gradients sum over a kind."""
        return outputs.index_select(0, self.kind.flatten()).view(*self.kind.shape, -1)


def distinct_rows(parts: Sequence[Tensor]) -> DistinctRows | None:
    """Sort the rows made of `parts` side by side into kinds.

    Args:
        parts: tensors ``[..., x]`` whose leading axes broadcast against each other.

    Returns:
        None where it does not pay (more than half of the rows are distinct) or cannot be told (NaN).
    """
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    kind = torch.zeros((), dtype=torch.long, device=parts[0].device)
    n_kinds = 1
    for part in parts:
        found = _kinds(part)
        if found is None:
            return None
        kind, n_kinds = _crossed(kind, n_kinds, *found)
    if n_kinds > LARGEST_SHARE * shape.numel():
        return None
    kind = kind.expand(shape).contiguous()
    return DistinctRows(kind, torch.unravel_index(_one_of_each(kind.flatten(), n_kinds), shape))


def evaluate(
    network: Callable[[Sequence[Tensor]], Tensor], parts: Sequence[Tensor], rows: DistinctRows | None
) -> Tensor:
    """``network(parts)`` ``[..., y]``, each distinct row once; exact up to rounding.

    Args:
        network: from parts ``[..., x]`` to outputs ``[..., y]``, row by row.
        parts: its inputs.
        rows: their :class:`DistinctRows`, or None.
    """
    if rows is None:
        return network(parts)
    return rows.spread(network([rows.pick(part) for part in parts]))


_remembered: WeakKeyDictionary[Any, dict[Any, tuple[Any, DistinctRows | None]]] = WeakKeyDictionary()


def distinct_rows_of(batch: Any, columns: tuple[str, ...], parts: Sequence[Tensor]) -> DistinctRows | None:
    """:func:`distinct_rows` of a whole batch, remembered for as long as the batch lives unwritten.

    Several networks and several gradient steps on one batch share the answer.

    Args:
        batch: the batch of episodes.
        columns: the stored columns that `parts` are functions of; together with the shapes of the parts
            that have more than one row, they say which rows these are.
        parts: as for :func:`distinct_rows`.
    """
    key = (columns, tuple(part.shape for part in parts if part.shape[:-1].numel() > 1))
    versions = tuple((id(batch[column]), batch[column]._version) for column in columns)
    known = _remembered.setdefault(batch, {})
    if key not in known or known[key][0] != versions:
        known[key] = (versions, distinct_rows(parts))
    return known[key][1]


def _kinds(part: Tensor) -> tuple[Tensor, int] | None:
    """Kinds ``[...]`` of the rows of one part, and their number; None if equal keys hide unequal rows.

    Rows are sorted by a random projection in double precision, then held against their kind's row.
    """
    rows = part.reshape(-1, part.shape[-1])
    if not len(rows):
        return None
    keys = rows.double() @ _direction(rows.shape[1], str(rows.device))
    values, kind = torch.unique(keys, return_inverse=True)
    examples = rows[_one_of_each(kind, len(values))]
    if not torch.equal(examples[kind], rows):
        return None
    return kind.view(part.shape[:-1]), len(values)


def _crossed(first: Tensor, n_first: int, second: Tensor, n_second: int) -> tuple[Tensor, int]:
    """Kinds of the pairs of two sets of kinds, and their number."""
    if n_first == 1:
        return second, n_second
    if n_second == 1:
        return first, n_first
    values, kind = torch.unique(first * n_second + second, return_inverse=True)
    return kind, len(values)


def _one_of_each(kind: Tensor, n_kinds: int) -> Tensor:
    """The position ``[K]`` of one row of each kind, among ``[rows]``."""
    positions = torch.arange(len(kind), device=kind.device)
    return torch.empty(n_kinds, dtype=torch.long, device=kind.device).scatter_(0, kind, positions)


@functools.lru_cache(maxsize=64)
def _direction(size: int, device: str) -> Tensor:
    """A fixed random direction ``[size]``, drawn from no generator that anything else uses."""
    random = torch.Generator().manual_seed(size)
    return torch.randn(size, generator=random, dtype=torch.float64).to(device)
