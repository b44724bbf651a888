"""Whether a population game is monotone extendable, told by its tables."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...functional.mean_field import MeanFieldModel
from ...functional.monotonicity import Monotonicity
from ...functional.populations import spread_populations
from ...games import PopulationGame
from .slopes import TRIED, few_enough, look_over, spread_over

MOST_STEPS = 200  # of a game whose kernels depend on the step; of more, these many from the first to the last
WRITTEN = 6  # of them that are told


def game_monotonicity(game: PopulationGame) -> Monotonicity:
    """Whether the induced P is free of mu and more of a cell never makes it better paid, at every step.

    A violation is certain. That there is none is told where R is affine in mu, by the largest eigenvalue of
    its form; otherwise nothing is told, nor is it where a ``time_dependent`` game has more than 200 steps.

    Args:
        game: with tables.

    Raises:
        UserError: a game without tables.
    """
    model = game.mean_field_model()
    n_steps = game.horizon if game.time_dependent else 1
    steps = torch.linspace(0, n_steps - 1, min(MOST_STEPS, n_steps)).round().long().tolist()
    worst = Monotonicity(True, "")
    for h in steps:
        found = monotonicity_at(game, model, h)
        if found.monotone is not True and game.time_dependent:
            found = found._replace(note=f"at step {h}: {found.note}")
        if found.monotone is not True or h == 0:
            worst = found
        if worst.monotone is False:
            break
    return of_some_steps(game, worst, steps)


def of_some_steps(game: PopulationGame, found: Monotonicity, steps: Sequence[int]) -> Monotonicity:
    """What the worst of some steps tells of all: a violation, and without one something if all were seen."""
    if not game.time_dependent or found.monotone is not True:
        return found
    if len(steps) == game.horizon:
        return found._replace(note=f"at all {game.horizon} steps, {found.note}")
    seen = ", ".join(str(h) for h in steps) if len(steps) <= WRITTEN else f"{steps[0]} to {steps[-1]}"
    return Monotonicity(
        None, f"{len(steps)} of {game.horizon} steps were looked at ({seen}), and are: {found.note}"
    )


def monotonicity_at(game: PopulationGame, model: MeanFieldModel, h: int, *more: Tensor) -> Monotonicity:
    """The same of step h alone, looked at ``more`` populations [Q, d] too."""
    cells = (game.n_states, game.n_actions)
    if few_enough(game):
        return look_over(model, spread_over(game, *more), cells, h=h).monotonicity
    n_cells, generator = cells[0] * cells[1], torch.Generator().manual_seed(0)
    few = spread_populations(TRIED // 10, n_cells, generator=generator).to(game.device)
    return look_over(model, torch.cat([few, *more]), cells, h=h, with_corners=False).monotonicity
