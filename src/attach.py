"""``mf-pmd attach`` and ``mf-pmd detach``: one file in an EPyMARL checkout, and none.

The checkout's ``src/utils`` is a namespace package, and ``utils.logging`` is the first thing of its
own that its ``main.py`` imports. One new file, ``src/utils/__init__.py``, therefore runs before
everything else, with no line of the checkout edited.
"""

import ast
import contextlib
import hashlib
import re
from pathlib import Path

from . import checkout
from .errors import UserError

ATTACHED_FILE = "utils/__init__.py"

_MARKER = re.compile(r"\A# mf-pmd attached this file; sha256 of the rest: ([0-9a-f]{64})\n")

_BODY = '''\
"""Adds mf-pmd to this EPyMARL checkout.

`mf-pmd attach` wrote this file and `mf-pmd detach` removes it; no other file of the checkout is ours.
"""

import os

try:
    from mf_pmd import checkout, errors
except ModuleNotFoundError as error:
    if error.name != "mf_pmd":
        raise
    raise SystemExit(
        "mf-pmd is attached to this EPyMARL checkout, but the Python that runs it cannot import mf_pmd:"
        f" install mf-pmd for this Python, or delete {os.path.abspath(__file__)}"
    ) from None

try:
    checkout.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
except errors.UserError as error:
    raise SystemExit(f"mf-pmd: {error}") from error
'''


def attach(path: str | Path) -> str:
    """Attach the plugin to the EPyMARL checkout at ``path``; returns what was done and how to go on.

    Attaching twice is attaching once; a file that another version left is brought up to date.

    Errors: `UserError` where ``path`` is no checkout, has a ``src/utils/__init__.py`` that is not
    ours, has names of ours, or cannot be written.
    """
    source = checkout.source_folder(path)
    file = source / ATTACHED_FILE
    was_attached = is_attached(source)
    if file.is_symlink() or (file.exists() and not was_attached):
        raise UserError(
            f"{file} exists and is not ours: move it away, or leave the checkout as it is and use"
            f" `mf-pmd train --host {source.parent} ...`"
        )
    if was_attached:
        _require_unedited(file)
    _require_free_names(source)
    _require_utils_first(source)
    if was_attached and _read(file) == _attached_text():
        return f"{source.parent} is attached already ({file}); nothing was changed."
    _write(file, _attached_text())
    return (
        f"Attached: {file} is new, and no other file was touched. Now, with this Python,"
        f" `python src/main.py --config=mf_pmd --env-config=a_sis with use_cuda=False` in {source.parent}"
        f" runs ours, and its own algorithms play our games. Undo: `mf-pmd detach {source.parent}`."
    )


def detach(path: str | Path) -> str:
    """Remove what `attach` left in the EPyMARL checkout at ``path``; returns what was done.

    Goes with the file: its byte code, and the ``__pycache__`` folder if nothing else is in it.
    Results of runs stay.

    Errors: `UserError` where ``path`` is no checkout, where its ``src/utils/__init__.py`` is not
    ours or was edited since, or where it cannot be removed.
    """
    source = checkout.source_folder(path)
    file = source / ATTACHED_FILE
    if not is_attached(source):
        if file.exists() or file.is_symlink():
            raise UserError(f"{file} is not ours, so it stays: remove it by hand if it should go")
        return f"{source.parent} is not attached; nothing was changed."
    _require_unedited(file)
    _remove(file)
    return f"Detached: {file} is gone, and nothing of ours is left in {source.parent}."


def is_attached(source: Path) -> bool:
    """Whether the checkout with this ``src`` folder holds a file of ours, edited since or not."""
    file = source / ATTACHED_FILE
    return file.is_file() and not file.is_symlink() and _MARKER.match(_read(file)) is not None


def _attached_text() -> str:
    return f"# mf-pmd attached this file; sha256 of the rest: {_digest(_BODY)}\n{_BODY}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _require_unedited(file: Path) -> None:
    text = _read(file)
    marker = _MARKER.match(text)
    if marker is None or marker.group(1) != _digest(text[marker.end() :]):
        raise UserError(f"{file} was edited since it was attached, so it stays: save your lines, delete it")


def _require_free_names(source: Path) -> None:
    taken = checkout.taken_names(source)
    if taken:
        raise UserError(
            f"{source.parent} has {taken[0]} already, a name of ours: rename it, or attach a clean clone"
        )


def _require_utils_first(source: Path) -> None:
    """Refuse a ``main.py`` that imports its ``run`` before anything of ``utils``: we would be too late."""
    tree = ast.parse(_read(source / "main.py"))
    imports = sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)),
        key=lambda node: node.lineno,
    )
    for node in imports:
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        roots = [name.partition(".")[0] for name in names]
        local = [root for root in roots if root in checkout.TOP_LEVEL_NAMES]
        if local:
            if local[0] == "utils":
                return
            break
    raise UserError(
        f"{source / 'main.py'} does not import utils before the rest, so a file there runs too late: use"
        f" `mf-pmd train --host {source.parent} ...`"
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}): mend it, or use another clone") from error


def _write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise UserError(f"{file} cannot be written ({error.strerror}): mind the folder's rights") from error


def _remove(file: Path) -> None:
    cache = file.parent / "__pycache__"
    try:
        file.unlink()
        for compiled in cache.glob(f"{file.stem}.*.pyc"):
            compiled.unlink()
        if cache.is_dir() and not any(cache.iterdir()):
            cache.rmdir()
    except OSError as error:
        raise UserError(f"{file} cannot be removed ({error.strerror}): mind the folder's rights") from error
