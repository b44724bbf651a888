"""The words of a command line: a parser that complains in one line, and what options of words hold."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser that knows no abbreviations and complains in one line."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message} (try {self.prog} --help)")


def split_host(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The checkout that ``--host`` names, and the other words, options in the form ``--option=value``."""
    parser = Parser(prog="mf-pmd train", add_help=False)
    for option in ("--host", "--config", "--env-config"):
        parser.add_argument(option)
    options, rest = parser.parse_known_args(words)
    given = {"--config": options.config, "--env-config": options.env_config}
    return options.host, [*(f"{name}={value}" for name, value in given.items() if value), *rest]


def settings_given(words: Sequence[str]) -> list[str]:
    """The ``key=value`` words behind ``with``.

    Raises:
        UserError: there are words, but no ``with`` before them.
    """
    if words and words[0] != "with":
        raise UserError(f"{words[0]}: unexpected word; settings follow `with`: with {' '.join(words)}")
    return [word for word in words if word != "with"]


def names_given(kind: str, listed: str, roots: Sequence[Path]) -> list[str]:
    """The names in a comma-separated list of ``algs`` or ``envs``, each known and named once.

    Args:
        kind: ``algs`` or ``envs``.
        listed: what was given.
        roots: the folders of yaml files that know the names.

    Raises:
        UserError: an empty list, an unknown name, or one given twice.
    """
    from .host.utils.config import OPTIONS, find_yaml

    found = [name.strip() for name in listed.split(",")]
    for name in found:
        if not name and len(found) > 1:
            raise UserError(f"--{kind}={listed}: a name is empty; separate names by single commas")
        if found.count(name) > 1:
            raise UserError(f"--{kind}={listed}: {name} is named twice")
        try:
            find_yaml(kind, name, roots)
        except UserError as error:
            raise UserError(str(error).replace(OPTIONS[kind], f"--{kind}", 1)) from error
    return found


def whole_numbers(option: str, listed: str | None) -> list[int] | None:
    """The numbers of a comma-separated list; None if it was not given.

    Raises:
        UserError: something else is listed.
    """
    if listed is None:
        return None
    try:
        return [int(number) for number in listed.split(",")]
    except ValueError as error:
        raise UserError(f"{option}={listed}: whole numbers apart by commas are needed") from error


def require_seed(seed: int) -> None:
    """Hold a seed to the range of the setting ``seed``.

    Raises:
        UserError: it lies outside.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed={seed}: a whole number from 0 to 2**32 - 1 is needed")
