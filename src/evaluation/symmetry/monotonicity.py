"""Whether a population game is monotone extendable, told by its tables."""

import torch
from torch import Tensor

from ...functional.mean_field import MeanFieldModel
from ...functional.monotonicity import Monotonicity
from ...functional.populations import spread_populations
from ...games import PopulationGame
from ...games.check import steps_looked_at
from .slopes import TRIED, few_enough, look_over, spread_over


def game_monotonicity(game: PopulationGame, *, model: MeanFieldModel | None = None) -> Monotonicity:
    """Whether the induced P is free of mu and more of a cell never makes it better paid, at every step.

    A violation is certain. That there is none is told where R is affine in mu, by the largest eigenvalue of
    its form; otherwise nothing is told. Of a ``time_dependent`` game up to six steps are looked at.

    Args:
        game: with tables.
        model: the mean-field game that is meant, whose tables take populations [Q, S, A] at once; None for
            the declared one of u = 0.

    Raises:
        UserError: a game without tables.
    """
    model = game.mean_field_model() if model is None else model
    found = [monotonicity_at(game, model, h) for h in steps_looked_at(game)]
    return min(found, key=lambda step: {False: 0, None: 1, True: 2}[step.monotone])


def monotonicity_at(game: PopulationGame, model: MeanFieldModel, h: int, *more: Tensor) -> Monotonicity:
    """The same of step h alone, looked at ``more`` populations [Q, d] too."""
    cells = (game.n_states, game.n_actions)
    if few_enough(game):
        return look_over(model, spread_over(game, *more), cells, h=h).monotonicity
    n_cells, generator = cells[0] * cells[1], torch.Generator().manual_seed(0)
    few = spread_populations(TRIED // 10, n_cells, generator=generator).to(game.device)
    return look_over(model, torch.cat([few, *more]), cells, h=h, with_corners=False).monotonicity
