"""A real EPyMARL checkout: how it is recognised, and how the plugin joins the process that runs it.

The file that ``mf-pmd attach`` leaves in a checkout and the launcher behind ``mf-pmd train --host``
both end in `join`: nothing of a checkout is edited or copied, and all that is known of one is here.
"""

import ast
import atexit
import importlib
import importlib.util
import logging
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .errors import UserError
from .register import HostAPI, register

CONFIG = Path(__file__).resolve().parent / "config"
STAND_INS = Path(__file__).resolve().parent / "stand_ins"

FOLDER_OF_OPTION = {"--config": "algs", "--env-config": "envs"}
"""The two options that name a yaml file, and the folder of ``config`` it lies in."""

REGISTRY_MODULES = {
    "learners": "learners",
    "controllers": "controllers",
    "agents": "modules.agents",
    "critics": "modules.critics",
    "runners": "runners",
    "envs": "envs",
}
"""The fields of `HostAPI` that are registries, and the checkout's module of each."""

TOP_LEVEL_NAMES = ("components", "controllers", "envs", "learners", "modules", "run", "runners", "utils")
"""The names that a checkout's modules go by once its ``src`` is on the path."""

REQUIRED_FILES = (
    "main.py",
    "run.py",
    "config/default.yaml",
    "components/episode_buffer.py",
    "utils/logging.py",
    *(f"{module.replace('.', '/')}/__init__.py" for module in REGISTRY_MODULES.values()),
)
"""What must lie under ``src`` for a folder to be taken for an EPyMARL checkout."""


def source_folder(path: str | Path) -> Path:
    """The absolute ``src`` folder of the EPyMARL checkout at ``path``.

    Errors: `UserError` where a file that every checkout has is missing.
    """
    root = Path(path).expanduser().resolve()
    missing = next((name for name in REQUIRED_FILES if not (root / "src" / name).is_file()), None)
    if missing is not None:
        raise UserError(
            f"{root} is not an EPyMARL checkout (it has no src/{missing}): give the folder of a clone of"
            " https://github.com/uoe-agents/epymarl, the one that holds src/"
        )
    return root / "src"


def our_config_names() -> dict[str, list[str]]:
    """The yaml files that the plugin brings: the names of ``algs`` and of ``envs``."""
    return {
        folder: sorted(file.stem for file in (CONFIG / folder).glob("*.yaml"))
        for folder in FOLDER_OF_OPTION.values()
    }


def our_registry_names() -> dict[str, set[str]]:
    """The names that `register` adds to each registry of a host, by the field of `HostAPI`."""
    registries: dict[str, Any] = {field: {} for field in REGISTRY_MODULES}
    host = HostAPI(**registries, EpisodeBatch=object)
    register(host)
    return {field: set(getattr(host, field)) for field in REGISTRY_MODULES}


def taken_names(source: Path) -> list[str]:
    """The names of ours that the checkout uses already, as read from its files; nothing is imported."""
    yaml_files = [
        f"src/config/{folder}/{name}.yaml"
        for folder, names in our_config_names().items()
        for name in names
        if (source / "config" / folder / f"{name}.yaml").exists()
    ]
    ours = our_registry_names()
    entries = []
    for field, module in REGISTRY_MODULES.items():
        file = source / module.replace(".", "/") / "__init__.py"
        theirs = literal_registry_names(file.read_text(encoding="utf-8"))
        entries += [f'{module}.REGISTRY["{name}"]' for name in sorted(ours[field] & theirs)]
    return yaml_files + entries


