"""Bytes that operations move, and how fast memory can move them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training import now

COPIED_BYTES = 2**28  # of one copy, beyond any cache
COPIES = {"cpu": 1, "cuda": 20}  # in a row: to wait for a GPU takes as long as to copy on it
CACHED_BYTES = 2**22  # tensors that take no more are taken to stay in a cache
UNWRITTEN = ("empty", "new_empty")
OVERWRITTEN = ("copy_", "fill_", "zero_", "uniform_", "random_")


class Traffic(TorchDispatchMode):
    """Adds up the bytes of all tensors that the operations run under it read and write.

    Every operand counts once an operation, at what it takes in memory (an axis that was expanded counts
    once); views move nothing, nor do tensors made and not filled. It is what eager operations ask for; what a
    cache answers never reaches memory, so that this is an upper bound of what memory moved.

    Args:
        beyond: leave out tensors whose storage takes no more bytes.

    Attributes:
        moved: bytes so far.
    """

    def __init__(self, beyond: int = 0) -> None:
        super().__init__()
        self.moved, self.beyond = 0, beyond

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        returned = function._schema.returns
        name = function._schema.name.partition("::")[2]
        views = any(value.alias_info is not None and not value.alias_info.is_write for value in returned)
        if views or name.startswith(UNWRITTEN):
            return found
        operands = tree_leaves((args, kwargs or {}))
        if name in OVERWRITTEN:
            operands = operands[1:]
        self.moved += sum(map(self._counted, (*operands, *tree_leaves(found))))
        return found

    def _counted(self, leaf: Any) -> int:
        large = isinstance(leaf, Tensor) and leaf.untyped_storage().nbytes() > self.beyond
        return held_bytes(leaf) if large else 0


def held_bytes(tensor: Tensor) -> int:
    """What a tensor takes in memory, axes of stride 0 once."""
    entries = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        entries *= size if stride else min(size, 1)
    return entries * tensor.element_size()


def moved_bytes(function: Callable[[], object], *, beyond: int = 0) -> int:
    """Bytes that the operations of one call read and write, see :class:`Traffic`."""
    with torch.no_grad(), Traffic(beyond) as traffic:
        function()
    return traffic.moved


def copy_seconds(n_bytes: int, device: str) -> float:
    """Time of a copy of so many bytes, which reads and writes each of them; of a GPU the mean of several."""
    source = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    target.copy_(source)
    start = now(device)
    for _ in range(COPIES[device]):
        target.copy_(source)
    return (now(device) - start) / COPIES[device]


def copy_bandwidth(device: str) -> float:
    """Bytes read and written a second by a copy that no cache holds."""
    return 2 * COPIED_BYTES / copy_seconds(COPIED_BYTES, device)
