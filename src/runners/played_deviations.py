"""Deviations played in the simulator: a lower bound on exploitability that takes no model on trust."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.frozen_flows import STANDARD_ERRORS, mean_and_error
from .deviations import Gains
from .played_cells import PlayedCells

WHEN = ("last", "always", "never")


class Deviators(NamedTuple):
    """One agent in each of B episodes that does something else.

    Attributes:
        agents: who, [B] int64.
        actions: what, the greedy actions [B, H, S] int64.
    """

    agents: Tensor
    actions: Tensor

    def replace(self, t: int, states: Tensor, chosen: Tensor) -> Tensor:
        """Actions [B, N] at step t with the deviators' own in their places; states [B, N]."""
        here = states.gather(1, self.agents.unsqueeze(1))  # [B, 1]
        instead = self.actions[:, t].gather(1, here)  # [B, 1]
        return chosen.scatter(1, self.agents.unsqueeze(1), instead)

    def own(self, returns: Tensor) -> Tensor:
        """Their own returns [B] among everyone's [B, N]."""
        return returns.gather(1, self.agents.unsqueeze(1)).squeeze(1)


def draw_deviators(
    played: PlayedCells, gains: Gains, *, batch_size: int, unit: int | None = None
) -> Deviators:
    """Agents to deviate, from torch's global generator.

    Args:
        played: who is of which type, and whether units are agents or types.
        gains: with the deviation of each unit.
        batch_size: B.
        unit: draw from this unit alone; None draws uniformly from all N agents.
    """
    everyone = torch.arange(played.game.n_agents, device=played.type_of.device)
    unit_of = everyone if played.view.each_alone else played.type_of  # [N]
    candidates = everyone if unit is None else everyone[unit_of == unit]
    agents = candidates[torch.randint(len(candidates), (batch_size,), device=candidates.device)]
    return Deviators(agents, gains.actions[unit_of[agents]])


def draw_types(played: PlayedCells, *, batch_size: int, unit: int | None = None) -> Tensor:
    """Types of agents to deviate in a counted game, [B] int64; otherwise as ``draw_deviators``."""
    if unit is not None:
        return torch.full((batch_size,), unit, device=played.sizes.device)
    return torch.multinomial(played.sizes / played.sizes.sum(), batch_size, replacement=True)


def played_scores(paired: dict[str, Tensor]) -> dict[str, float]:
    """Mean gain of the deviators over the same episodes without them, and that minus z standard errors.

    E^i >= J^i(g, pi^-i) - J^i(pi) for whatever g, the others answering as they do: a true lower
    bound on the mean (deviators drawn from all agents) and on the maximum (from the worst unit).

    Args:
        paired: ``mean`` and ``max``, differences of returns [episodes].
    """
    scores = {}
    for name, difference in paired.items():
        mean, error = mean_and_error(difference.double(), STANDARD_ERRORS)
        scores[f"exploitability_{name}_played"] = mean
        scores[f"exploitability_{name}_played_lower"] = mean - error
    return scores
