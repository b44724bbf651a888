"""How far agents are from the induced game, and how steep it is, at given populations."""

import torch
from torch import Tensor

from ..functional.mean_field import MeanFieldModel
from ..functional.population_slopes import population_update
from ..functional.populations import moves
from .base import PopulationGame

ENTRIES_AT_ONCE = 2**22  # of the transition tables that one call makes
ROUNDING = 1e-6  # of the distance of two laws, of tables that are computed in float32


def distances(
    game: PopulationGame, counts: Tensor, types: Tensor, *, induced: MeanFieldModel, h: int
) -> tuple[Tensor, Tensor]:
    """Of the kernels of each type from the induced ones, at points of the lattice.

    Args:
        game: with tables.
        counts: of the N - 1 others, [Q, d] int64.
        types: personal parameters, [G].
        induced: whose tables take populations [Q, S, A] at once.
        h: the step.

    Returns:
        |P(s, a, ., u) - P(s, a, .)|_1 and |R(s, a, ., u) - R(s, a, .)|, [G, Q, d] each.
    """
    n_cells = counts.shape[1]
    at_once = max(1, ENTRIES_AT_ONCE // (len(types) * n_cells * game.n_states))
    steps = torch.tensor(h, device=game.device)
    off_law, off_reward = [], []
    for part in counts.split(at_once):
        mu = (part.double() / (game.n_agents - 1)).reshape(-1, game.n_states, game.n_actions)
        law, reward = game.tables_met(mu, types.double().unsqueeze(1), steps)
        off_law.append((law - induced.transition_at(h, mu)).abs().sum(-1).flatten(2))
        off_reward.append((reward - induced.reward_at(h, mu)).abs().flatten(2))
    return torch.cat(off_law, 1), torch.cat(off_reward, 1)


def slopes_around(
    model: MeanFieldModel,
    populations: Tensor,
    cells: tuple[int, int],
    *,
    h: int,
    n_moves: int,
    share: float,
    generator: torch.Generator,
) -> Tensor:
    """The steepest of P, R and nu' from a population to others where a cell's mass went to another.

    Args:
        model: whose tables take populations [Q, S, A] at once.
        populations: mu, [Q, d] float64.
        cells: S and A.
        h: the step.
        n_moves: random pairs of cells, M.
        share: of a cell's mass that moves.
        generator: of the pairs.

    Returns:
        max |f(mu) - f(mu')|_1 / |mu - mu'|_1 of the three, what can be rounding left out, [Q, 3]: no more
        than L_P, L_R and L_pop.
    """
    there = torch.stack([moves(mu, n_moves, share=share, generator=generator) for mu in populations])
    around = torch.cat([populations.unsqueeze(1), there], 1)  # [Q, M + 1, d]
    at_once = max(1, ENTRIES_AT_ONCE // (around[0].numel() * cells[0]))
    return torch.cat([_slopes(model, part, cells, h) for part in around.split(at_once)])


def _slopes(model: MeanFieldModel, around: Tensor, cells: tuple[int, int], h: int) -> Tensor:
    """From the first of populations [Q, M + 1, d] to the rest: [Q, 3]."""
    mu = around.flatten(0, 1).unflatten(1, cells)
    laws = model.transition_at(h, mu).expand(*mu.shape, cells[0]).flatten(1, 2)
    rewards = model.reward_at(h, mu).expand(mu.shape).flatten(1)
    moved = population_update(laws, around.flatten(0, 1))
    laws, rewards, moved = (x.unflatten(0, around.shape[:2]) for x in (laws, rewards, moved))
    differences = (
        (laws[:, 1:] - laws[:, :1]).abs().sum(-1).amax(-1),
        (rewards[:, 1:] - rewards[:, :1]).abs().amax(-1),
        (moved[:, 1:] - moved[:, :1]).abs().sum(-1),
    )
    distance = (around[:, 1:] - around[:, :1]).abs().sum(-1)  # [Q, M]
    return torch.stack([((x - ROUNDING).clamp(min=0.0) / distance).amax(1) for x in differences], 1)
