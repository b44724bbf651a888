"""Our baselines against EPyMARL's own, on one game: the same settings, the same seeds, the same scores.

EPYMARL_HOME=/path/to/epymarl python benchmarks/baselines_against_epymarl.py --algs ia2c maa2c mappo

Both hosts are played by the population runner, which scores them alike, and both are given every setting that
their yaml files hold apart (``ALGORITHMS``). EPyMARL's critics are always shown the agent's index, so that
actor-critics are compared with it (``index``: networks of the same inputs and shapes) and, if asked, without
(``no index``: ours has none anywhere, theirs in the critic). The checkout is copied, run by run, and left as
it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tables import markdown

OURS, THEIRS = "mf-pmd", "EPyMARL"
INDEX = {"no index": ("obs_agent_id=False",), "index": ("obs_agent_id=True",)}
METRICS = ("test_return_mean", "test_mean_field_exploitability")
LEVEL = 0.05
MF_PMD = "import sys; from mf_pmd.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Algorithm:
    """What makes the two hosts play one algorithm in one way.

    Attributes:
        shared: ``key=value`` words for both: whatever their yaml files give differently.
        ours: words for ours alone, keys that EPyMARL does not have.
        theirs: words for theirs alone.
        default_variants: of INDEX, those compared unless others are asked for.
    """

    shared: tuple[str, ...]
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    default_variants: tuple[str, ...] = ("index",)


ON_POLICY = (
    "batch_size_run=10",
    "batch_size=10",
    "buffer_size=10",
    "use_rnn=False",
    "hidden_dim=64",
    "obs_individual_obs=False",
    "entropy_coef=0.001",
    "q_nstep=5",
    "standardise_rewards=True",
    "target_update_interval_or_tau=0.01",
)
OFF_POLICY = (
    "batch_size_run=1",
    "batch_size=32",
    "buffer_size=500",
    "use_rnn=False",
    "hidden_dim=64",
    "lr=0.003",
    "standardise_rewards=False",
    "target_update_interval_or_tau=0.1",
    "epsilon_anneal_time=4000",
)
TEAM = ("common_reward=True", "reward_scalarisation=sum")
QMIX = ("mixing_embed_dim=32", "hypernet_layers=2", "hypernet_embed=64")
ALGORITHMS = {
    "ippo": Algorithm((*ON_POLICY, "lr=0.001"), ("use_gae=False",), default_variants=("no index", "index")),
    "mappo": Algorithm((*ON_POLICY, "lr=0.001"), ("use_gae=False",)),
    "ia2c": Algorithm((*ON_POLICY, "lr=0.003"), ("use_gae=False",)),
    "maa2c": Algorithm((*ON_POLICY, "lr=0.003"), ("use_gae=False",)),
    "iql": Algorithm(OFF_POLICY, ("epochs=1",), default_variants=("no index",)),
    "vdn": Algorithm((*OFF_POLICY, *TEAM), ("epochs=1",), default_variants=("no index",)),
    "qmix": Algorithm((*OFF_POLICY, *TEAM, *QMIX), ("epochs=1",), default_variants=("no index",)),
}


@dataclass(frozen=True)
class Experiment:
    """One training run.

    Attributes:
        host: OURS or THEIRS.
        alg: a key of ALGORITHMS.
        variant: a key of INDEX.
        seed: of everything.
    """

    host: str
    alg: str
    variant: str
    seed: int


@dataclass(frozen=True)
class Curve:
    """A metric along a run.

    Attributes:
        steps: environment steps at each test.
        values: reward units summed over the horizon.
    """

    steps: list[int]
    values: list[float]

    def at_the_end(self) -> float:
        """Mean over the last quarter of the tests: one test of a policy that still moves is noisy."""
        last = max(1, len(self.values) // 4)
        return statistics.fmean(self.values[-last:])

    def near(self, step: int) -> float:
        """The value of the test nearest to ``step``."""
        nearest = min(range(len(self.steps)), key=lambda index: abs(self.steps[index] - step))
        return self.values[nearest]


Curves = dict[str, Curve]
"""Metric -> curve."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything, write the curves, print the tables; 1 if the hosts differ beyond their seeds."""
    options = parse(argv)
    home = os.environ.get("EPYMARL_HOME")
    if not home or not (Path(home) / "src" / "main.py").is_file():
        print("not measured: EPYMARL_HOME names no checkout of EPyMARL", file=sys.stderr)
        return 2
    experiments = [
        Experiment(host, alg, variant, seed)
        for seed in options.seeds
        for alg, variant in pairs(options)
        for host in (OURS, THEIRS)
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        curves = dict(
            zip(experiments, pool.map(lambda e: play(e, options, Path(home)), experiments), strict=True)
        )
    write(options.json, options, curves)
    agree = report(options, curves)
    return 0 if agree else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--algs", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--variants", nargs="+", choices=INDEX, help="default: those of each algorithm")
    parser.add_argument("--env", default="a_sis", help="a game of ours")
    parser.add_argument("--agents", type=int, default=50, help="N")
    parser.add_argument("--t-max", type=int, default=40_000, help="environment steps of a run")
    parser.add_argument("--test-interval", type=int, default=2_000, help="environment steps between tests")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, a thread each")
    parser.add_argument("--json", type=Path, default=Path("results/bench/baselines_against_epymarl.json"))
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="key=value", help="for both, over those of ALGORITHMS"
    )
    return parser.parse_args(argv)


