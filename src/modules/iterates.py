"""What the mean of K iterates of a policy network plays: their mean exactly, or one of them drawn."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.deep_set import masked_mean
from ..functional.masks import mask_logits
from .agents.deep_set_network import DeepSetNetworkAgent

FEATURE = "feature."  # names of the parameters of what a deep set averages
ROWS_AT_ONCE = 2**17  # rows of agents times iterates that one call evaluates


class Groups(NamedTuple):
    """n rows, each in one of K groups; groups are laid out in slots, all as long as the longest.

    Attributes:
        row: which row lies in each slot, [K, M] int64; 0 in the slots that are empty.
        slot: where each row lies, k M + m, [n] int64.
    """

    row: Tensor
    slot: Tensor


def draw_groups(n_rows: int, n_groups: int, *, device: torch.device) -> Groups:
    """Put every row into a group, independently and uniformly.

    Their numbers are multinomial, and given those all orders are alike: the numbers are drawn on the CPU,
    where M must be known, and the order on the device, which is never waited for.
    """
    counts = torch.bincount(torch.randint(n_groups, (n_rows,)), minlength=n_groups)
    longest = int(counts.max())
    group = torch.repeat_interleave(torch.arange(n_groups), counts)  # [n], sorted
    first = counts.cumsum(0) - counts
    slots = (group * longest + torch.arange(n_rows) - first[group]).to(device, non_blocking=True)
    order = torch.randperm(n_rows, device=device)
    row = torch.zeros(n_groups * longest, dtype=torch.long, device=device).scatter(0, slots, order)
    slot = torch.empty(n_rows, dtype=torch.long, device=device).scatter(0, order, slots)
    return Groups(row.reshape(n_groups, longest), slot)


class Iterates:
    """K iterates of one network, by their parameters; the network's own parameters have no say.

    Args:
        agent: the network.
        members: parameter vectors of the iterates, [K, P].
    """

    def __init__(self, agent: DeepSetNetworkAgent, members: Tensor) -> None:
        self.agent = agent
        self.members = members
        self.weights = as_weights(agent.network, members)

    @torch.no_grad()
    def mean_policy(self, features: Tensor, present: Tensor, available: Tensor | None = None) -> Tensor:
        """(1 / K) sum_k pi_k(a | o_i), at the cost of K forward passes.

        Args:
            features: [R, N, F].
            present: [R, N], see ``masked_mean``.
            available: [R, N, A] bool, None for all.

        Returns:
            [R, N, A].
        """

        def policy(weights: dict[str, Tensor]) -> Tensor:
            named = {f"network.{name}": value for name, value in weights.items()}
            logits = torch.func.functional_call(self.agent, named, (features, present))
            return torch.softmax(logits if available is None else mask_logits(logits, available), -1)

        total = torch.zeros((), device=features.device)
        for weights in self._chunks(features.shape[:-1].numel()):
            total = total + torch.func.vmap(policy)(weights).sum(0)
        return total / len(self.members)

    @torch.no_grad()
    def drawn_logits(self, features: Tensor, present: Tensor) -> Tensor:
        """Logits of an iterate that every agent draws for itself at this step: [R, N, F] -> [R, N, A].

        To draw k uniformly and then an action of pi_k is to draw an action of the mean policy, and as
        agents draw independently, their actions are jointly distributed as under the mean policy. Were k
        drawn once an episode, or once for all agents, actions of different steps or agents would be
        correlated: a mixture of policies, which is another policy than their mean.

        Every agent is evaluated by one network: one forward pass in all. A policy that reads the
        population embeds it once for every iterate, K times the cost of that part. Agents with networks of
        their own have no network in common to be grouped by, and get the exact mean, K passes.
        """
        if self.agent.network.identity == "own_network":
            return self.mean_policy(features, present).log()
        n_rows, n_agents = features.shape[:2]
        groups = draw_groups(n_rows * n_agents, len(self.members), device=features.device)
        seen = features.flatten(0, 1)[groups.row].unsqueeze(-2)  # [K, M, 1, F]
        agents = (groups.row % n_agents).unsqueeze(-1)  # [K, M, 1]
        embedding = self._embeddings(features, present, groups.row // n_agents)  # [K, M, E]

        def logits(
            weights: dict[str, Tensor], seen: Tensor, agents: Tensor, embedding: Tensor | None
        ) -> Tensor:
            asked = {"embedding": embedding, "agents": agents}
            return torch.func.functional_call(self.agent.network, weights, (seen,), asked)

        in_dims = (0, 0, 0, None if embedding is None else 0)
        rows = torch.func.vmap(logits, in_dims=in_dims)(self.weights, seen, agents, embedding)
        return rows.flatten(0, 2)[groups.slot].reshape(n_rows, n_agents, -1)

    def _embeddings(self, features: Tensor, present: Tensor, episodes: Tensor) -> Tensor | None:
        """What iterate k sees of the population of each of its rows' episodes [K, M]: [K, M, E]."""
        network = self.agent.network
        if not network.embedding_dim:
            return None

        def embed(weights: dict[str, Tensor]) -> Tensor:
            own = {name.removeprefix(FEATURE): w for name, w in weights.items() if name.startswith(FEATURE)}
            return masked_mean(torch.func.functional_call(network.feature, own, (features,)), present)

        chunks = self._chunks(features.shape[:-1].numel())
        every = torch.cat([torch.func.vmap(embed)(weights) for weights in chunks])  # [K, R, E]
        return every.gather(1, episodes.unsqueeze(-1).expand(-1, -1, every.shape[-1]))

    def _chunks(self, n_rows: int) -> list[dict[str, Tensor]]:
        """The weights of a few iterates at a time, so many that memory holds what they make of n rows."""
        size = max(1, ROWS_AT_ONCE // n_rows)
        names = list(self.weights)
        parts = zip(*(value.split(size) for value in self.weights.values()), strict=True)
        return [dict(zip(names, part, strict=True)) for part in parts]


def as_weights(module: torch.nn.Module, vector: Tensor) -> dict[str, Tensor]:
    """A vector [..., P] of all parameters as a dictionary by name, [..., *shape]."""
    shapes = {name: value.shape for name, value in module.named_parameters()}
    chunks = vector.split([shape.numel() for shape in shapes.values()], -1)
    return {
        name: c.reshape(*c.shape[:-1], *shape)
        for (name, shape), c in zip(shapes.items(), chunks, strict=True)
    }
