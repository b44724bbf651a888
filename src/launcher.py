"""``mf-pmd train --host PATH``: run the ``main.py`` of an EPyMARL checkout, with the plugin and no file.

The registries are filled in this process, then the checkout's own ``main.py`` runs as it would from
the shell: its options, its habits, its results folder.
"""

import contextlib
import difflib
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from . import checkout
from .attach import is_attached
from .errors import UserError

_SCOPE = (*checkout.TOP_LEVEL_NAMES, "smaclite")
"""The top-level modules that belong to one run of a checkout."""


def train(path: str | Path, argv: list[str]) -> int:
    """Run ``main.py`` of the EPyMARL checkout at ``path`` with the words ``argv``; returns its status.

    A checkout that is attached registers the plugin itself, once. Afterwards ``sys.argv``,
    ``sys.path`` and ``sys.modules`` are as they were.

    Errors: `UserError` where ``path`` is no checkout, where ``--config`` or ``--env-config`` is
    missing or names no yaml file, or where the checkout cannot be joined (`checkout.join`).
    """
    source = checkout.source_folder(path)
    _require_configs(argv, source)
    with _running_as(source, argv):
        # sacred reads its own version by pkg_resources; nobody here can mend that
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        if not is_attached(source):
            checkout.join(source)
        try:
            runpy.run_path(str(source / "main.py"), run_name="__main__")
        except SystemExit as stop:
            return _status(stop)
    return 0


def _require_configs(argv: list[str], source: Path) -> None:
    for option, folder in checkout.FOLDER_OF_OPTION.items():
        values = [word.partition("=")[2] for word in argv if word.partition("=")[0] == option]
        if not values or not values[0]:
            raise UserError(f"{option} is missing: name one of {', '.join(_known(folder, source))}")
        # an absolute path wins over the folder it is joined to, as in the checkout
        if values[0] in _known(folder, source):
            continue
        if not (source / "config" / folder / f"{values[0]}.yaml").is_file():
            close = difflib.get_close_matches(values[0], _known(folder, source), n=1)
            hint = (
                f"did you mean {close[0]}?" if close else f"name one of {', '.join(_known(folder, source))}"
            )
            raise UserError(
                f"{option}={values[0]} is neither mf-pmd's nor in {source / 'config' / folder}: {hint}"
            )


def _known(folder: str, source: Path) -> list[str]:
    theirs = {file.stem for file in (source / "config" / folder).glob("*.yaml")}
    return sorted(theirs | set(checkout.our_config_names()[folder]))


@contextlib.contextmanager
def _running_as(source: Path, argv: list[str]) -> Iterator[None]:
    """Arrange ``sys`` as ``python src/main.py`` would find it, and restore it afterwards."""
    saved_argv, saved_path = sys.argv[:], sys.path[:]
    displaced = _take_modules(_SCOPE)
    sys.argv[:] = [str(source / "main.py"), *argv]
    sys.path.insert(0, str(source))
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.argv[:], sys.path[:] = saved_argv, saved_path
        _take_modules(_SCOPE)
        sys.modules.update(displaced)


def _take_modules(roots: tuple[str, ...]) -> dict[str, ModuleType]:
    """Take the modules of these top-level names out of ``sys.modules``; returns them."""
    names = [name for name in sys.modules if name.partition(".")[0] in roots]
    return {name: sys.modules.pop(name) for name in names}


def _status(stop: SystemExit) -> int:
    """The exit status that the interpreter would end with; a message goes where it would put it."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    print(stop.code, file=sys.stderr)
    return 1
