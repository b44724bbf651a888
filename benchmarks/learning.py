"""How far from an equilibrium the learnt policy is: every row of the table in docs/mf_pmd.md.

    python benchmarks/learning.py [--seeds 5] [--first-seed 1] [--algs mf_pmd,mf_pmd_tabular]
                                  [--envs a_sis,a_rps,a_beach]
                                  [--policy tail] [--results results/learning] [with key=value ...]

Runs ``src/main.py`` with default settings for each algorithm, game and seed, reads metrics.json, and
prints the mean-field exploitability of the returned policy (``--policy`` names another of the three),
median and worst of the seeds, and the median of its N-player exploitability.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

MAIN = Path(__file__).resolve().parents[1] / "src" / "main.py"
MEAN_FIELD = "test_mean_field_exploitability"
N_PLAYER = ("test_exploitability_mean", "test_exploitability_max")
HEAD = (
    "algorithm",
    "game",
    "uniform",
    "median",
    "worst",
    "worst of the last quarter",
    "N-player mean",
    "N-player max",
    "median seconds",
)


def run(alg: str, env: str, seed: int, results: Path, words: list[str]) -> tuple[dict[str, list], float]:
    """Train once; returns the series of metrics.json and the seconds of the whole command."""
    folder = results / f"{alg}-{env}-{seed}-{time.time_ns()}"
    settings = [f"seed={seed}", "use_cuda=False", f"local_results_path={folder}", *words]
    command = [sys.executable, str(MAIN), f"--config={alg}", f"--env-config={env}", "with", *settings]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    file = next(folder.glob("sacred/*/*/1/metrics.json"))
    metrics = json.loads(file.read_text(encoding="utf-8"))
    return {key: series["values"] for key, series in metrics.items()}, seconds


def main() -> None:
    """Run the grid and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--algs", default="mf_pmd_tabular,mf_pmd")
    parser.add_argument("--envs", default="a_sis,a_rps,a_beach")
    parser.add_argument("--policy", default="tail", choices=("last", "average", "tail"))
    parser.add_argument("--results", type=Path, default=Path("results/learning"))
    parser.add_argument("words", nargs="*", metavar="with key=value")
    options = parser.parse_args()
    words = [word for word in options.words if word != "with"]
    print(f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), sep="\n")
    for alg in options.algs.split(","):
        for env in options.envs.split(","):
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            runs = [run(alg, env, seed, options.results, words) for seed in seeds]
            curves = [series[f"{MEAN_FIELD}_{options.policy}"] for series, _ in runs]
            last = [values[-1] for values in curves]
            late = max(max(values[-max(1, len(values) // 4) :]) for values in curves)
            cells = [curves[0][0], statistics.median(last), max(last), late]
            cells += [statistics.median(series[key][-1] for series, _ in runs) for key in N_PLAYER]
            row = " | ".join(f"{value:.3f}" for value in cells)
            seconds = statistics.median(seconds for _, seconds in runs)
            print(f"| {alg} | {env} | {row} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
