"""What the experiments on the theorems share: games by name, the command line, the modules one folder up."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what all benchmarks share: import this first

import torch
import yaml
from tables import markdown as markdown

from mf_pmd import games

ENVS = Path(games.__file__).parents[1] / "config" / "envs"
LEAST_SEEDS = 3  # a standard error of fewer says nothing


def env_args(key: str, **changes: Any) -> dict[str, Any]:
    """The ``env_args`` of a game's yaml, some of them changed."""
    settings = yaml.safe_load((ENVS / f"{key}.yaml").read_text(encoding="utf-8"))["env_args"]
    return {**settings, **changes}


def make_game(key: str, *, seed: int = 0, **changes: Any) -> games.PopulationGame:
    """A game with the defaults of its yaml, some of them changed."""
    return games.make(**env_args(key, **changes), seed=seed)


def options_of(doc: str | None, words: Sequence[str] | None, **sizes: tuple[Any, Any, str]) -> Any:
    """Parse a command line of ``--seeds``, ``--out``, ``--quick`` and the sizes.

    Args:
        doc: the script's docstring.
        words: of the command line; None for sys.argv.
        sizes: name -> (default, the same with ``--quick``, what it is); a tuple of values is given on
            the command line separated by commas, a truth value is a switch.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing"
    )
    parser.add_argument("--out", type=Path, default=Path("results/theory"), help="folder of the figures")
    for name, (full, _, what) in sizes.items():
        if isinstance(full, bool):
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", default=None, help=what)
            continue
        read = list_of(type(full[0])) if isinstance(full, tuple) else type(full)
        shown = ",".join(map(str, full)) if isinstance(full, tuple) else full
        parser.add_argument(f"--{name.replace('_', '-')}", type=read, help=f"{what}; default {shown}")
    options = parser.parse_args(words)
    for name, (full, quick, _) in sizes.items():
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    if getattr(options, "seeds", LEAST_SEEDS) < LEAST_SEEDS:
        parser.error(f"--seeds={options.seeds}: a standard error needs at least {LEAST_SEEDS}")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    return options


def list_of(kind: type) -> Any:
    """A parser of values separated by commas."""
    return lambda text: tuple(kind(part) for part in text.split(","))


def shown(value: float, error: float | None = None) -> str:
    """Three digits, with the standard error behind it where there is one; a dash for what is not known."""
    if value != value:
        return "-"
    return f"{value:.3g}" if error is None or error != error else f"{value:.3g} ± {error:.1g}"
