"""A policy that is the softmax of a Q-network over (local state, time)."""

from types import SimpleNamespace

from torch import Tensor

from .mean_field_network import MeanFieldNetworkAgent


class SoftQNetworkAgent(MeanFieldNetworkAgent):
    """pi_h(a | s) proportional to exp(Q_h(s, a) / tau), Q one network for all agents.

    The population enters through the time step (Lauriere et al. 2022: for a fixed initial law the flow is a
    function of h). Q is scaled by H, so that the weights see numbers of order 1; it starts
    at 0, the uniform policy.

    Args:
        input_shape: F, see ``features.feature_size``.
        args: reads ``tau``, ``population_info["horizon"]`` and what ``MeanFieldNetworkAgent`` reads.
    """

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__(input_shape, args)
        self.tau: float = args.tau
        self.horizon: int = args.population_info["horizon"]

    def q_values(self, features: Tensor) -> Tensor:
        """Features [..., F] -> Q [..., A], reward units."""
        return self.horizon * self.layers(features)

    def forward(self, inputs: Tensor, hidden_state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Features [..., F] -> logits Q / tau [..., A]; the hidden state passes through untouched."""
        return self.q_values(inputs) / self.tau, hidden_state
