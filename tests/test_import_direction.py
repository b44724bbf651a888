"""Imports inside the package point one way, as docs/design.md has it."""

import ast
from pathlib import Path

import pytest

from mf_pmd import cli

SOURCE = Path(cli.__file__).parent
PARTS = {
    "functional": set(),
    "errors": set(),
    "games": {"functional"},
    "modules": {"functional"},
    "controllers": {"modules", "functional"},
    "learners": {"modules", "functional"},
    "envs": {"games", "functional"},
    "runners": {"games", "functional"},
    "evaluation": {"functional", "games", "modules", "controllers", "learners", "envs", "runners"},
    "register": {"envs", "modules", "controllers", "learners", "runners"},
    "words": {"host"},
    "host": set(),
    "stand_ins": set(),
    "config": set(),
}
PURE = {"torch", "math", "typing", "collections", "dataclasses", "functools", "itertools"}
FILES = sorted(SOURCE.rglob("*.py"))


def imports(path):
    """Every module that a file imports, absolute and dotted, wherever the statement stands."""
    package = ["mf_pmd", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            yield from (".".join([*filter(None, base), alias.name]) for alias in node.names)


def part_of(path):
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def ours(path):
    """The parts of the package that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.split(".")[0] == "mf_pmd"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    part, imported = part_of(path), ours(path)
    if part in PARTS:
        assert imported <= PARTS[part] | {part, "errors"}
    if part not in ("cli", "main"):
        assert "cli" not in imported
        assert part == "checkout" or "attach" not in imported or part == "launcher"
    if part in ("functional", "errors"):
        outside = {name.split(".")[0] for name in imports(path)} - {"mf_pmd"}
        assert outside <= PURE, outside
        if part == "functional":
            assert imported <= {"functional"}


def test_every_folder_has_its_place():
    known = {*PARTS, "__init__", "main", "cli", "attach", "checkout", "launcher"}
    assert {part_of(path) for path in FILES} <= known


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    folder = tmp_path / "games" / "deep"
    folder.mkdir(parents=True)
    file = folder / "x.py"
    file.write_text(
        "import torch.nn\nfrom .. import base\nfrom ...cli import main\n"
        "def f():\n    from ... import runners\n    from . import y\n    from mf_pmd.host.run import train\n"
    )
    assert sorted(imports(file)) == [
        "mf_pmd.cli.main",
        "mf_pmd.games.base",
        "mf_pmd.games.deep.y",
        "mf_pmd.host.run.train",
        "mf_pmd.runners",
        "torch.nn",
    ]
    assert ours(file) == {"cli", "games", "host", "runners"}
