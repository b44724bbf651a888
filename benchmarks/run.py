"""Times the pieces of mf-pmd and prints a table; `docs/benchmarks.md` says what each row is.

Everything, most of its time the ladder's networks of one's own: python benchmarks/run.py
One benchmark: python benchmarks/run.py --only learner
EPyMARL's own algorithms too: EPYMARL_HOME=/path/to/epymarl python benchmarks/run.py --only ippo epymarl
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from against_epymarl import AGAINST
from rows import BENCHMARKS as PIECES
from scale import SCALE
from tables import markdown
from timing import Row

import mf_pmd

BENCHMARKS = PIECES | SCALE | AGAINST
GAMES = ("a_sis", "a_rps", "a_beach")
UPSTREAM = ("ippo", "mappo", "iql")
FEWEST_REPEATS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the json file."""
    options = parse(argv)
    described = machine()
    print(describe(described), end="\n\n", flush=True)
    rows: list[Row] = []
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += BENCHMARKS[name](options)
    described["load_after"] = load()
    print(table(rows))
    write(options, described, rows)
    print(f"\nAlso in {options.json}.", file=sys.stderr)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        choices=BENCHMARKS,
        default=list(BENCHMARKS),
        metavar="NAME",
        help=", ".join(BENCHMARKS),
    )
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--threads", type=int, nargs="+", default=[1], help="of torch")
    add("--games", nargs="+", choices=GAMES, default=list(GAMES), metavar="GAME", help=", ".join(GAMES))
    add("--agents", type=int, default=1000, help="N of all but learner and ippo; targets are for 1000")
    add("--sizes", type=int, nargs="+", default=[100, 1000, 100_000], help="N of learner")
    add("--ippo-agents", type=int, nargs="+", default=[100, 1000], help="N of ippo")
    add_scale(parser)
    add("--epochs", type=int, default=5, help="epochs, rollouts or counts in a repetition")
    add("--repeats", type=int, default=FEWEST_REPEATS, help=f"at least {FEWEST_REPEATS}")
    add("--json", type=Path, help="default: a new file in results/bench")
    options = parser.parse_args(argv)
    if options.repeats < FEWEST_REPEATS:
        parser.error(f"--repeats={options.repeats}: a median of fewer than {FEWEST_REPEATS} says little")
    if options.json is None:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        options.json = Path("results/bench") / f"{now}.json"
    return options


def add_scale(parser: argparse.ArgumentParser) -> None:
    """The words of the benchmarks of scale."""
    add = partial(parser.add_argument, nargs="+", type=int)
    powers = [10**k for k in range(1, 7)]
    add("--scale-agents", default=powers, help="N of rollout_by_n and memory")
    add("--scale-threads", default=[1, 2], help="of torch, in rollout_by_n")
    add("--counted-agents", default=[10**k for k in (3, 6, 9, 12)], help="N of counts and memory")
    add("--learner-agents", default=[10**3, 10**6], help="N of learner_by_n")
    add("--upstream-agents", default=[10, 100, 1000], help="N of epymarl")
    add(
        "--upstream-algorithms",
        type=str,
        choices=UPSTREAM,
        default=["ippo"],
        help=f"of epymarl, among {', '.join(UPSTREAM)}",
    )


def machine() -> dict[str, object]:
    """What the numbers depend on besides the code."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "mf_pmd": mf_pmd.__version__,
        "load_before": load(),
    }


def cpu_model() -> str:
    """The processor's name, as Linux or else as python knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that wanted to run, a mean over the last minute; None where it is not known."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def describe(described: dict[str, object]) -> str:
    """One line about the machine."""
    gpu = described["gpu"] or "CPU"
    return (
        f"{described['cores']} cores ({described['cpu']}), {gpu}, torch {described['torch']}, "
        f"load {described['load_before']} at the start"
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line a row, medians with the smallest and the largest repetition."""
    head = ["benchmark", "what", "game", "N", "threads", "median", "min", "max", "target", "met"]
    return markdown(head, [cells(row) for row in rows])


def cells(row: Row) -> list[str]:
    """The cells of one line."""
    start = [row.section, row.what, row.game, str(row.agents), str(row.threads)]
    if row.missing:
        return [*start, f"not measured ({row.missing})", "", "", "", ""]
    numbers = [quantity(value, row.unit) for value in (row.median, min(row.values), max(row.values))]
    if row.target is None:
        return [*start, *numbers, "", ""]
    bound = "at least" if row.target.at_least else "at most"
    met = "yes" if row.target.met(row.median) else "NO"
    return [*start, *numbers, f"{bound} {quantity(row.target.limit, row.unit)}", met]


def quantity(value: float, unit: str) -> str:
    """A number with its unit, to three digits."""
    if unit == "ratio":
        return f"{value:.2f}"
    if unit == "s":
        return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{prefix} {unit}"
    return f"{value:.3g} {unit}"


def write(options: argparse.Namespace, described: dict[str, object], rows: Sequence[Row]) -> None:
    """Machine, settings and every repetition, as json."""
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    found = [row_as_json(row) for row in rows]
    text = json.dumps({"machine": described, "settings": settings, "rows": found}, indent=1)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n", encoding="utf-8")


def row_as_json(row: Row) -> dict[str, object]:
    """A row with its summary, its target as plain values."""
    plain = vars(row) | {"target": None if row.target is None else vars(row.target)}
    if row.missing:
        return plain
    values = row.values
    return plain | {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    sys.exit(main())
