"""Q_h(s, a, nu, a-bar): a critic that reads the mean action of the others."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..features import cell_features, feature_size, mean_action_features, mlp


class MeanActionCritic(torch.nn.Module):
    """Q of the own action against the population nu and the others' mean action a-bar (Yang et al. 2018).

    One network for all agents. It runs once for every local state and every a-bar of a step, that is
    on S A rows, whatever N is. Its output is scaled by H, so that its weights see numbers of order 1;
    it starts at 0.

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
        n_inputs = feature_size(self.n_states, self.horizon, population=True) + args.n_actions
        self.layers = mlp([n_inputs, args.hidden_dim, args.hidden_dim, args.n_actions])

    def features(self, population: Tensor, mean_action: Tensor, steps: Tensor) -> Tensor:
        """Features of all rows: nu [B, K, S], a-bar [B, K, R, A], h of the K steps -> [B, K, S, R, F]."""
        cells = cell_features(population, steps, n_states=self.n_states, horizon=self.horizon)
        return mean_action_features(cells, mean_action)

    def forward(self, features: Tensor) -> Tensor:
        """Features [..., F] -> Q [..., A], reward units summed from h on."""
        return self.horizon * self.layers(features)
