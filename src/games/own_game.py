"""A game from outside the package: a class in a file or module of the user's own."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ..errors import UserError
from .game import Game


def load_game(key: str) -> type[Game]:
    """The population game that ``file.py:Class`` or ``module:Class`` names.

    A relative file lies below the working directory; one that an environment's yaml names is made absolute
    when the yaml is read, so that it lies beside the yaml.

    Raises:
        UserError: no such file, module or game, or whatever the code raises when it is imported.
    """
    place, _, name = key.rpartition(":")
    module = _import_file(key, Path(place)) if place.endswith(".py") else _import_module(key, place)
    game = getattr(module, name, None)
    if not (isinstance(game, type) and issubclass(game, Game)):
        there = [n for n, value in vars(module).items() if _defined_in(module, value)]
        known = f"it defines {', '.join(there)}" if there else "it defines none"
        raise UserError(f"env_args.key={key}: {place} has no population game {name}; {known}")
    return game


def make_own(key: str, game: type[Game], env_args: dict[str, object]) -> Game:
    """An instance of a game from outside the package.

    Raises:
        UserError: whatever its constructor raises, or that it did not call that of its base class.
    """
    try:
        made = game(**env_args)  # type: ignore[arg-type]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"env_args.key={key}: {_told(error)}") from error
    if not hasattr(made, "generator"):
        raise UserError(f"env_args.key={key}: its __init__ must call super().__init__(...)")
    return made


def _defined_in(module: ModuleType, value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Game) and value.__module__ == module.__name__


def _import_file(key: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"env_args.key={key}: there is no file {path.absolute()}")
    name = f"own_game_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"env_args.key={key}: {_told(error)}") from error
    return module


def _import_module(key: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        file = f"./{name}.py:{key.rpartition(':')[2]}"
        raise UserError(
            f"env_args.key={key}: {error}; a file is named with its .py, such as {file}"
        ) from error
    except Exception as error:
        raise UserError(f"env_args.key={key}: {_told(error)}") from error


def _told(error: Exception) -> str:
    """The error and the line it comes from."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}: {type(error).__name__}: {error}"
