"""The constants of a game by the best method it allows."""

from ...errors import UserError
from ...games import PopulationGame
from .declared import declared_symmetry
from .enumerated import enumerated_symmetry
from .record import Symmetry
from .sampled import sampled_symmetry


def best_known(game: PopulationGame, *, seed: int = 0) -> Symmetry:
    """The closed form if the game knows it, else an enumeration if that can be done, else sampled kernels.

    All are about the declared induced game, u = 0, in which policies are scored.

    Args:
        game: with tables.
        seed: of the sampled populations.

    Raises:
        UserError: a game without tables, of whose kernels nothing is known.
    """
    if game.constants is not None:
        return declared_symmetry(game)
    model = game.mean_field_model()
    try:
        return enumerated_symmetry(game, induced=model)
    except UserError:
        return sampled_symmetry(game, seed=seed, induced=model)
