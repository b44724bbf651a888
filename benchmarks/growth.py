"""What costs what as N, S, A, H and the episodes of a batch grow, by agents and by counts.

One size at a time, on a ring of any size: the time of playing a batch of episodes, and of learning from it
(counting it into cells, and mf_pmd_tabular's update). `docs/scaling.md` shows and reads the picture.

All of it: python benchmarks/growth.py --figure docs/images/scaling.png
A part: python benchmarks/growth.py --only agents states
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rows import NO_CUDA, no_cuda
from run import FEWEST_REPEATS, describe, load, machine, quantity
from tables import markdown
from timing import Parts, alternate, column
from training import Training

GAME = str(Path(__file__).with_name("wide_ring.yaml"))
ALGORITHM = "mf_pmd_tabular"
BASE = {"agents": 10_000, "states": 10, "actions": 3, "horizon": 20, "episodes": 8}
SYMBOLS = {"agents": "N", "states": "S", "actions": "A", "horizon": "H", "episodes": "B"}
AXES: dict[str, tuple[int, ...]] = {
    "agents": (100, 1000, 10_000, 100_000, 1_000_000),
    "states": (3, 10, 30, 100, 300),
    "actions": (2, 4, 8, 16, 32),
    "horizon": (5, 20, 80),
    "episodes": (2, 8, 32),
}
KEYS = {"agents": "n_agents", "states": "n_sites", "actions": "n_moves", "horizon": "horizon"}
WAYS = {
    "agents followed": ("runner=population",),
    "counts": ("runner=counts",),
    "counts, nothing declared": ("runner=counts", "env_args.declared=False"),
}
LARGEST_UNDECLARED = (
    10**5
)  # S A S, of the tables that a game without declarations is asked for at S A populations


class Point(NamedTuple):
    """One size, the others as in BASE.

    Attributes:
        axis: which, a key of AXES.
        size: how large.
        way: a key of WAYS.
    """

    axis: str
    size: int
    way: str

    @property
    def sizes(self) -> dict[str, int]:
        """All of them."""
        return BASE | {self.axis: self.size}


class Cost(NamedTuple):
    """Seconds a batch, round by round; ``learning`` counts it into cells and updates the policy."""

    playing: list[float]
    learning: list[float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write, draw."""
    options = parse(argv)
    described = machine()
    print(describe(described), end="\n\n", flush=True)
    costs: dict[Point, Cost] = {}
    for axis in options.only:
        print(f"{axis} ...", file=sys.stderr, flush=True)
        costs |= measure(axis, options)
    described["load_after"] = load()
    print(table(costs))
    write(options.json, described, costs)
    if options.figure:
        from growth_figure import draw

        draw(costs, options.figure)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--only", nargs="+", choices=AXES, default=list(AXES), metavar="SIZE", help=", ".join(AXES))
    add("--most", type=int, help="leave out larger sizes")
    add("--threads", type=int, default=1, help="of torch")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--repeats", type=int, default=FEWEST_REPEATS, help=f"at least {FEWEST_REPEATS}")
    add("--json", type=Path, default=Path("results/bench/growth.json"))
    add("--figure", type=Path, help="where to draw; nowhere by default")
    options = parser.parse_args(argv)
    if options.repeats < FEWEST_REPEATS:
        parser.error(f"--repeats={options.repeats}: a median of fewer than {FEWEST_REPEATS} says little")
    if no_cuda(options):
        parser.error(f"--device=cuda: {NO_CUDA}, nothing is measured")
    return options


def points(axis: str, most: int | None) -> Iterator[Point]:
    """Those along one axis; of the way without declarations, those whose tables are no larger than named."""
    for size in AXES[axis]:
        for way in WAYS:
            point = Point(axis, size, way)
            states, actions = point.sizes["states"], point.sizes["actions"]
            declared = "declared" not in way or (states * actions) ** 2 * states <= LARGEST_UNDECLARED
            if declared and (most is None or size <= most):
                yield point


def measure(axis: str, options: argparse.Namespace) -> dict[Point, Cost]:
    """All points of an axis in turn, round by round."""
    contestants: dict[str, Callable[[], Parts]] = {}
    named = {str(point): point for point in points(axis, options.most)}
    for name, point in named.items():
        contestants[name] = partial(epoch, training_of(point, options))
    measured = alternate(contestants, options.repeats)
    return {
        point: Cost(column(measured[name], "playing"), column(measured[name], "learning"))
        for name, point in named.items()
    }


def training_of(point: Point, options: argparse.Namespace) -> Training:
    """The ring of these sizes, played this way."""
    sizes = point.sizes
    words = [f"env_args.{key}={sizes[axis]}" for axis, key in KEYS.items() if axis != "agents"]
    words += [f"{key}={sizes['episodes']}" for key in ("batch_size_run", "batch_size", "buffer_size")]
    return Training(
        ALGORITHM,
        GAME,
        agents=sizes["agents"],
        threads=options.threads,
        device=options.device,
        words=(*words, *WAYS[point.way]),
    )


def epoch(training: Training) -> Parts:
    """Play a batch and learn from it: seconds of both."""
    parts = training.epoch_apart()
    return {"playing": parts["rollout"], "learning": parts["counting"] + parts["update"]}


def table(costs: Mapping[Point, Cost]) -> str:
    """Markdown: a line a point, medians; and how time grew from the size before, as a power of the size."""
    head = ["size", "way", "playing", "power", "learning", "power"]
    rows = []
    for point, cost in costs.items():
        before = smaller(point, costs)
        line = [f"{SYMBOLS[point.axis]} = {point.size}", point.way]
        for part in ("playing", "learning"):
            seconds = statistics.median(getattr(cost, part))
            power = ""
            if before is not None:
                grown = seconds / statistics.median(getattr(costs[before], part))
                power = f"{math.log(grown) / math.log(point.size / before.size):.2f}"
            line += [quantity(seconds, "s"), power]
        rows.append(line)
    return markdown(head, rows)


def smaller(point: Point, costs: Mapping[Point, Cost]) -> Point | None:
    """The next smaller one measured on the same axis in the same way."""
    alike = [it for it in costs if (it.axis, it.way) == (point.axis, point.way) and it.size < point.size]
    return max(alike, key=lambda it: it.size, default=None)


def write(file: Path, described: dict[str, object], costs: Mapping[Point, Cost]) -> None:
    """Machine, sizes and every repetition, as json."""
    rows = [point._asdict() | cost._asdict() for point, cost in costs.items()]
    text = json.dumps({"machine": described, "base": BASE, "rows": rows}, indent=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")


def read(file: Path) -> dict[Point, Cost]:
    """What ``write`` wrote."""
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return {
        Point(*(row[key] for key in Point._fields)): Cost(*(row[key] for key in Cost._fields)) for row in rows
    }


if __name__ == "__main__":
    sys.exit(main())
