"""N networks at once, one of each agent's own."""

import torch
from torch import Tensor

from ..functional.activation import tanh_


class OwnNetworks(torch.nn.Module):
    """N networks of two tanh layers, every parameter of all of them stacked in one tensor [N, ...].

    ``torch.func.vmap`` runs them side by side; nothing loops over agents. Each is drawn independently as
    ``features.mlp`` draws one: uniform in +-1 / sqrt(inputs), the last layer 0.

    Args:
        sizes: inputs, width, width, outputs of one network.
        n_agents: N.
    """

    def __init__(self, sizes: list[int], n_agents: int) -> None:
        super().__init__()
        n_inputs, width, _, n_outputs = sizes
        # [N, in, out]: a batched product reads them in this order
        self.weight_0 = drawn(n_agents, n_inputs, width, fan_in=n_inputs)
        self.bias_0 = drawn(n_agents, width, fan_in=n_inputs)
        self.weight_1 = drawn(n_agents, width, width, fan_in=width)
        self.bias_1 = drawn(n_agents, width, fan_in=width)
        self.weight_2 = torch.nn.Parameter(torch.zeros(n_agents, width, n_outputs))
        self.bias_2 = torch.nn.Parameter(torch.zeros(n_agents, n_outputs))

    def forward(self, features: Tensor, agents: Tensor | None) -> Tensor:
        """What J agents see, [..., J, F], by their networks; who they are [J], None for all: [..., J, n]."""
        stacked: tuple[Tensor, ...] = tuple(self.parameters())
        if agents is not None:
            stacked = tuple(parameter[agents] for parameter in stacked)
        return torch.func.vmap(one_network, in_dims=(0, -2), out_dims=-2)(stacked, features)


def one_network(parameters: tuple[Tensor, ...], features: Tensor) -> Tensor:
    """The network of one agent: [..., F] -> [..., n]."""
    weight_0, bias_0, weight_1, bias_1, weight_2, bias_2 = parameters
    hidden = tanh_((features @ weight_0).add_(bias_0))
    hidden = tanh_((hidden @ weight_1).add_(bias_1))
    return (hidden @ weight_2).add_(bias_2)


def drawn(*shape: int, fan_in: int) -> torch.nn.Parameter:
    """Uniform in +-1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return torch.nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))
