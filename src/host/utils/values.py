"""Values of settings, parsed from words by the type of their default.

The opening of a comment, up to its first ``;``, may say more than the default does. Names of types with
``|`` between them (``int``, ``float``, ``str``, ``bool``, ``list``) are added to the default's own type; a
key whose default is null names its type that way. Other words with ``|`` between them, the default among
them, are the only choices of a string.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from ...errors import UserError
from .yaml_files import parse_yaml

NULLS = ("null", "None", "~", "")


class _MismatchError(ValueError):
    """The text is not of the type."""


class Opening(NamedTuple):
    """What the opening of a comment declares."""

    types: list[str]
    choices: list[str]


def parse_value(key: str, text: str, *, default: Any, comment: str = "") -> Any:
    """The value that `text` gives to a setting.

    Args:
        key: its dotted key, for the message.
        text: what stands behind ``=``.
        default: its value in the yaml files.
        comment: its comment there.

    Raises:
        UserError: `text` is not of the type of the default, nor of a type named in the comment.
    """
    opening = read_opening(comment, default)
    if text in NULLS and (default is None or "null" in opening.types):
        return None
    if _unquote(text) in opening.choices:
        return _unquote(text)
    types = _types(default, opening)
    for name in types:
        try:
            return PARSERS[name](text, default)
        except _MismatchError:
            continue
    raise UserError(_complaint(key, text, types, opening.choices, default))


def read_opening(comment: str, default: Any) -> Opening:
    """Types and choices that a comment opens with.

    >>> read_opening("int | float; the norm", 10)
    Opening(types=['int', 'float'], choices=[])
    >>> read_opening("last | average | tail; which policy", "tail")
    Opening(types=[], choices=['last', 'average', 'tail'])
    >>> read_opening("which policy is played", "tail")
    Opening(types=[], choices=[])
    """
    words = [word.strip() for word in comment.partition(";")[0].split("|")]
    types = [word for word in words if word in PARSERS or word == "null"]
    if types == words:
        return Opening(types, [])
    if len(words) > 1 and isinstance(default, str) and default in words:
        return Opening(types, [word for word in words if word not in types])
    return Opening([], [])


def _types(default: Any, opening: Opening) -> list[str]:
    """Names of the types that a value may have, the strictest first."""
    if default is None:
        own = set() if opening.types else {"any"}
    elif opening.choices:
        own = set()
    else:
        own = {type(default).__name__}
    return [name for name in PARSERS if name in own or name in opening.types]


def _parse_bool(text: str, default: Any) -> bool:
    if text.lower() not in ("true", "false"):
        raise _MismatchError
    return text.lower() == "true"


def _parse_int(text: str, default: Any) -> int:
    try:
        return int(text)
    except ValueError:
        number = _parse_float(text, default)
    if number != int(number):
        raise _MismatchError
    return int(number)


def _parse_float(text: str, default: Any) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _MismatchError from None
    if not math.isfinite(number):
        raise _MismatchError
    return number


def _parse_list(text: str, default: Any) -> list[Any]:
    """A yaml list; its entries are of the type of the default's, where those agree."""
    value = _parse_any(text, default)
    if not isinstance(value, list):
        raise _MismatchError
    types = {type(entry).__name__ for entry in default or []}
    if len(types) != 1:
        return value
    parse = PARSERS[types.pop()]
    return [parse(str(entry), None) for entry in value]


def _parse_dict(text: str, default: Any) -> dict[str, Any]:
    value = _parse_any(text, default)
    if not isinstance(value, dict):
        raise _MismatchError
    return value


def _parse_str(text: str, default: Any) -> str:
    return _unquote(text)


def _parse_any(text: str, default: Any) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        raise _MismatchError from None


PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "bool": _parse_bool,
    "int": _parse_int,
    "float": _parse_float,
    "list": _parse_list,
    "dict": _parse_dict,
    "str": _parse_str,
    "any": _parse_any,
}

WANTED = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "list": "a list like [1, 2]",
    "dict": "a mapping like {key: value}",
    "any": "a yaml value",
}


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _complaint(key: str, text: str, types: list[str], choices: list[str], default: Any) -> str:
    if not choices:
        wanted = " or ".join(WANTED[name] for name in types)
        return f"{key}={text}: {wanted} is needed (the default is {default})"
    near = difflib.get_close_matches(text, choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{key}={text}: not one of {', '.join([*choices, *(WANTED[name] for name in types)])}{hint}"
