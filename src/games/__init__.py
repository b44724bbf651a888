"""Population games, one a file, and how to make one by name."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial

from ..errors import UserError
from .a_beach import ABeach
from .a_rps import ARPS
from .a_sis import ASIS
from .a_taxi import ATaxi
from .base import PopulationGame, solvable
from .check import check_game, require_sound
from .constants import SymmetryConstants
from .game import Game, Step, advances, for_counting
from .induced import InducedGame, induced_game
from .joint_kernels import JointKernels, TableKernels
from .mfglib_environments import ENVIRONMENTS as MFGLIB
from .mfglib_environments import Bounds
from .mfglib_game import MFGLibGame, make_mfglib
from .own_game import load_game, make_own
from .table_game import TableGame
from .taxi_lite import TaxiLite

REGISTRY: dict[str, type[Game]] = {
    "a_beach": ABeach,
    "a_rps": ARPS,
    "a_sis": ASIS,
    "a_taxi": ATaxi,
    "taxi_lite": TaxiLite,
}


def make(key: str, **env_args: object) -> Game:
    """Make a game from its name and its ``env_args``.

    Defaults live in the environment's yaml alone, so every argument but device and seed is asked for.

    Args:
        key: a name in the registry, one of MFGLib's environments or, for a game of your own,
            ``file.py:Class`` or ``module:Class``.

    Raises:
        UserError: an unknown game, an unknown or a missing argument, a value out of range, or a game of
            one's own that is none.
    """
    made = _construct(key, env_args)
    if ":" in key:
        require_sound(made, key)
    return made


def make_counted(key: str, **env_args: object) -> PopulationGame:
    """``make`` a game to be counted: it holds its types (``for_counting``), and nothing of size N.

    One's own game is checked with up to a thousand agents.

    Raises:
        UserError: what ``make`` raises; a game whose counts are no Markov chain, naming why.
    """
    n_agents = env_args.get("n_agents")
    if ":" in key:
        few = {"n_agents": min(n_agents, 1000 + n_agents % 2)} if isinstance(n_agents, int) else {}
        make(key, **{**env_args, **few})
    with for_counting():
        made = _construct(key, env_args)
    return require_countable(made, key)


def require_countable(game: Game, key: str) -> PopulationGame:
    """Pass a game on whose counts by type and local state are a Markov chain that its tables tell.

    Raises:
        UserError: naming why they are none.
    """
    if not isinstance(game, PopulationGame):
        reason = "its local states are packed, too many to be counted"
    elif not game.has_tables:
        reason = "it gives no tables, by which counts move"
    elif game.random_rewards:
        reason = "its rewards are drawn agent by agent, and counts do not tell their sum"
    elif getattr(game.reset, "__func__", None) is not PopulationGame.reset:  # of an instance there is none
        reason = "its reset is its own, so that its agents need not start independently"
    elif getattr(game.step, "__func__", None) not in (PopulationGame.step, TableGame.step):
        reason = "its step is its own, so that who stands where may matter, not only how many"
    else:
        return game
    raise UserError(f"env_args.key={key}: {reason}; take runner=population, which follows every agent")


def _construct(key: str, env_args: dict[str, object]) -> Game:
    """A game from its arguments, which must be those it takes.

    Raises:
        UserError: see ``make``, but that a game of one's own is not checked.
    """
    game = find_game(key)
    parameters = inspect.signature(game).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in env_args:
        if name not in parameters and not takes_all:
            raise UserError(f"env_args.{name}={env_args[name]}: {_no_such_argument(key, name, parameters)}")
    asked = {n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    missing = sorted(asked - set(env_args), key=list(parameters).index)
    if missing:
        place = (
            "its yaml must set it" if ":" in key else f"see config/envs/{yaml_of(key)}.yaml for its default"
        )
        raise UserError(f"env_args.{missing[0]}: {key} needs it, {place}")
    if not isinstance(game, type) or key in REGISTRY:
        return game(**env_args)
    return make_own(key, game, env_args)


def find_game(key: str) -> Callable[..., Game]:
    """The class of a game, or what makes one of MFGLib's environments a game.

    Raises:
        UserError: there is none of that name.
    """
    if key in REGISTRY:
        return REGISTRY[key]
    if key in MFGLIB:
        return partial(make_mfglib, key)
    if ":" in key:
        return load_game(key)
    raise UserError(
        f"env_args.key={key}: no such game{did_you_mean(key, [*REGISTRY, *MFGLIB])}; there are "
        f"{', '.join(REGISTRY)}, MFGLib's {', '.join(MFGLIB)}, and one of your own is file.py:Class"
    )


def _no_such_argument(key: str, name: str, parameters: Iterable[str]) -> str:
    if name in ("device", "seed"):
        return f"{key} must take device and seed and hand them to PopulationGame"
    if key in REGISTRY or key in MFGLIB:
        remedy = f"another game has its own yaml, --env-config={yaml_of(key)}"
    else:
        remedy = "its yaml may hold what the class takes"
    return f"{key} has no such argument{did_you_mean(name, parameters)}; {remedy}"


def yaml_of(key: str) -> str:
    """The environment's yaml that holds a game of the package; one serves all of MFGLib's."""
    return "mfglib" if key in MFGLIB else key


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """', did you mean x?' when something known is close to the word, else ''."""
    close = get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


__all__ = [
    "MFGLIB",
    "REGISTRY",
    "Bounds",
    "Game",
    "InducedGame",
    "JointKernels",
    "MFGLibGame",
    "PopulationGame",
    "Step",
    "SymmetryConstants",
    "TableGame",
    "TableKernels",
    "advances",
    "check_game",
    "did_you_mean",
    "induced_game",
    "make",
    "make_counted",
    "solvable",
]
