"""Population games, one a file, and how to make one by name."""

import inspect
from collections.abc import Iterable
from difflib import get_close_matches

from ..errors import UserError
from .a_beach import ABeach
from .a_rps import ARPS
from .a_sis import ASIS
from .base import PopulationGame, Step, SymmetryConstants
from .check import check_game
from .table_game import TableGame

REGISTRY: dict[str, type[PopulationGame]] = {
    "a_beach": ABeach,
    "a_rps": ARPS,
    "a_sis": ASIS,
}


def make(key: str, **env_args: object) -> PopulationGame:
    """Make a game from its name and its ``env_args``.

    Defaults live in ``config/envs/<key>.yaml`` alone, so every argument but device and seed is asked for.

    Raises:
        UserError: an unknown game, an unknown or a missing argument, or a value out of range.
    """
    if key not in REGISTRY:
        raise UserError(
            f"env_args.key={key}: no such game{did_you_mean(key, REGISTRY)}; there are {', '.join(REGISTRY)}"
        )
    game = REGISTRY[key]
    parameters = inspect.signature(game).parameters
    for name in env_args:
        if name not in parameters:
            hint = did_you_mean(name, parameters)
            raise UserError(
                f"env_args.{name}={env_args[name]}: {key} has no such argument{hint}; "
                f"another game has its own yaml, --env-config={key}"
            )
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in env_args]
    if missing:
        raise UserError(f"env_args.{missing[0]}: {key} needs it, see config/envs/{key}.yaml for its default")
    return game(**env_args)  # type: ignore[arg-type]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """', did you mean x?' when something known is close to the word, else ''."""
    close = get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


__all__ = [
    "REGISTRY",
    "PopulationGame",
    "Step",
    "SymmetryConstants",
    "TableGame",
    "check_game",
    "did_you_mean",
    "make",
]