def pairs(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The algorithms and the variants of each that are compared."""
    return [
        (alg, variant)
        for alg in options.algs
        for variant in options.variants or ALGORITHMS[alg].default_variants
    ]


def play(experiment: Experiment, options: argparse.Namespace, home: Path) -> Curves:
    """One run in a process of its own; raises RuntimeError with the end of its output if it fails."""
    with tempfile.TemporaryDirectory(prefix="baselines-") as folder:
        if experiment.host == THEIRS:
            # its sacred folder lies in the checkout, whatever local_results_path says
            shutil.copytree(home / "src", Path(folder) / "src")
        result = subprocess.run(
            command(experiment, options, Path(folder)),
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(f"{experiment} failed:\n{(result.stdout + result.stderr)[-3000:]}")
        (file,) = Path(folder).rglob("metrics.json")
        metrics = json.loads(file.read_text(encoding="utf-8"))
    print(f"done: {experiment}", file=sys.stderr, flush=True)
    return {name: Curve(metrics[name]["steps"], metrics[name]["values"]) for name in METRICS}


def command(experiment: Experiment, options: argparse.Namespace, folder: Path) -> list[str]:
    """The command line of a run."""
    algorithm = ALGORITHMS[experiment.alg]
    words = [
        "runner=population",
        f"env_args.n_agents={options.agents}",
        *INDEX[experiment.variant],
        *algorithm.shared,
        *(algorithm.ours if experiment.host == OURS else algorithm.theirs),
        *options.settings,
        f"t_max={options.t_max}",
        f"test_interval={options.test_interval}",
        "test_nepisode=50",
        "use_cuda=False",
        "save_model=False",
        f"seed={experiment.seed}",
        "local_results_path=results",
    ]
    host = [f"--host={folder}"] if experiment.host == THEIRS else []
    verb = [sys.executable, "-c", MF_PMD, "train", *host]
    return [*verb, f"--config={experiment.alg}", f"--env-config={options.env}", "with", *words]


def write(path: Path, options: argparse.Namespace, curves: dict[Experiment, Curves]) -> None:
    """Settings and every curve, as json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) if key == "json" else value for key, value in vars(options).items()}
    runs = [
        vars(experiment) | {name: vars(curve) for name, curve in found.items()}
        for experiment, found in curves.items()
    ]
    path.write_text(json.dumps({"settings": settings, "runs": runs}, indent=1) + "\n", encoding="utf-8")


def report(options: argparse.Namespace, curves: dict[Experiment, Curves]) -> bool:
    """Print the comparison and the curves; whether every row is within the spread of the seeds."""
    n_seeds = len(options.seeds)
    print(
        f"{options.env}, N = {options.agents}, {options.t_max} environment steps, seeds "
        f"{' '.join(map(str, options.seeds))}. End: mean over the last quarter of the tests; median [min, "
        f"max] of {n_seeds} seeds. Within the spread: the two ranges overlap and the exact two-sided "
        f"Mann-Whitney p is at least {LEVEL}.\n"
    )
    rows, agree = [], True
    for alg, variant in pairs(options):
        for metric in METRICS:
            ours, theirs = (
                [curves[Experiment(host, alg, variant, seed)][metric].at_the_end() for seed in options.seeds]
                for host in (OURS, THEIRS)
            )
            p = mann_whitney(ours, theirs)
            within = overlap(ours, theirs) and p >= LEVEL
            agree = agree and within
            verdict = "yes" if within else "NO"
            rows.append([alg, variant, metric, spread(ours), spread(theirs), f"{p:.2f}", verdict])
    print(markdown(["algorithm", "variant", "metric", OURS, THEIRS, "p", "within the spread"], rows))
    for alg, variant in pairs(options):
        print(f"\n{alg}, {variant}: the curves, median [min, max] of {n_seeds} seeds\n")
        print(curve_table(options, curves, alg, variant))
    return agree


def curve_table(options: argparse.Namespace, curves: dict[Experiment, Curves], alg: str, variant: str) -> str:
    """Both metrics of both hosts at ten points of training."""
    head = ["steps", *(f"{metric}, {host}" for metric in METRICS for host in (OURS, THEIRS))]
    rows = []
    for tenth in range(1, 11):
        step = options.t_max * tenth // 10
        cells = []
        for metric in METRICS:
            for host in (OURS, THEIRS):
                runs = [curves[Experiment(host, alg, variant, seed)] for seed in options.seeds]
                cells.append(spread([run[metric].near(step) for run in runs]))
        rows.append([str(step), *cells])
    return markdown(head, rows)


def spread(values: Sequence[float]) -> str:
    """``median [min, max]``."""
    return f"{statistics.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def overlap(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether the ranges of two samples meet."""
    return max(min(first), min(second)) <= min(max(first), max(second))


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """Exact two-sided p of the Mann-Whitney U test, by going through all splits of the pooled sample.

    U counts the pairs in which the first sample is larger, ties as halves; p is the share of the splits
    whose U is at least as far from its mean as the one seen. Meant for samples of about five.
    """
    pooled = [*first, *second]
    size = len(first)
    mean = size * len(second) / 2

    def distance(chosen: set[int]) -> float:
        others = [value for index, value in enumerate(pooled) if index not in chosen]
        wins = sum((pooled[i] > y) + 0.5 * (pooled[i] == y) for i in chosen for y in others)
        return abs(wins - mean)

    seen = distance(set(range(size)))
    splits = [distance(set(split)) for split in combinations(range(len(pooled)), size)]
    return sum(value >= seen - 1e-9 for value in splits) / len(splits)


if __name__ == "__main__":
    sys.exit(main())
