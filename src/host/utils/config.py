"""The configuration of a run: yaml files merged, and ``key=value`` words checked against them."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ...errors import UserError
from .values import parse_value
from .yaml_files import Note, Settings, read_settings

HOST_CONFIG = Path(__file__).resolve().parents[1] / "config"
KINDS = {"algs": "algorithm", "envs": "environment"}
OPTIONS = {"algs": "--config", "envs": "--env-config"}


def did_you_mean(name: str, known: Collection[str]) -> str:
    """``; did you mean X?`` for the nearest known name, or nothing; the last part of a dotted key counts."""
    candidates = {key.rpartition(".")[2]: key for key in known} | {key: key for key in known}
    leaf = name.rpartition(".")[2]
    near = [leaf] if leaf in candidates else difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return f"; did you mean {candidates[near[0]]}?" if near else ""


def catalogue(kind: str, roots: Sequence[Path]) -> dict[str, Path]:
    """Name -> yaml file of every algorithm (`kind` ``algs``) or environment (``envs``); earlier roots win."""
    found: dict[str, Path] = {}
    for root in roots:
        for path in sorted((root / kind).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def describe(path: Path) -> str:
    """The comment on the first line of a yaml file, if there is one."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def find_yaml(kind: str, name: str | None, roots: Sequence[Path]) -> Path:
    """The yaml file of an algorithm or environment given by name, or by a path with or without ``.yaml``.

    Raises:
        UserError: `name` is missing or unknown.
    """
    known = catalogue(kind, roots)
    if not name:
        raise UserError(f"{OPTIONS[kind]} is missing: choose an {KINDS[kind]} among {', '.join(known)}")
    if name in known:
        return known[name]
    for base in (*(root / kind for root in roots), Path.cwd()):
        for path in (base / name, base / f"{name}.yaml"):
            if path.suffix == ".yaml" and path.is_file():
                return path
    raise UserError(
        f"{OPTIONS[kind]}={name}: no such {KINDS[kind]}{did_you_mean(name, known)} "
        f"(known: {', '.join(known)}; a path to a yaml file works too)"
    )


def load_settings(alg: str | None, env: str | None, words: Sequence[str], roots: Sequence[Path]) -> Settings:
    """Merge ``default.yaml``, the environment's yaml, the algorithm's yaml and the words, later ones winning.

    Args:
        alg: name or path of the algorithm's yaml.
        env: name or path of the environment's yaml.
        words: ``key=value`` with dotted keys; the key must exist and the value be of its type.
        roots: config folders that hold ``algs`` and ``envs``.

    Raises:
        UserError: an unknown algorithm, environment, key or value.
    """
    alg_path, env_path = find_yaml("algs", alg, roots), find_yaml("envs", env, roots)
    return _merged((("envs", env_path), ("algs", alg_path)), words)


def load_environment(env: str | None, words: Sequence[str], roots: Sequence[Path]) -> dict[str, Any]:
    """The settings of an environment without an algorithm: ``default.yaml``, its yaml and the words.

    Raises:
        UserError: an unknown environment, key or value.
    """
    return _merged((("envs", find_yaml("envs", env, roots)),), words).values


def _merged(layers: Iterable[tuple[str, Path]], words: Sequence[str]) -> Settings:
    """``default.yaml``, the layers over it (folder and file), and the words over all."""
    settings = read_settings(HOST_CONFIG / "default.yaml", "default.yaml")
    for kind, path in layers:
        layer = read_settings(path, f"{kind}/{path.name}")
        _anchor(layer.values.get("env_args"), path)
        _merge(settings.values, layer.values)
        for key, note in layer.notes.items():
            settings.notes[key] = _keep_comment(note, settings.notes.get(key))
    defaults = copy.deepcopy(settings.values)
    for word in words:
        _apply_word(settings, word, defaults)
    return settings


def load_config(
    alg: str | None, env: str | None, words: Sequence[str], roots: Sequence[Path]
) -> dict[str, Any]:
    """The plain values of :func:`load_settings`."""
    return load_settings(alg, env, words, roots).values


def _apply_word(settings: Settings, word: str, defaults: dict[str, Any]) -> None:
    """Set one ``key=value`` in place, of the type that the yaml files give the key."""
    key, equals, text = word.partition("=")
    if not equals:
        raise UserError(f"{word}: a setting is written key=value")
    default = _resolve(defaults, key, word)
    note = settings.notes.get(key, Note("", ""))
    value = parse_value(key, text, default=default, comment=note.comment)
    if isinstance(value, dict):
        for name, entry in value.items():
            _apply_word(
                settings, f"{key}.{name}={entry if isinstance(entry, str) else _flow(entry)}", defaults
            )
        return
    path, _, leaf = key.rpartition(".")
    parent = _resolve(settings.values, path, word) if path else settings.values
    parent[leaf] = value
    settings.notes[key] = Note(note.comment, "with")


def render(settings: Settings) -> str:
    """The settings as yaml, each line with its comment and the file it comes from."""
    rows = list(_rows(settings, settings.values, prefix=""))
    width = min(max(len(row) for row, _ in rows), 48)
    return "\n".join(f"{row:<{width}}  {comment}".rstrip() for row, comment in rows)


def dotted_keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Every key of nested settings, ``env_args`` and ``env_args.key`` alike."""
    keys = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        if isinstance(value, dict):
            keys += dotted_keys(value, f"{prefix}{key}.")
    return keys


def _resolve(values: dict[str, Any], key: str, word: str) -> Any:
    """The value of a dotted key; `word` is what the message is about."""
    value: Any = values
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(
                f"{word}: no such setting{did_you_mean(key, dotted_keys(values))} "
                f"(`mf-pmd config ALG ENV` lists them)"
            )
        value = value[part]
    return value


def _merge(base: dict[str, Any], layer: dict[str, Any]) -> None:
    """Write `layer` over `base` in place, mapping by mapping."""
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = copy.deepcopy(value)


def _anchor(env_args: Any, yaml_file: Path) -> None:
    """Make the file of ``key: file.py:Class``, a game that lies beside its yaml, absolute in place.

    Results are then named after the yaml, unless it gives a ``map_name``.
    """
    key = env_args.get("key") if isinstance(env_args, dict) else None
    file, colon, name = str(key).rpartition(":")
    if colon and file.endswith(".py"):
        env_args["key"] = f"{(yaml_file.parent / file).resolve()}:{name}"
        env_args.setdefault("map_name", yaml_file.stem)


def _keep_comment(note: Note, previous: Note | None) -> Note:
    return note if note.comment or previous is None else Note(previous.comment, note.source)


def _rows(settings: Settings, values: dict[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    indent = "  " * prefix.count(".")
    for key, value in values.items():
        note = settings.notes.get(f"{prefix}{key}", Note("", ""))
        comment = f"# {note.comment}" + (f"  [{note.source}]" if note.source else "")
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:", comment
            yield from _rows(settings, value, prefix=f"{prefix}{key}.")
        else:
            yield f"{indent}{key}: {_flow(value)}", comment


def _flow(value: Any) -> str:
    """A value as yaml on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