def literal_registry_names(code: str) -> set[str]:
    """The literal keys that a module puts into its ``REGISTRY``, one by one or as one dictionary."""
    keys: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Subscript) and _is_registry(target.value):
                keys.append(target.slice)
            elif _is_registry(target) and isinstance(node.value, ast.Dict):
                keys.extend(node.value.keys)
    return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def _is_registry(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "REGISTRY"


def with_our_configs(argv: list[str], source: Path) -> list[str]:
    """``argv`` with the names of our yaml files made absolute paths, the form that the checkout reads.

    A name that the checkout has itself, and a name that neither has, stay as they are. The checkout
    appends ``.yaml`` and reads the value up to the next ``=``.

    Errors: `UserError` where the plugin is installed under a folder with ``=`` in its name.
    """
    return [_with_our_config(word, source) for word in argv]


def _with_our_config(word: str, source: Path) -> str:
    option, _, name = word.partition("=")
    folder = FOLDER_OF_OPTION.get(option)
    if folder is None or name not in our_config_names()[folder]:
        return word
    if (source / "config" / folder / f"{name}.yaml").exists():
        return word
    ours = str(CONFIG / folder / name)
    if "=" in ours:
        raise UserError(f"{ours}.yaml: EPyMARL cannot read a path that holds '=': install mf-pmd elsewhere")
    return f"{option}={ours}"


def join(source: str | os.PathLike[str]) -> None:
    """Add the plugin to the checkout whose ``src`` folder this process runs from.

    To be called before the checkout's ``main.py`` imports its ``run``: fills the registries, and
    turns the names of our yaml files in ``sys.argv`` into paths.

    Errors: `UserError` where the checkout lacks one of its own requirements, or has names of ours.
    """
    folder = Path(source).resolve()
    # said of every write into an episode batch; whoever runs the checkout cannot mend it
    warnings.filterwarnings("ignore", message="Using a non-tuple sequence for multidimensional indexing")
    sys.argv[:] = with_our_configs(sys.argv, folder)
    stub_smaclite()
    host = host_api(folder)
    try:
        register(host)
    except ValueError as error:
        raise UserError(f"{folder}: {error}: rename theirs, or run a clean clone") from error


def stub_smaclite() -> None:
    """Let ``import smaclite`` succeed where it is not installed, so that ``envs`` can be imported.

    EPyMARL imports it whatever is played, and no package index has it.
    """
    if importlib.util.find_spec("smaclite") is None:
        sys.path.append(str(STAND_INS))


def host_api(source: Path) -> HostAPI:
    """The registries and the batch class of the checkout, whose ``src`` folder is on the path.

    Errors: `UserError` where a package that EPyMARL itself needs is missing, or where another
    package of this Python goes by the name of one of its modules.
    """
    registries = {field: _import(module, source).REGISTRY for field, module in REGISTRY_MODULES.items()}
    batch = _import("components.episode_buffer", source).EpisodeBatch
    return HostAPI(**registries, EpisodeBatch=batch, on_close=close, embedded=False)


def close(runner: Any) -> None:
    """What a run leaves behind when EPyMARL closes its runner."""
    keep_pictures(runner)
    if getattr(runner.logger, "use_wandb", False):
        tell_wandb(runner)


def tell_wandb(runner: Any) -> None:
    """Add to EPyMARL's W&B run what its logger has no means for: last pictures, bracket, summary.

    They go into the row that EPyMARL's logger sends when it finishes.
    """
    logger = runner.logger
    try:
        from .evaluation.live_pictures import pictures_of_test
        from .host.utils import wandb_sink
        from .host.utils.exploitability_summary import bracket_lines, summarise

        curves = {key: dict(series) for key, series in logger.stats.items() if "exploitability" in key}
        lines = bracket_lines(curves)
        row = wandb_sink.images(pictures_of_test(runner.artifacts()))
        row |= {wandb_sink.BRACKET: wandb_sink.line_chart(lines)} if lines else {}
        logger.wandb_current_data.update(row)
        logger.wandb.summary.update(summarise(curves))
    except Exception as error:  # the run is over and complete
        print(f"mf-pmd: W&B gets neither pictures nor summary ({error!r})", file=sys.stderr)


def keep_pictures(runner: Any) -> None:
    """Leave population.npz in sacred's folder of a finished run, and the pictures when the process ends.

    Only then has sacred written its last metrics. A run whose logger knows no sacred folder keeps none.
    """
    observers = getattr(getattr(runner.logger, "_run_obj", None), "observers", [])
    folder = next((observer.dir for observer in observers if getattr(observer, "dir", None)), None)
    arrays = runner.artifacts()
    if folder is None or not arrays:
        return
    np.savez_compressed(Path(folder) / "population.npz", **arrays)
    atexit.register(_draw, Path(folder))


def _draw(folder: Path) -> None:
    try:
        logging.getLogger("matplotlib").setLevel(logging.WARNING)  # EPyMARL logs everything from DEBUG on
        from .evaluation import figures

        figures.draw(folder)
    except Exception as error:  # the run is over and complete; its pictures must not fail it
        print(f"mf-pmd: the results are complete, their pictures are not ({error!r})", file=sys.stderr)


def _import(name: str, source: Path) -> ModuleType:
    try:
        with warnings.catch_warnings():
            # about environments that whoever plays ours has no use for
            warnings.filterwarnings("ignore", message="(PettingZoo|VMAS) is not installed")
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in TOP_LEVEL_NAMES:
            raise
        raise UserError(
            f"{source}: EPyMARL itself needs the package {error.name!r}, which {sys.executable} lacks:"
            f" install it (pip install {error.name})"
        ) from error
    file = module.__file__
    if file is None or not Path(file).resolve().is_relative_to(source):
        raise UserError(
            f"{source}: the name {name!r} belongs to {file} in this process: run the checkout's own main.py"
        )
    return module
