"""One network of an agent's own observation, of the population if asked, and of who it is if asked."""

import torch
from torch import Tensor

from ..functional.deep_set import masked_mean
from .features import mlp
from .linear import uniform_linear

IDENTITIES = ("none", "one_hot", "number", "own_network")


class ObservationNetwork(torch.nn.Module):
    """Two tanh layers of the own observation; the last layer is zero, so that at first all outputs are 0.

    With ``identity="none"`` it is equivariant: permuting the agents permutes the outputs
    (Yardim & He 2025, Sec. 5). The other identities are the rungs of the ladder that it is compared to
    (Sec. 6): an agent tells who it is by a one-hot index, by its number, or by having a network of its own.

    - ``one_hot``: the row of a learnt table [N, D] is added to the first preactivation. That is the linear
      layer's answer to a one-hot input of N more entries, of which no N x N tensor is ever made.
    - ``number``: one more input, i / (N - 1).
    - ``own_network``: N networks, every parameter stacked [N, ...] and drawn independently, run at once by
      ``torch.func.vmap``.

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
        sizes = [n_features, hidden_dim, hidden_dim, n_outputs]
        if identity == "own_network":
            self.template = [mlp(sizes).to("meta")]  # in a list: no parameters of this module
            self.stacked = stacked_parameters(sizes, n_agents)
            return
        tells = identity in ("one_hot", "number")
        n_inputs = n_features + embedding_dim + tells
        self.own = uniform_linear(n_features, hidden_dim, fan_in=n_inputs)
        self.layers = mlp(sizes[1:])
        if embedding_dim:
            self.feature = torch.nn.Sequential(
                torch.nn.Linear(n_features, hidden_dim),
                torch.nn.Tanh(),
                torch.nn.Linear(hidden_dim, embedding_dim),
            )
            self.population = uniform_linear(embedding_dim, hidden_dim, fan_in=n_inputs, bias=False)
        if tells:
            rows = n_agents if identity == "one_hot" else 1
            table = torch.empty(rows, hidden_dim).uniform_(-(n_inputs**-0.5), n_inputs**-0.5)
            self.who = torch.nn.Parameter(table)

    def embed(self, features: Tensor, present: Tensor) -> Tensor | None:
        """The population as the network sees it: features [..., N, F] and who is there [..., N] -> [..., E].

        None if the network does not look at it.
        """
        if not self.embedding_dim:
            return None
        return masked_mean(self.feature(features), present)

    def forward(self, features: Tensor, *, embedding: Tensor | None, agents: Tensor | None) -> Tensor:
        """Outputs of J agents.

        Args:
            features: what they see, [..., J, F].
            embedding: ``embed`` of all agents, [..., E]; None where ``embedding_dim`` is 0.
            agents: who they are, [J] int64; None for all N in order.

        Returns:
            [..., J, n_outputs].
        """
        if self.identity == "own_network":
            return self._own_networks(features, agents)
        hidden = self.own(features)  # [..., J, D]
        if embedding is not None:
            hidden = hidden + self.population(embedding).unsqueeze(-2)
        if self.identity == "one_hot":
            hidden = hidden + (self.who if agents is None else self.who[agents])
        elif self.identity == "number":
            agents = torch.arange(self.n_agents, device=features.device) if agents is None else agents
            hidden = hidden + agents.unsqueeze(-1) / max(self.n_agents - 1, 1) * self.who
        return self.layers(hidden.tanh_())

    def _own_networks(self, features: Tensor, agents: Tensor | None) -> Tensor:
        """Every agent's network on what that agent sees."""
        template = self.template[0]
        stacked = {name.replace("_", "."): value for name, value in self.stacked.items()}
        if agents is not None:
            stacked = {name: value[agents] for name, value in stacked.items()}

        def network(weights: dict[str, Tensor], seen: Tensor) -> Tensor:
            return torch.func.functional_call(template, weights, (seen,))

        return torch.func.vmap(network, in_dims=(0, -2), out_dims=-2)(stacked, features)


def stacked_parameters(sizes: list[int], n_agents: int) -> torch.nn.ParameterDict:
    """Parameters of N networks ``mlp(sizes)``, each drawn as ``mlp`` draws it, [N, ...] by name."""
    networks = [mlp(sizes) for _ in range(n_agents)]
    parameters, _ = torch.func.stack_module_state(networks)
    return torch.nn.ParameterDict(
        {name.replace(".", "_"): torch.nn.Parameter(value.detach()) for name, value in parameters.items()}
    )
