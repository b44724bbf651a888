"""Critics of what agents observe, and of the population through a deep set."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..observation_network import ObservationNetwork


class DeepSetCritic(torch.nn.Module):
    """One network of the own observation and, where ``embedding_dim`` is above 0, of a deep set of all.

    Its output is 0 everywhere at first, in whatever unit the learner fits.

    Args:
        args: reads ``hidden_dim``, ``n_agents``, ``identity`` (absent means none), ``embedding_dim``, and
            ``observation_features`` (F, set by ``ObservationMAC``).
        n_outputs: numbers put out for each agent.

    Attributes:
        reads: what it is given; a host whose learner gives its critic something else refuses it.
    """

    reads = "features of all agents"

    def __init__(self, args: SimpleNamespace, *, n_outputs: int) -> None:
        super().__init__()
        self.network = ObservationNetwork(
            n_features=args.observation_features,
            n_outputs=n_outputs,
            n_agents=args.n_agents,
            hidden_dim=args.hidden_dim,
            identity=getattr(args, "identity", "none"),
            embedding_dim=args.embedding_dim,
        )

    def outputs(self, features: Tensor, present: Tensor | None, agents: Tensor | None) -> Tensor:
        """Of J agents: features [..., N, F], who is there [..., N], whose [J] -> [..., J, n_outputs].

        Without ``present`` the features are those of the J agents alone, [..., J, F], which will do where
        there is no embedding.
        """
        own, embedding = self.network.own_and_population(features, present, agents)
        return self.network(own, embedding=embedding, agents=agents)


class DeepSetValue(DeepSetCritic):
    """V(o_i, m): what an agent that observes o_i amid the population m is going to get.

    Args:
        scheme: the host's batch scheme (not read; the sizes come from ``args``).
        args: see ``DeepSetCritic``.
    """

    def __init__(self, scheme: dict, args: SimpleNamespace) -> None:
        super().__init__(args, n_outputs=1)

    def forward(self, features: Tensor, present: Tensor | None, agents: Tensor | None = None) -> Tensor:
        """V of J agents (None: of all in order): [..., N, F], [..., N] bool, [J] -> [..., J]."""
        return self.outputs(features, present, agents).squeeze(-1)


class DeepSetQ(DeepSetCritic):
    """Q(o_i, a, m): the same for every action of the agent.

    Args:
        scheme: the host's batch scheme (not read; the sizes come from ``args``).
        args: see ``DeepSetCritic``; reads ``n_actions`` too.
    """

    def __init__(self, scheme: dict, args: SimpleNamespace) -> None:
        super().__init__(args, n_outputs=args.n_actions)

    def forward(self, features: Tensor, present: Tensor | None, agents: Tensor | None = None) -> Tensor:
        """Q of J agents (None: of all in order): [..., N, F], [..., N] bool, [J] -> [..., J, A]."""
        return self.outputs(features, present, agents)
