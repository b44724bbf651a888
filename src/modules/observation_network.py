"""One network of an agent's own observation, of the population if asked, and of who it is if asked."""

import torch
from torch import Tensor

from ..functional.activation import tanh_
from ..functional.deep_set import masked_mean
from .linear import uniform_linear
from .own_networks import OwnNetworks

IDENTITIES = ("none", "one_hot", "number", "own_network")


class Tanh(torch.nn.Module):
    """``tanh_`` as a layer."""

    def forward(self, values: Tensor) -> Tensor:
        """The tanh of a tensor that is overwritten, whatever its shape."""
        return tanh_(values)


class ObservationNetwork(torch.nn.Module):
    """Two tanh layers of the own observation; the last layer is zero, so that at first all outputs are 0.

    With ``identity="none"`` it is equivariant: permuting the agents permutes the outputs
    (Yardim & He 2025, Sec. 5). The other identities are the rungs of the ladder that it is compared to
    (Sec. 6): an agent tells who it is by a one-hot index, by its number, or by having a network of its own.

    - ``one_hot``: the row of a learnt table [N, D] is added to the first preactivation. That is the linear
      layer's answer to a one-hot input of N more entries, of which no N x N tensor is ever made. The
      table is drawn as if the index were one more input, not N: only one of the N entries is ever 1.
    - ``number``: one more input, i / (N - 1).
    - ``own_network``: N networks (``OwnNetworks``).

    The population, if asked, is seen through a deep set, the mean over the present agents of a learnt
    feature (Zaheer et al. 2017), which joins the own observation as E more inputs.

    Args:
        n_features: F.
        n_outputs: numbers put out for each agent.
        n_agents: N; nothing but the identities depends on it.
        hidden_dim: D, width of all layers.
        identity: one of ``IDENTITIES``.
        embedding_dim: E; 0 leaves the population out.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_outputs: int,
        n_agents: int,
        hidden_dim: int,
        identity: str = "none",
        embedding_dim: int = 0,
    ) -> None:
        super().__init__()
        assert identity in IDENTITIES, identity
        assert not (identity == "own_network" and embedding_dim), "N networks would each embed N agents"
        self.identity = identity
        self.n_agents = n_agents
        self.embedding_dim = embedding_dim
        if identity == "own_network":
            self.networks = OwnNetworks([n_features, hidden_dim, hidden_dim, n_outputs], n_agents)
            return
        tells = identity in ("one_hot", "number")
        n_inputs = n_features + embedding_dim + tells
        self.own = uniform_linear(n_features, hidden_dim, fan_in=n_inputs)
        if embedding_dim:
            self.feature = torch.nn.Sequential(
                torch.nn.Linear(n_features, hidden_dim),
                Tanh(),
                torch.nn.Linear(hidden_dim, embedding_dim),
            )
            self.population = uniform_linear(embedding_dim, hidden_dim, fan_in=n_inputs, bias=False)
        if tells:
            n_rows = n_agents if identity == "one_hot" else 1
            self.who = torch.nn.Parameter(torch.empty(n_rows, hidden_dim))
            torch.nn.init.uniform_(self.who, -(n_inputs**-0.5), n_inputs**-0.5)
        self.second = torch.nn.Linear(hidden_dim, hidden_dim)
        self.last = torch.nn.Linear(hidden_dim, n_outputs)
        for parameter in self.last.parameters():
            torch.nn.init.zeros_(parameter)

    def embed(self, features: Tensor, present: Tensor) -> Tensor | None:
        """The population as the network sees it: features [..., N, F] and who is there [..., N] -> [..., E].

        None if the network does not look at it.
        """
        if not self.embedding_dim:
            return None
        return masked_mean(self.feature(features), present)

    def own_and_population(
        self, features: Tensor, present: Tensor | None, agents: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What J agents see themselves, [..., J, F], and the embedding of all, [..., E] or None.

        Args:
            features: of all agents, [..., N, F]; of the J alone, [..., J, F], without ``present``.
            present: who is there, [..., N] bool; None where the population is not looked at.
            agents: who the J are, [J] int64; None for all in order.
        """
        if present is None:
            assert not self.embedding_dim, "the embedding is that of all agents"
            return features, None
        return features if agents is None else features[..., agents, :], self.embed(features, present)

    def forward(self, features: Tensor, *, embedding: Tensor | None, agents: Tensor | None) -> Tensor:
        """Outputs of J agents.

        Args:
            features: what they see, [..., J, F].
            embedding: ``embed`` of all agents, [..., E]; None where ``embedding_dim`` is 0.
            agents: who they are, [J] int64, or [..., J] but for ``own_network``; None for all N in order.

        Returns:
            [..., J, n_outputs].
        """
        if self.identity == "own_network":
            return self.networks(features, agents)
        hidden = self.own(features)  # [..., J, D]
        if embedding is not None:
            hidden.add_(self.population(embedding).unsqueeze(-2))
        if self.identity in ("one_hot", "number"):
            hidden.add_(self._identities(agents))
        # in place: a linear layer's gradient needs its input alone
        return self.last(tanh_(self.second(tanh_(hidden))))

    def _identities(self, agents: Tensor | None) -> Tensor:
        """What being who one is adds to the first preactivation, [..., J, D]."""
        if self.identity == "one_hot":
            return self.who if agents is None else self.who[agents]
        if agents is None:
            agents = torch.arange(self.n_agents, device=self.who.device)
        return agents.unsqueeze(-1) / max(self.n_agents - 1, 1) * self.who
