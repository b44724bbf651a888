"""What sharing one policy is worth: ipmd against mf_pmd_tabular on the same number of trajectories.

    python benchmarks/ipmd_against_mf_pmd.py [--seeds 5] [--first-seed 1] [--envs a_sis,a_rps,a_beach]
                                             [--literal] [--results results/ipmd] [with key=value ...]

Both run ``src/main.py`` with the same schedules, episodes and epochs, seed by seed. The table holds medians
over the seeds of the last test: mean-field exploitability of the agents' mean policy (of *the* policy, where
all agents share it), with its smallest and largest; that of the population-average policy that was seen to
play; the N-player exploitabilities; agent-steps of training a second; and the largest resident memory of the
command. Then the ratio of the first. ``--literal`` takes the schedules and the average that the paper prints.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

MAIN = Path(__file__).resolve().parents[1] / "src" / "main.py"
ALGORITHMS = ("mf_pmd_tabular", "ipmd")
LITERAL = ("c_xi=1.0", "c_mix=1.0", "mix_offset=1.0", "output_policy=average")
PLAYED = "test_mean_field_exploitability"
N_PLAYER = ("test_exploitability_mean", "test_exploitability_max")
RATE = "agent_steps_per_second"
AT_LEAST = 2.0  # the ratio that the project promises
HEAD = (
    "game",
    "algorithm",
    "mean field",
    "smallest",
    "largest",
    "as played",
    "N-player mean",
    "N-player max",
    "agent-steps/s",
    "peak MB",
)


class Outcome(NamedTuple):
    """Attributes:
    metrics: the series of metrics.json by name.
    megabytes: largest resident set of the command.
    """

    metrics: dict[str, list[float]]
    megabytes: float


def train(alg: str, env: str, seed: int, results: Path, words: list[str]) -> Outcome:
    """Run the command once."""
    folder = results / f"{alg}-{env}-{seed}-{time.time_ns()}"
    settings = [f"seed={seed}", "use_cuda=False", f"local_results_path={folder}", *words]
    command = [sys.executable, str(MAIN), f"--config={alg}", f"--env-config={env}", "with", *settings]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    file = next(folder.glob("sacred/*/*/1/metrics.json"))
    metrics = json.loads(file.read_text(encoding="utf-8"))
    return Outcome({key: series["values"] for key, series in metrics.items()}, usage.ru_maxrss / 1024)


def cells(outcomes: list[Outcome], scored: str) -> list[str]:
    """The numbers of a row, of the outcomes of all seeds."""

    def median(key: str) -> float:
        return statistics.median(outcome.metrics[key][-1] for outcome in outcomes)

    finals = [outcome.metrics[scored][-1] for outcome in outcomes]
    rate = statistics.median(statistics.median(outcome.metrics[RATE]) for outcome in outcomes)
    values = [statistics.median(finals), min(finals), max(finals), *map(median, (PLAYED, *N_PLAYER))]
    memory = max(outcome.megabytes for outcome in outcomes)
    return [*(f"{value:.3f}" for value in values), f"{rate / 1e6:.2f} M", f"{memory:.0f}"]


def main() -> None:
    """Run the grid and print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--envs", default="a_sis,a_rps,a_beach")
    parser.add_argument("--literal", action="store_true", help="the paper's schedules and its average")
    parser.add_argument("--results", type=Path, default=Path("results/ipmd"))
    parser.add_argument("words", nargs="*", metavar="with key=value")
    options = parser.parse_args()
    words = [*(LITERAL if options.literal else ()), *(word for word in options.words if word != "with")]
    scored = f"{PLAYED}_{'average' if options.literal else 'tail'}"
    print(f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), sep="\n")
    ratios = {}
    for env in options.envs.split(","):
        medians = {}
        for alg in ALGORITHMS:
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            outcomes = [train(alg, env, seed, options.results, words) for seed in seeds]
            medians[alg] = statistics.median(outcome.metrics[scored][-1] for outcome in outcomes)
            print(f"| {env} | {alg} | {' | '.join(cells(outcomes, scored))} |", flush=True)
        ratios[env] = medians["ipmd"] / medians["mf_pmd_tabular"]
    print("\n| game | ipmd over mf_pmd_tabular, medians | at least 2 |", "|---|---|---|", sep="\n")
    for env, ratio in ratios.items():
        print(f"| {env} | {ratio:.1f} | {'yes' if ratio >= AT_LEAST else 'no'} |")


if __name__ == "__main__":
    main()
