"""How long one waits: for ``mf-pmd --help``, and for the first episodes of a run.

Each repetition is a process of its own, from its start to its end; a first one, which warms the disk's cache,
does not count. A run ends once its runner has played the first batch of episodes, that of the test before any
training; figures and further epochs are not waited for.

python benchmarks/startup.py --json results/bench/startup.json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from run import FEWEST_REPEATS, describe, load, machine, row_as_json, table
from timing import Parts, Row, Target, alternate, column

ROOT = Path(__file__).resolve().parents[1]
HELP = [sys.executable, "-c", "from mf_pmd.cli import main; main(['--help'])"]
UNTIL_PLAYED = """
import os, runpy, sys
from mf_pmd.runners import PopulationRunner

play = PopulationRunner.run

def play_and_end(self, test_mode=False):
    play(self, test_mode=test_mode)
    os._exit(0)

PopulationRunner.run = play_and_end
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TARGETS = {"mf-pmd --help": Target(0.5, at_least=False), "first episodes": Target(5.0, at_least=False)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure in turn, print the table, write the json file."""
    options = parse(argv)
    described = machine()
    print(describe(described), end="\n\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run = [
            sys.executable,
            "-c",
            UNTIL_PLAYED,
            str(ROOT / "src" / "main.py"),
            f"--config={options.config}",
        ]
        run += [f"--env-config={options.env_config}", "with", "seed=1", "use_cuda=False", "progress=none"]
        run += [f"env_args.n_agents={options.agents}", f"local_results_path={folder}"]
        contestants = {"mf-pmd --help": lambda: timed(HELP), "first episodes": lambda: timed(run)}
        measured = alternate(contestants, options.repeats)
    described["load_after"] = load()
    rows = [row for name, parts in measured.items() for row in rows_of(name, parts, options)]
    print(table(rows))
    text = json.dumps({"machine": described, "rows": [row_as_json(row) for row in rows]}, indent=1)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--config", default="mf_pmd", help="of the run; default %(default)s")
    parser.add_argument("--env-config", default="a_sis", help="of the run; default %(default)s")
    parser.add_argument("--agents", type=int, default=1000, help="N of the run; default %(default)s")
    parser.add_argument("--repeats", type=int, default=FEWEST_REPEATS, help=f"at least {FEWEST_REPEATS}")
    parser.add_argument("--json", type=Path, default=Path("results/bench/startup.json"))
    options = parser.parse_args(argv)
    if options.repeats < FEWEST_REPEATS:
        parser.error(f"--repeats={options.repeats}: a median of fewer than {FEWEST_REPEATS} says little")
    return options


def timed(command: list[str]) -> Parts:
    """Run a process to its end: seconds on the clock, and of processor time (``resource``, Unix alone).

    Raises:
        RuntimeError: it failed; holds what it said.
    """
    before, start = processor_seconds(), time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    if ended.returncode != 0:
        raise RuntimeError(f"{command[-1]}: exit {ended.returncode}\n{ended.stderr}")
    return {"wall": wall, "processor": processor_seconds() - before}


def processor_seconds() -> float:
    """Of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows_of(name: str, parts: list[Parts], options: argparse.Namespace) -> list[Row]:
    """Time on the clock, which has the target, and processor time, which a busy machine changes less."""
    played = name == "first episodes"
    game, agents = (options.env_config, options.agents) if played else ("", 0)
    what = f"{options.config}, {name}" if played else name
    return [
        Row("startup", what, game, agents, 1, "s", column(parts, "wall"), target=TARGETS[name]),
        Row("startup", f"{what}, processor time", game, agents, 1, "s", column(parts, "processor")),
    ]


if __name__ == "__main__":
    sys.exit(main())
