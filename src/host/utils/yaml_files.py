"""Yaml files of settings, read with the comment of every key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ...errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML with floats as in version 1.2: ``1e-3`` is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
# The integer resolver of version 1.1 is older in the list, so whole numbers stay integers.


@dataclass(frozen=True)
class Note:
    """Where a setting comes from.

    Attributes:
        comment: the comment on its line, without the ``#``.
        source: the yaml file, as a reader would name it, or ``with``.
    """

    comment: str
    source: str


@dataclass
class Settings:
    """Nested settings, with a note for every dotted key."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)


def parse_yaml(text: str) -> Any:
    """The value of a yaml text.

    Raises:
        yaml.YAMLError: the text is not yaml.
    """
    return yaml.load(text, Loader=_Loader)


def read_settings(path: Path, source: str) -> Settings:
    """Settings of a yaml file.

    Raises:
        UserError: the file cannot be read, or is not a yaml mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = parse_yaml(text)
        root = yaml.compose(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a readable yaml file: {' '.join(str(error).split())}") from error
    if values is None:
        return Settings()
    if not isinstance(values, dict) or not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: a mapping of keys to values is needed")
    return Settings(values, _notes(root, text.splitlines(), source))


def _notes(node: yaml.MappingNode, lines: list[str], source: str, prefix: str = "") -> dict[str, Note]:
    notes: dict[str, Note] = {}
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        notes[key] = Note(_comment(key_node, value_node, lines), source)
        if isinstance(value_node, yaml.MappingNode) and not value_node.flow_style:
            notes |= _notes(value_node, lines, source, prefix=f"{key}.")
    return notes


def _comment(key_node: yaml.Node, value_node: yaml.Node, lines: list[str]) -> str:
    """The comment on the line of a key, after its value when the value is on that line."""
    end = key_node.end_mark
    if value_node.end_mark.line == end.line and value_node.end_mark.column > end.column:
        end = value_node.end_mark
    _, _, comment = lines[end.line][end.column :].partition("#")
    return comment.strip()
