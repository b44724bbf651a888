"""A tabular policy pi_h(a | s)."""

from types import SimpleNamespace

import torch
from torch import Tensor

from .base import MeanFieldAgent


class MeanFieldTableAgent(MeanFieldAgent):
    """log pi_h(a | s) as a table [H, S, A], uniform at first (Yardim & He 2025, Alg. 2).

    Args:
        input_shape: H * S, one-hot (h, s) cells.
        args: reads ``n_actions``, ``state_shape`` (S).
    """

    tabular = True
    log_table: Tensor

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        n_states = args.state_shape
        table = torch.zeros(input_shape // n_states, n_states, args.n_actions)
        self.register_buffer("log_table", torch.log_softmax(table, -1))

    @property
    def device(self) -> torch.device:
        return self.log_table.device

    def init_hidden(self) -> Tensor:
        return self.log_table.new_zeros(1, 1)

    def forward(self, inputs: Tensor, hidden_state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """One-hot (h, s) cells [..., H * S] -> log pi [..., A]; the hidden state passes through untouched."""
        return inputs @ self.log_table.flatten(0, 1), hidden_state

    def log_policy(self, population: Tensor | None, steps: Tensor, *, n_states: int, horizon: int) -> Tensor:
        return self.log_table.index_select(0, steps)
