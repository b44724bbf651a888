"""What a mean-field controller asks of its agent."""

from abc import ABC, abstractmethod
from itertools import chain

import torch
from torch import Tensor


class MeanFieldAgent(torch.nn.Module, ABC):
    """A policy of the local state and the time, and of the population if ``population_dependent``.

    Attributes:
        reads: what it is given; a host whose controller gives its agent something else refuses it.
        tabular: whether it is a table over (h, s) cells.
        population_dependent: whether its policy reads the population.
    """

    reads: str = "features of local state and step"
    tabular: bool = False
    population_dependent: bool = False

    @abstractmethod
    def init_hidden(self) -> Tensor:
        """The agent keeps no memory; zeros [1, ...] for the host's contract."""

    @abstractmethod
    def log_policy(self, population: Tensor | None, steps: Tensor, *, n_states: int, horizon: int) -> Tensor:
        """log pi of every local state at the given steps.

        Args:
            population: nu [..., K, S]; read only by a policy that depends on it.
            steps: h of the K rows, [K] int64.
            n_states: S.
            horizon: H.

        Returns:
            [..., K, S, A]; [K, S, A] for a policy that ignores the population.
        """

    @property
    def device(self) -> torch.device:
        """Where its parameters or its table live."""
        return next(chain(self.parameters(), self.buffers())).device
