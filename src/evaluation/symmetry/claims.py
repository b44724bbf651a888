"""Claimed constants against what trajectories show."""

import torch
from torch import Tensor

from ...functional.populations import spread_populations
from ...functional.trajectory_symmetry import TrajectorySymmetry
from ...games import PopulationGame
from ...games.check import steps_looked_at
from .record import DECLARED, EXACT, UPPER, Symmetry

POPULATIONS = 8  # at which the mean over agents is compared with the induced game
MOST_NUMBERS = 2**22  # of the tables that are compared
CLOSE = 1e-6


def contradictions(claimed: Symmetry, measured: TrajectorySymmetry, game: PopulationGame) -> list[str]:
    """One line for alpha and one for beta, where trajectories show more than is claimed.

    They tell how far agents are from their mean P-bar, while a claim is about P^0 of u = 0. Where the two
    differ, |P^i - P-bar|_1 <= |P^i - P^0|_1 + max_j |P^j - P^0|_1 <= 2 alpha: only more than twice the claim
    contradicts it  [ours].

    Args:
        claimed: by a method that is about u = 0; its lower bounds and estimates claim nothing.
        measured: with lower bounds of alpha and beta.
        game: of both.
    """
    lines = []
    for name, part in (("alpha", measured.alpha), ("beta", measured.beta)):
        constant, least = getattr(claimed, name), part.at_least.value
        if constant.kind not in (EXACT, UPPER, DECLARED) or not least > constant.value + CLOSE:
            continue
        if least > (1 if is_centred(game) else 2) * constant.value + CLOSE:
            claim = f"{name} = {constant.value:.4g} ({constant.kind}) by {claimed.method}"
            lines.append(
                f"CONTRADICTED: {claim}, trajectories show at least {least:.4g} at {measured.level:.0%}"
            )
    return lines


def is_centred(game: PopulationGame) -> bool:
    """Whether the mean over agents of both tables is seen to be that of u = 0."""
    if not game.has_tables:
        return False
    types, type_of = torch.unique(game.personal, return_inverse=True)
    n_cells = game.n_states * game.n_actions
    if len(types) * POPULATIONS * n_cells * game.n_states > MOST_NUMBERS:
        return False
    share = torch.bincount(type_of).double() / game.n_agents  # [G]
    mu = spread_populations(POPULATIONS, n_cells, generator=torch.Generator().manual_seed(0)).to(game.device)
    mu = mu.reshape(-1, 1, game.n_states, game.n_actions)
    for h in steps_looked_at(game):
        for table, n_last in ((game.transition_at, 3), (game.reward_at, 2)):
            own = table(torch.tensor(h, device=game.device), mu, types.double())  # [Q, G, S, A, ...]
            induced = table(torch.tensor(h, device=game.device), mu, torch.zeros_like(types[:1]).double())
            own = own.expand(len(mu), len(types), *own.shape[-n_last:])
            induced = induced.expand(len(mu), 1, *induced.shape[-n_last:])
            if _apart(own, induced, share) > CLOSE:
                return False
    return True


def _apart(own: Tensor, induced: Tensor, share: Tensor) -> float:
    """Of the mean of tables [Q, G, ...] over types of these shares [G] from another [Q, 1, ...]."""
    mean = torch.tensordot(own, share.to(own), dims=([1], [0]))
    return (mean - induced.squeeze(1)).abs().max().item()
