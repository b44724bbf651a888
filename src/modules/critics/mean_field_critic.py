"""Q_h(s, a, nu): a critic on empirical distributions."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..features import CellNetwork, feature_size, step_features


class MeanFieldCritic(torch.nn.Module):
    """Q^{tau, pi}_h(s, a) against the population nu, one network for all agents (Yardim & He 2025, Sec. 5).

    The network's output is scaled by H, so that its weights see numbers of order 1; it starts at 0.
    With discrete local states it runs on S rows a step whatever N is.

    Args:
        scheme: the host's batch scheme (not read; the sizes come from ``args``).
        args: reads ``hidden_dim``, ``n_actions``, ``state_shape`` (S), ``population_info["horizon"]``.

    Attributes:
        reads: what it is given; a host whose learner gives its critic something else refuses it.
    """

    reads = "features of the population"

    def __init__(self, scheme: dict, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_states: int = args.state_shape
        self.horizon: int = args.population_info["horizon"]
        n_inputs = feature_size(self.n_states, self.horizon, population=True)
        self.layers = CellNetwork([n_inputs, args.hidden_dim, args.hidden_dim, args.n_actions])

    def features(self, population: Tensor) -> Tensor:
        """What the cells of every step of B episodes share: nu [B, T, S] -> [B, T, F - S]."""
        steps = torch.arange(population.shape[1], device=population.device)
        return step_features(population, steps, horizon=self.horizon)

    def forward(self, features: Tensor) -> Tensor:
        """``features`` [B, T, F - S] -> Q [B, T, S, A], reward units summed from h on."""
        return self.horizon * self.layers(features)
