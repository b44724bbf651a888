"""What a game declares of its symmetry, in closed form."""

from ...errors import UserError
from ...functional.monotonicity import Monotonicity
from ...games import PopulationGame
from .monotonicity import game_monotonicity
from .record import EXACT, UPPER, Constant, Symmetry
from .slopes import few_enough, look_over, spread_over

CLOSE = 1e-6  # of constants written in float32


def declared_symmetry(game: PopulationGame) -> Symmetry:
    """The constants that the game was built with, against the induced game of u = 0.

    alpha, beta, L_P and L_R are what their author says, ``check_game`` looks for what exceeds them. L_pop is
    an upper bound, unless the tables attain it. With ``population="all"`` the 2 L_P / N and 2 L_R / N that an
    agent's own share adds are upper bounds too. Whether the game is monotone is looked up in the tables where
    it is not declared.

    Raises:
        UserError: a game without constants, or without the tables that they are about.
    """
    name = type(game).__name__
    if game.constants is None:
        raise UserError(
            f"A game without constants has no closed form of its symmetry: give {name} "
            "constants=SymmetryConstants(...), or measure it by another method"
        )
    if not game.has_tables:
        raise UserError(
            f"A game without tables has no closed form of its symmetry: give {name} transition_table and "
            "reward_table, or measure it from trajectories"
        )
    told, found = game.constants, Monotonicity(game.constants.monotone, "declared by the game")
    if told.monotone is None:
        found = game_monotonicity(game)
    itself = game.population == "all"
    return Symmetry(
        method="closed form",
        alpha=Constant(told.alpha, UPPER if itself and told.lipschitz_transition > 0 else EXACT),
        beta=Constant(told.beta, UPPER if itself and told.lipschitz_reward > 0 else EXACT),
        lipschitz_transition=Constant(told.lipschitz_transition, EXACT),
        lipschitz_reward=Constant(told.lipschitz_reward, EXACT),
        lipschitz_population=Constant(told.lipschitz_population, *_population_kind(game)),
        monotone=found.monotone,
        monotone_note=found.note,
        looked_at="declared by the game for all agents, cells and populations",
    )


def _population_kind(game: PopulationGame) -> tuple[str, str]:
    """Whether the declared L_pop is attained, and what is known otherwise."""
    assert game.constants is not None
    if game.time_dependent or not few_enough(game):
        return UPPER, ""
    model = game.mean_field_model()
    exact = look_over(model, spread_over(game), (game.n_states, game.n_actions), h=0).population
    if exact is None:
        return UPPER, ""
    if exact >= game.constants.lipschitz_population - CLOSE:
        return EXACT, ""
    return UPPER, f"P is affine in mu, {exact:.4g} by its corners"
