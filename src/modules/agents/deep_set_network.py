"""A policy network of what agents observe, and of the population through a deep set if asked."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..observation_network import ObservationNetwork


class DeepSetNetworkAgent(torch.nn.Module):
    """Logits of pi(a | o_i) or pi(a | o_i, m), m the mean over agents of a learnt feature of o_j.

    The first output is zero everywhere: the initial policy is uniform over the available actions.

    Args:
        input_shape: F, numbers that an agent is shown.
        args: reads ``hidden_dim``, ``n_actions``, ``n_agents``, ``identity`` (absent means none),
            ``embedding_dim``, ``population_dependent``.

    Attributes:
        reads: what it is given; a host whose controller gives its agent something else refuses it.
    """

    reads = "features of all agents"

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.hidden_dim = args.hidden_dim
        self.population_dependent = bool(args.population_dependent)
        self.network = ObservationNetwork(
            n_features=input_shape,
            n_outputs=args.n_actions,
            n_agents=args.n_agents,
            hidden_dim=args.hidden_dim,
            identity=getattr(args, "identity", "none"),
            embedding_dim=args.embedding_dim if args.population_dependent else 0,
        )

    def init_hidden(self) -> Tensor:
        """The agent keeps no memory; zeros for the host's contract."""
        return next(self.parameters()).new_zeros(1, self.hidden_dim)

    def forward(self, features: Tensor, present: Tensor | None, agents: Tensor | None = None) -> Tensor:
        """Logits of J agents.

        Args:
            features: of all agents, [..., N, F].
            present: who is there, [..., N] bool; None where the features are those of the J agents alone,
                which will do for a policy that does not see the population.
            agents: whose logits are asked for, [J] int64; None for all in order.

        Returns:
            [..., J, A].
        """
        own, embedding = self.network.own_and_population(features, present, agents)
        return self.network(own, embedding=embedding, agents=agents)

    @property
    def device(self) -> torch.device:
        """Where its parameters live."""
        return next(self.parameters()).device
