"""last, average and tail of many tables, in memory that does not grow with the iterates."""

import torch
from torch import Tensor

from .policy_history import OUTPUT_POLICIES

BLOCKS = 8


class RunningHistory:
    """Running sums of the iterates pi_0 .. pi_t, for tables too large to keep half of them.

    ``last`` and ``average`` are those of PolicyHistory. ``tail`` is the mean of the last half with its
    beginning rounded down to a multiple of the block size, 1 up to 16 iterates, 2 up to 32, 4 up to
    64 and so on: the exact half wherever that divides floor((t + 1) / 2), and never longer than it by
    a quarter. At most BLOCKS + 1 sums, the last iterate and the sum of all are kept.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.last: Tensor | None = None
        self.blocks: list[Tensor] = []
        self.size = 1
        self.first = 0  # number of the iterate that blocks[0] begins with
        self.count = 0

    def append(self, iterate: Tensor) -> None:
        """Add pi_t; the tensor is copied."""
        iterate = iterate.detach()
        self.total = iterate.double() if self.total is None else self.total + iterate
        self.last = iterate.clone()
        if self.count % self.size == 0:
            self.blocks.append(iterate.clone())
        else:
            self.blocks[-1] = self.blocks[-1] + iterate
        self.count += 1
        while self.first + self.size <= self.count // 2:
            del self.blocks[0]
            self.first += self.size
        if self.count == 2 * BLOCKS * self.size:  # the tail begins at BLOCKS * size: pairs are whole
            self.blocks = [a + b for a, b in zip(self.blocks[::2], self.blocks[1::2], strict=True)]
            self.size *= 2

    def mean(self, name: str) -> Tensor:
        """The mean iterate under ``last``, ``average`` or ``tail``, in the dtype of the iterates."""
        assert self.total is not None, "no iterate yet"
        assert self.last is not None
        assert name in OUTPUT_POLICIES, name
        if name == "last":
            return self.last
        if name == "average":
            return (self.total / self.count).to(self.last.dtype)
        return torch.stack(self.blocks).sum(0) / (self.count - self.first)

    def state_dict(self) -> dict:
        """Everything, as tensors and integers."""
        numbers = {"size": self.size, "first": self.first, "count": self.count}
        return {"total": self.total, "last": self.last, "blocks": torch.stack(self.blocks), **numbers}

    def load_state_dict(self, state: dict, device: torch.device | str = "cpu") -> None:
        """Restore what ``state_dict`` returned."""
        self.total, self.last = state["total"].to(device), state["last"].to(device)
        self.blocks = list(state["blocks"].to(device).unbind(0))
        self.size, self.first, self.count = state["size"], state["first"], state["count"]
