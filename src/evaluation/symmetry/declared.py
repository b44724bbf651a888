"""What a game declares of its symmetry, in closed form."""

from ...errors import UserError
from ...functional.monotonicity import Monotonicity
from ...games import REGISTRY, Game, PopulationGame
from ...games.check import steps_looked_at
from ...games.checking.constants import beyond_declared
from ...games.checking.subject import Subject
from .monotonicity import game_monotonicity
from .record import DECLARED, EXACT, UPPER, Constant, Symmetry
from .slopes import few_enough, look_over, spread_over

CLOSE = 1e-6  # of constants written in float32


def declared_symmetry(game: Game) -> Symmetry:
    """The constants that the game was built with, against the induced game of u = 0.

    Those of the registry's games are exact, and where their P is affine in mu so is L_pop, by the corners
    instead of by what is declared. With ``population="all"`` the 2 L_P / N and 2 L_R / N that an agent's own
    share adds are upper bounds. Those of any other game are what its author says: they are called so, and
    refused where something larger is seen at sampled populations. Whether the game is monotone is looked up
    in the tables where it is not declared. A game whose local states are too many to be numbered has no
    tables, and its constants are taken as they are.

    Raises:
        UserError: a game without constants, or without the tables that they are about, or whose tables
            contradict them.
    """
    name = type(game).__name__
    if game.constants is None:
        raise UserError(
            f"A game without constants has no closed form of its symmetry: give {name} "
            "constants=SymmetryConstants(...), or measure it by another method"
        )
    if isinstance(game, PopulationGame) and not game.has_tables:
        raise UserError(
            f"A game without tables has no closed form of its symmetry: give {name} transition_table and "
            "reward_table, or measure it from trajectories"
        )
    corners = None
    if isinstance(game, PopulationGame):
        corners = _by_corners(game)
        _require_no_more_seen(game, corners)
    told, found = game.constants, _monotonicity(game)
    ours, itself = type(game) in REGISTRY.values(), game.population == "all"

    def kind(slope: float) -> str:
        if not ours:
            return DECLARED
        return UPPER if itself and slope > 0 else EXACT

    return Symmetry(
        method="closed form",
        alpha=Constant(told.alpha, kind(told.lipschitz_transition)),
        beta=Constant(told.beta, kind(told.lipschitz_reward)),
        lipschitz_transition=Constant(told.lipschitz_transition, kind(0.0)),
        lipschitz_reward=Constant(told.lipschitz_reward, kind(0.0)),
        lipschitz_population=_population_slope(told.lipschitz_population, corners, ours=ours),
        monotone=found.monotone,
        monotone_note=found.note,
        looked_at="declared by the game for all agents, cells and populations" + _unseen(game),
    )


def _unseen(game: Game) -> str:
    """Why the constants were not held against tables, if they were not."""
    if not isinstance(game, PopulationGame):
        return "; its local states are too many for tables that they could be held against"
    return "" if few_enough(game) else "; its tables are too large to be held against it"


def _by_corners(game: PopulationGame) -> float | None:
    """L_pop of a P that is affine in mu, as far as is seen; None where it is not, or cannot be told."""
    if game.time_dependent or not few_enough(game):
        return None
    cells = (game.n_states, game.n_actions)
    return look_over(game.mean_field_model(), spread_over(game), cells, h=0).population


def _require_no_more_seen(game: PopulationGame, corners: float | None) -> None:
    """Refuse constants that are exceeded at sampled populations, or by an affine P at its corners."""
    assert game.constants is not None
    beyond, declared = [], game.constants.lipschitz_population
    for h in steps_looked_at(game) if few_enough(game) else ():
        where = f"at step {h}: " if game.time_dependent else ""
        found = beyond_declared(Subject(game, draws=0, level=0.0, seed=0, h=h))
        beyond += [where + contradiction for contradiction in found]
    if not beyond and corners is not None and corners > declared + CLOSE:
        beyond.append(f"lipschitz_population = {declared:g}, but {corners:.6g} is met at the corners")
    if beyond:
        name = type(game).__name__
        raise UserError(f"{name} declares constants that its tables exceed: {'; '.join(beyond)}; mend them")


def _population_slope(declared: float, corners: float | None, *, ours: bool) -> Constant:
    """L_pop, and beside it what else is known."""
    if corners is None:
        return Constant(declared, UPPER if ours else DECLARED)
    apart = corners < declared - CLOSE
    if ours:
        return Constant(corners, EXACT, f"P is affine in mu, the game declares {declared:.4g}" * apart)
    seen = f"by the corners {corners:.4g}, P is affine in mu as far as seen"
    return Constant(declared, DECLARED, seen * apart)


def _monotonicity(game: Game) -> Monotonicity:
    """Declared, or looked up; not told where a yes contradicts the declared L_P."""
    assert game.constants is not None
    declared = game.constants.monotone
    found = Monotonicity(declared, "the game does not say" if declared is None else "declared by the game")
    slope = game.constants.lipschitz_transition
    if found.monotone is None and isinstance(game, PopulationGame):
        found = game_monotonicity(game)
    if found.monotone and slope > 0:
        return Monotonicity(None, f"{found.note}, but L_P = {slope:.4g} > 0 is declared too")
    return found
