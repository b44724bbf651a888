"""Learning from trajectories against online mirror descent that is told the model, on MFGLib's games.

    python benchmarks/mfglib_games.py [--games beach_bar,...] [--iterations 100] [--seeds 3] [--first-seed 1]
                                      [--agents 10000] [--algorithm mf_pmd_tabular] [--results results/mfglib]
                                      [with key=value ...]

``mf_pmd_tabular``, or ``--algorithm mf_pmd``, plays ``src/main.py --env-config=mfglib``, N agents in 10
episodes an iteration, with the defaults of its yaml; its policies are read back by ``mf_pmd.load`` and scored
by MFGLib's own ``exploitability_score``, in MFGLib's reward units. MFGLib's ``OnlineMirrorDescent`` makes as
many iterations with each step of {1, .1} and the better one counts. A game is passed when, in the worst of
the seeds, the policy that the run returns (``tail``) is at most 1.5 times OMD's, or at most 2 % of the
uniform policy's (5 % on building_evacuation). ``--games all`` takes all ten.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from mfglib.alg import OnlineMirrorDescent
from mfglib.scoring import exploitability_score
from tables import markdown
from torch import Tensor

import mf_pmd
from mf_pmd.games import MFGLIB
from mf_pmd.games.mfglib_game import make_environment

MAIN = Path(__file__).resolve().parents[1] / "src" / "main.py"
GAMES = ("beach_bar", "left_right", "rock_paper_scissors", "susceptible_infected", "building_evacuation")
ALGORITHMS = ("mf_pmd_tabular", "mf_pmd")
EPISODES = 10  # an iteration
STEPS = (1.0, 0.1)  # of OMD
TIMES_OMD = 1.5
OF_UNIFORM = 0.02
OF_UNIFORM_WIDE = {"building_evacuation": 0.05}
HEAD = (
    "game",
    "uniform",
    "OMD 1",
    "OMD .1",
    "tail",
    "last",
    "average",
    "at most",
    "passed",
    "OMD s",
    "command s",
)


class Learnt(NamedTuple):
    """Attributes:
    scores: exploitability of ``tail``, ``last`` and ``average``, MFGLib's reward units.
    seconds: of the whole command.
    """

    scores: dict[str, float]
    seconds: float


def learn(key: str, seed: int, options: argparse.Namespace) -> Learnt:
    """Run the command once and score what it learnt."""
    environment = make_environment(key, {})
    t_max = options.iterations * EPISODES * (environment.T + 1)
    folder = Path(options.results) / f"{key}-{seed}-{time.time_ns()}"
    words = [
        f"env_args.key={key}",
        f"env_args.n_agents={options.agents}",
        f"t_max={t_max}",
        f"test_interval={t_max + 1}",
        f"save_model_interval={t_max + 1}",
        f"log_interval={t_max}",
        "test_nepisode=10",
        "population.played=never",
        "use_cuda=False",
        f"seed={seed}",
        f"local_results_path={folder}",
        *options.words,
    ]
    algorithm = options.algorithm
    command = [sys.executable, str(MAIN), f"--config={algorithm}", "--env-config=mfglib", "with", *words]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    (run,) = (folder / "sacred" / algorithm / key).glob("[0-9]*")
    policies = mf_pmd.load(run).policies
    shape = (environment.T + 1, *environment.S, *environment.A)
    scores = {}
    for name, policy in policies.items():
        assert policy.table is not None
        scores[name] = exploitability_score(environment, policy.table.reshape(shape))
    return Learnt(scores, seconds)


def uniform(key: str) -> Tensor:
    """[T + 1, S..., A...]."""
    environment = make_environment(key, {})
    shape = (environment.T + 1, *environment.S, *environment.A)
    return torch.full(shape, 1 / environment.n_actions)


def descend(key: str, step: float, iterations: int) -> tuple[float, float]:
    """Exploitability of OMD's last policy, and the seconds that it took."""
    environment = make_environment(key, {})
    solver = OnlineMirrorDescent(step)
    state = solver.init_state(environment, uniform(key))
    start = time.perf_counter()
    for _ in range(iterations):
        state = solver.step_next_state(state, None, None)
    seconds = time.perf_counter() - start
    return exploitability_score(environment, state.pi), seconds


def row(key: str, options: argparse.Namespace) -> tuple[tuple[str, ...], bool]:
    """A line of the table, worst of the seeds, and whether the game is passed."""
    start = exploitability_score(make_environment(key, {}), uniform(key))
    oracle = {step: descend(key, step, options.iterations) for step in STEPS}
    best = min(score for score, _ in oracle.values())
    most = max(TIMES_OMD * best, OF_UNIFORM_WIDE.get(key, OF_UNIFORM) * start)
    learnt = [learn(key, options.first_seed + k, options) for k in range(options.seeds)]
    for k, one in enumerate(learnt):
        told = ", ".join(f"{name} {score:.5f}" for name, score in one.scores.items())
        print(
            f"{key} seed {options.first_seed + k}: {told}, {one.seconds:.0f} s", file=sys.stderr, flush=True
        )
    worst = {name: max(one.scores[name] for one in learnt) for name in ("tail", "last", "average")}
    passed = worst["tail"] <= most
    numbers = [start, *(oracle[step][0] for step in STEPS), *worst.values(), most]
    seconds = sum(spent for _, spent in oracle.values()) / len(oracle)
    slowest = max(one.seconds for one in learnt)
    cells = [f"{number:.4f}" for number in numbers]
    return (key, *cells, "yes" if passed else "no", f"{seconds:.1f}", f"{slowest:.0f}"), passed


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line; those after ``with`` go to the command."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--games", default=",".join(GAMES))
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default=ALGORITHMS[0])
    parser.add_argument("--results", default="results/mfglib")
    parser.add_argument("words", nargs="*")
    given = sys.argv[1:] if argv is None else argv
    options = parser.parse_args([word for word in given if word != "with"])
    options.games = list(MFGLIB) if options.games == "all" else options.games.split(",")
    return options


def main() -> int:
    """Print the table; 1 if a game is not passed."""
    options = parse()
    torch.set_num_threads(1)
    rows = [row(key, options) for key in options.games]
    told = f"N = {options.agents}, {options.iterations} iterations, worst of {options.seeds} seeds"
    print(f"{options.algorithm}, {told}\n")
    print(markdown(HEAD, [cells for cells, _ in rows]))
    return 0 if all(passed for _, passed in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
