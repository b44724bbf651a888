"""Values of settings, parsed from words by the type of their default.

The first words of a comment, up to its first ``;``, may say more than the default does: type names
(``int``, ``float``, ``str``, ``bool``, ``list``, ``null``) separated by ``|`` add types, which is how a key whose
default is null names its own, and other words separated by ``|`` are the only choices of a string.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import yaml

from ...errors import UserError
from .yaml_files import parse_yaml

NULLS = ("null", "None", "none", "~", "")


class _Mismatch(ValueError):
    """The text is not of the type."""


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
    declared, choices = declared_types(comment, default)
    if text in NULLS and (default is None or "null" in declared):
        return None
    if choices and _unquote(text) in choices:
        return _unquote(text)
    types = _types(default, declared, choices)
    for kind in types:
        try:
            return PARSERS[kind](text, default)
        except _Mismatch:
            continue
    raise UserError(_message(key, text, types, choices, default))


def declared_types(comment: str, default: Any) -> tuple[list[str], list[str]]:
    """Type names and choices that open a comment.

    >>> declared_types("int | null; seed of the run", None)
    (['int', 'null'], [])
    >>> declared_types("last | average | tail; which policy to play", "tail")
    ([], ['last', 'average', 'tail'])
    """
    words = [word.strip() for word in comment.partition(";")[0].split("|")]
    names = [word for word in words if word in PARSERS or word == "null"]
    if names and len(names) == len([word for word in words if word and word != "..."]):
        return names, []
    choices = [word for word in words if word not in names]
    is_list_of_choices = len(words) > 1 and all(choices) and isinstance(default, str) and default in choices
    return (names, choices) if is_list_of_choices else ([], [])


def _types(default: Any, declared: list[str], choices: list[str]) -> list[str]:
    names = [name for name in ORDER if name in declared]
    if default is None:
        return names or ["any"]
    own = {bool: "bool", int: "int", float: "float", list: "list", dict: "dict"}.get(type(default), "str")
    if choices or own in names:
        return names
    return [name for name in ORDER if name in {own, *names}]


def _parse_bool(text: str, default: Any) -> bool:
    if text.lower() not in ("true", "false"):
        raise _Mismatch
    return text.lower() == "true"


def _parse_int(text: str, default: Any) -> int:
    try:
        return int(text)
    except ValueError:
        number = _parse_float(text, default)
    if number != int(number):
        raise _Mismatch
    return int(number)


def _parse_float(text: str, default: Any) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _Mismatch from None
    if not math.isfinite(number):
        raise _Mismatch
    return number


def _parse_list(text: str, default: Any) -> list[Any]:
    value = _parse_any(text, default)
    if not isinstance(value, list):
        raise _Mismatch
    kinds = {type(item) for item in default or []}
    if kinds == {int} and any(type(item) is not int for item in value):
        raise _Mismatch
    if kinds == {float}:
        return [_parse_float(str(item), None) for item in value]
    return value


def _parse_dict(text: str, default: Any) -> dict[str, Any]:
    value = _parse_any(text, default)
    if not isinstance(value, dict):
        raise _Mismatch
    return value


def _parse_str(text: str, default: Any) -> str:
    return _unquote(text)


def _parse_any(text: str, default: Any) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        raise _Mismatch from None


PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "bool": _parse_bool,
    "int": _parse_int,
    "float": _parse_float,
    "list": _parse_list,
    "dict": _parse_dict,
    "str": _parse_str,
    "any": _parse_any,
}
ORDER = ("bool", "int", "float", "list", "dict", "str")


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _message(key: str, text: str, types: list[str], choices: list[str], default: Any) -> str:
    if choices:
        near = difflib.get_close_matches(text, choices, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{key}={text}: not one of {', '.join(choices + types)}{hint}"
    wanted = {"int": "a whole number", "float": "a number", "bool": "True or False", "list": "a list like [1, 2]"}
    kinds = " or ".join(wanted.get(kind, f"a {kind}") for kind in types)
    return f"{key}={text}: {kinds} is needed (the default is {default})"
