"""A Q-network over (local state, population, time, others' mean action), as an agent."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..critics import MeanActionCritic


class MeanActionQAgent(torch.nn.Module):
    """Q_h(s, ., nu, a-bar) in the place where a host looks for its Q-learner's agent (Yang et al. 2018).

    Args:
        input_shape: F of ``MeanActionCritic`` (not read; the sizes come from ``args``).
        args: reads what ``MeanActionCritic`` reads.

    Attributes:
        reads: what it is given; a host whose controller gives its agent something else refuses it.
    """

    reads = MeanActionCritic.reads

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.critic = MeanActionCritic({}, args)

    def init_hidden(self) -> Tensor:
        """The agent keeps no memory; zeros for the host's contract."""
        return next(self.parameters()).new_zeros(1, 1)

    def forward(self, inputs: Tensor, hidden_state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Features [..., F] -> Q [..., A]; the hidden state passes through untouched."""
        return self.critic(inputs), hidden_state
