"""How far agents are from the induced game, and how steep it is, at given populations."""

import torch
from torch import Tensor

from ..functional.mean_field import MeanFieldModel
from ..functional.population_slopes import population_update
from ..functional.populations import moves
from .base import PopulationGame

ENTRIES_AT_ONCE = 2**22  # of the transition tables that one call makes


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
    mu: Tensor,
    cells: tuple[int, int],
    *,
    h: int,
    n_moves: int,
    share: float,
    generator: torch.Generator,
) -> Tensor:
    """The steepest of P, R and nu' from one population to others where a cell's mass went to another.

    Args:
        model: whose tables take populations [Q, S, A] at once.
        mu: [d] float64.
        cells: S and A.
        h: the step.
        n_moves: random pairs of cells.
        share: of a cell's mass that moves.
        generator: of the pairs.

    Returns:
        max |f(mu) - f(mu')|_1 / |mu - mu'|_1 of the three, [3]: no more than L_P, L_R and L_pop.
    """
    there = moves(mu, n_moves, share=share, generator=generator)
    both = torch.cat([mu.unsqueeze(0), there])
    shaped = both.reshape(-1, *cells)
    batch = (len(both), mu.numel())
    laws = model.transition_at(h, shaped).expand(len(both), *cells, cells[0]).reshape(*batch, cells[0])
    rewards = model.reward_at(h, shaped).expand(len(both), *cells).reshape(batch)
    moved = population_update(laws, both)
    differences = (
        (laws[1:] - laws[0]).abs().sum(-1).amax(1),
        (rewards[1:] - rewards[0]).abs().amax(1),
        (moved[1:] - moved[0]).abs().sum(1),
    )
    distance = (there - mu).abs().sum(1)
    return torch.stack([(difference / distance).max() for difference in differences])
