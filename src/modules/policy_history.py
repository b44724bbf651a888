"""The iterates of policy mirror descent, and the averages a user may want to play."""

import torch
from torch import Tensor

OUTPUT_POLICIES = ("last", "average", "tail")


class PolicyHistory:
    """Keeps the iterates pi_0 .. pi_t that ``last``, ``average`` and ``tail`` are made of.

    ``average`` is the mean of all iterates, as Yardim & He 2025, Alg. 2 returns; ``tail`` that of
    the last half, pi_m .. pi_t with m = floor((t + 1) / 2); ``last`` is pi_t. All means are
    arithmetic, row by row. An iterate is whatever tensor stands for a policy: its probability table
    [H, S, A], or the parameters [P] of a network whose outputs are to be averaged.

    Args:
        keep_all: keep every iterate, not only the last half and a running sum. Needed where the
            mean of the iterates is not the iterate of the mean policy (parameters of networks).
    """

    def __init__(self, *, keep_all: bool) -> None:
        self.keep_all = keep_all
        self.total: Tensor | None = None
        self.window: list[Tensor] = []
        self.count = 0

    def append(self, iterate: Tensor) -> None:
        """Add pi_t; the tensor is copied."""
        iterate = iterate.detach().clone()
        if not self.keep_all:
            self.total = iterate.double() if self.total is None else self.total + iterate
        self.window.append(iterate)
        self.count += 1
        if not self.keep_all:
            del self.window[: len(self.window) - self.tail_length]

    @property
    def tail_length(self) -> int:
        """Iterates in the tail: ceil((t + 1) / 2)."""
        return self.count - self.count // 2

    def members(self, name: str) -> Tensor:
        """The iterates whose mean the named policy is, [K, ...]; ``average`` needs ``keep_all``."""
        length = {"last": 1, "average": self.count, "tail": self.tail_length}[name]
        assert 0 < length <= len(self.window), "these iterates are not kept"
        return torch.stack(self.window[-length:])

    def mean(self, name: str) -> Tensor:
        """The mean iterate under ``last``, ``average`` or ``tail``, in their dtype; not to be written to."""
        if name == "average" and self.total is not None:
            return (self.total / self.count).to(self.window[-1].dtype)
        if name == "last":
            return self.window[-1]
        return self.members(name).mean(0)

    def state_dict(self) -> dict:
        """Everything, as tensors and integers."""
        return {"total": self.total, "window": torch.stack(self.window), "count": self.count}

    def load_state_dict(self, state: dict, device: torch.device | str = "cpu") -> None:
        """Restore what ``state_dict`` returned."""
        self.total = None if state["total"] is None else state["total"].to(device)
        self.window = list(state["window"].to(device).unbind(0))
        self.count = state["count"]
