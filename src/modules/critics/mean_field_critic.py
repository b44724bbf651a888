"""Q_h(s, a, nu): a critic on empirical distributions."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..features import CellNetwork, feature_size, step_features


class MeanFieldCritic(torch.nn.Module):
    """Q^{tau, pi}_h(s, a) against the population nu, one network for all agents (Yardim & He 2025, Sec. 5).

    The network's output is scaled by H, so that its weights see numbers of order 1, or put in the unit and on
    the origin of ``unit``; it starts at 0. With discrete local states it runs on S rows a step whatever N is.

    Args:
        scheme: the host's batch scheme (not read; the sizes come from ``args``).
        args: reads ``hidden_dim``, ``n_actions``, ``state_shape`` (S), ``population_info["horizon"]``.

    Attributes:
        reads: what it is given; a host whose learner gives its critic something else refuses it.
        unit: what its outputs are measured in; None for H, which is right where rewards fill [0, 1].
    """

    reads = "features of the population"

    def __init__(self, scheme: dict, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_states: int = args.state_shape
        self.horizon: int = args.population_info["horizon"]
        n_inputs = feature_size(self.n_states, self.horizon, population=True)
        self.layers = CellNetwork([n_inputs, args.hidden_dim, args.hidden_dim, args.n_actions])
        self.unit: RewardUnit | None = None

    def features(self, population: Tensor) -> Tensor:
        """What the cells of every step of B episodes share: nu [B, T, S] -> [B, T, F - S]."""
        steps = torch.arange(population.shape[1], device=population.device)
        return step_features(population, steps, horizon=self.horizon)

    def forward(self, features: Tensor) -> Tensor:
        """``features`` [B, T, F - S] -> Q [B, T, S, A], reward units summed from h on."""
        outputs = self.layers(features)
        return self.horizon * outputs if self.unit is None else self.unit.values(outputs)

    def outputs(self, q_values: Tensor) -> Tensor:
        """What the network has to put out for Q [B, T, S, A], of the same shape."""
        return q_values / self.horizon if self.unit is None else self.unit.outputs(q_values)

    @torch.no_grad()
    def measure_in(self, scale: Tensor, offset: Tensor) -> None:
        """Put outputs in another unit, on another origin.

        The last layer is divided by as much as the unit grows, so that differences between values stay what
        they are (van Hasselt et al. 2016, "Learning values across many orders of magnitude", Sec. 2); the
        origin moves with what is learnt from, and takes all values with it.

        Args:
            scale: reward units to one of the output's, a positive scalar.
            offset: origin of every row, [T, S], reward units.
        """
        assert self.unit is not None
        for parameter in self.layers[-1].parameters():
            parameter.mul_(self.unit.scale / scale)
        self.unit.scale.copy_(scale)
        self.unit.offset.copy_(offset.unsqueeze(-1))


class RewardUnit(torch.nn.Module):
    """A unit and an origin of every row (h, s): Q_h(s, a) = m_h(s) + u y_h(s, a).

    A constant in a changes no policy; taken out, a network need not learn it to a digit finer than what tells
    actions apart.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, horizon: int, n_states: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))  # u, reward units
        self.register_buffer("offset", torch.zeros(horizon, n_states, 1))  # m, reward units

    def values(self, outputs: Tensor) -> Tensor:
        """y -> Q, both [B, T, S, A]."""
        return self.offset + self.scale * outputs

    def outputs(self, q_values: Tensor) -> Tensor:
        """Q -> y, both [B, T, S, A]."""
        return (q_values - self.offset) / self.scale
