"""What agents and critics are shown of a game."""

import torch
from torch import Tensor

from ..errors import UserError
from .base import PopulationGame
from .game import Game

VIEWS = ("index", "features")


def observation_size(view: str, game: Game) -> int:
    """Numbers an agent observes: P for ``index``, F for ``features``.

    Raises:
        UserError: the view is neither.
    """
    if view not in VIEWS:
        raise UserError(f"observation={view}: no such view, choose one of {', '.join(VIEWS)}")
    return game.n_parts if view == "index" else game.n_features


def observe(view: str, game: Game, states: Tensor, population: Tensor, progress: float) -> Tensor:
    """Observations of all agents.

    ``index``: the numbers that make the local state (one, where local states are numbered), for mean-field
    controllers, which make features of them when they need any. ``features``: what the game shows a
    network, such as the one-hot local state, the empirical distribution of all N agents' states and h / H.

    Args:
        view: ``index`` or ``features``.
        game: whose agents they are.
        states: [B, N] int64.
        population: distribution over the places [B, K].
        progress: h / H.

    Returns:
        [B, N, observation_size(view, game)] float32.
    """
    parts = game.parts(states)
    if view == "index":
        return parts
    return game.features(parts, population, torch.full_like(population[:, 0], progress))


def sees_its_number(game: Game) -> bool:
    """Whether ``index`` shows an agent the number of its local state, and no ``parts`` of an author's own."""
    return isinstance(game, PopulationGame) and type(game).parts is PopulationGame.parts
