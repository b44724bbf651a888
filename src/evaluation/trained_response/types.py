"""Agents of one personal parameter, who are measured together."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...games import Game
from ...runners.played_cells import MOST_TYPES


class Types(NamedTuple):
    """Attributes:
    names: what to call the G types.
    of: the type of each agent, [N] int64.
    shares: of the agents, [G] float64.
    """

    names: tuple[str, ...]
    of: Tensor
    shares: Tensor

    def members(self, which: int) -> Tensor:
        """The agents of a type, [n] int64."""
        return (self.of == which).nonzero().squeeze(1)


def types_of(game: Game) -> Types:
    """The types of a game; where hardly two agents are alike, all of them are one."""
    personal, of, sizes = torch.unique(game.personal, return_inverse=True, return_counts=True)
    if len(personal) > MOST_TYPES:
        return Types(("all agents",), torch.zeros_like(of), torch.ones(1, dtype=torch.float64))
    names = tuple(f"u = {u:+g}" if u else "u = 0" for u in personal.tolist())
    return Types(names, of, sizes.double() / game.n_agents)


def draw_distinct(batch_size: int, n_agents: int, k: int, *, device: torch.device) -> Tensor:
    """k different agents in each of B episodes, uniformly, from torch's global generator: [B, k] int64."""
    return torch.rand(batch_size, n_agents, device=device).topk(k, dim=1).indices


def draw_one(members: Tensor, batch_size: int) -> Tensor:
    """One of these agents in each of B episodes, likewise: [B, 1] int64."""
    return members[torch.randint(len(members), (batch_size, 1), device=members.device)]
