"""Learning from counts of agents against solvers that are told the model, in time to an exploitability.

    python benchmarks/solvers.py [--games susceptible_infected,...] [--repeats 5] [--share 0.05] [--json FILE]
    python benchmarks/solvers.py --games left_right,...   # any other of MFGLib's, on which nothing was chosen
    python benchmarks/solvers.py --quick          # small games, few iterations; says nothing of speed

On MFGLib's games: MFGLib's ``OnlineMirrorDescent`` at its default step and at the best of a grid, against
``mf_pmd_tabular`` and ``mf_pmd`` under ``runner=counts``. On OpenSpiel's crowd modelling: its
``MirrorDescent`` at the best of a grid and its ``FictitiousPlay`` against the same two; left out, with the
reason, where OpenSpiel is not installed.

A contestant has arrived at its first iterate whose mean-field exploitability is at most the share of the
uniform policy's. Both sides are scored by one exact function: MFGLib's own on its games, ours on
OpenSpiel's, which its ``NashConv`` is held against. The clock runs while a contestant solves, or plays and
learns; scoring, and what is made before the first iterate, are left out on all sides. ``--clock cpu`` takes
the processor's time of the one thread instead of the wall's, for a machine that does other work. Contestants
take turns, after one round that does not count; a ratio is of the same round; every round has another seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mfglib.alg
import torch
from crowd_modelling import CrowdModelling, policy_table
from mfglib.scoring import exploitability_score
from run import describe, load, machine, quantity
from tables import markdown
from timing import Parts, alternate, column, ratios
from torch import Tensor
from training import Training

from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.games.mfglib_environments import ENVIRONMENTS
from mf_pmd.games.mfglib_game import make_environment

GAMES = ("susceptible_infected", "beach_bar", "building_evacuation")
CROWD = "crowd_modelling"
AGENTS = 10**6
STEPS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of OMD, MFGLib's default is 1
SPIEL_STEPS = (0.01, 0.1, 0.3, 1.0)  # OpenSpiel's default is .01
FEWEST_REPEATS = 5
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
ONE_EPISODE = ("batch_size_run=1", "batch_size=1", "buffer_size=1")
KEPT_FIRST = ("c_mix=0.0", "output_policy=last")
WORDS = (*ONE_EPISODE, *KEPT_FIRST, "c_scale_free=6.0", "optimism=0.25")
MORE_WORDS = {"building_evacuation": ("output_policy=tail",)}
HEAD = (
    "game",
    "contestant",
    "told the model",
    "arrived",
    "iterations",
    "seconds",
    "least",
    "most",
    "over OMD",
)


class Pace(NamedTuple):
    """What a contestant did in one round.

    Attributes:
        seconds: to its last iterate, scoring left out.
        iterations: how many.
        share: exploitability of that iterate over the uniform policy's.
        prepared: seconds before the first.
    """

    seconds: float
    iterations: int
    share: float
    prepared: float


class Runner(NamedTuple):
    """Attributes:
    advance: makes one iterate.
    policy: the iterate that would be returned now, [H, S, A].
    """

    advance: Callable[[], Any]
    policy: Callable[[], Tensor]


class Contestant(NamedTuple):
    """Attributes:
    name: as the table has it.
    told: whether it is told the model.
    start: makes a Runner, given the round's seed.
    """

    name: str
    told: bool
    start: Callable[[int], Runner]


class Arena(NamedTuple):
    """Attributes:
    key: the game.
    score: the exact exploitability of a policy [H, S, A], in the game's own reward units.
    uniform: that of the uniform policy.
    contestants: who races; the first is what the others are compared with.
    missing: those who cannot, and why.
    tried: iterations of the steps that the best was taken from.
    """

    key: str
    score: Callable[[Tensor], float]
    uniform: float
    contestants: list[Contestant]
    missing: dict[str, str]
    tried: dict[str, dict[str, float]]


def race(contestant: Contestant, arena: Arena, options: argparse.Namespace, *, seed: int) -> Pace:
    """Let one contestant run until it has arrived, or has made ``most`` iterates or used up its seconds."""
    clock = CLOCKS[options.clock]
    start = clock()
    runner = contestant.start(seed)
    prepared = clock() - start
    seconds, found, iterations = 0.0, float("inf"), 0
    while iterations < options.most and seconds < options.budget and found > options.share:
        start = clock()
        runner.advance()
        seconds += clock() - start
        iterations += 1
        found = arena.score(runner.policy()) / arena.uniform
    return Pace(seconds, iterations, found, prepared)


# Who races.


def told_by_mfglib(environment: Any, step: float, seed: int = 0) -> Runner:
    """MFGLib's online mirror descent."""
    solver = mfglib.alg.OnlineMirrorDescent(step)
    shape = (environment.T + 1, *environment.S, *environment.A)
    held = [solver.init_state(environment, torch.full(shape, 1 / environment.n_actions))]

    def advance() -> None:
        held[0] = solver.step_next_state(held[0], None, None)

    return Runner(advance, lambda: held[0].pi.reshape(environment.T + 1, environment.n_states, -1))


def told_by_openspiel(game: Any, make: Callable[[Any], Any], sizes: dict[str, int], seed: int = 0) -> Runner:
    """One of OpenSpiel's solvers with ``iteration`` and ``get_policy``."""
    solver = make(game)
    return Runner(solver.iteration, lambda: policy_table(game, solver.get_policy(), **sizes))


def learner(algorithm: str, game: str, words: tuple[str, ...], agents: int, seed: int) -> Runner:
    """One of our learners under runner=counts; the policy that its test mode would play."""
    training = Training(
        algorithm,
        game,
        agents=agents,
        threads=1,
        device="cpu",
        words=("runner=counts", "population.played=never", *words),
        seed=seed,
    )
    mac = training.learner.mac
    return Runner(partial(training.epochs, 1), lambda: mac.history.mean(mac.output_policy))


def learners(game: str, key: str, options: argparse.Namespace) -> list[Contestant]:
    """``mf_pmd_tabular`` and ``mf_pmd``, whose steps know no units of rewards, with the same words."""
    where = (f"env_args.key={key}",) if game == "mfglib" else ()
    words = (*where, *WORDS, *MORE_WORDS.get(key, ()), *options.words)
    return [
        Contestant(f"{name}, counts", False, partial(learner, name, game, words, options.agents))
        for name in options.algorithms
    ]


# Where they race.


def mfglib_arena(key: str, options: argparse.Namespace) -> Arena:
    """One of MFGLib's games."""
    knobs = {"T": 4} if options.quick else {}
    environment = make_environment(key, knobs)
    shape = (environment.T + 1, *environment.S, *environment.A)

    def score(policy: Tensor) -> float:
        return exploitability_score(environment, policy.float().reshape(shape))

    uniform = score(torch.full(shape, 1 / environment.n_actions))
    solvers = {
        step: Contestant(f"MFGLib OMD, step {step:g}", True, partial(told_by_mfglib, environment, step))
        for step in STEPS
    }
    arena = Arena(key, score, uniform, [], {}, {})
    best = fastest(solvers, arena, options)
    arena.contestants.extend([solvers[1.0], *([solvers[best]] if best != 1.0 else [])])
    words = tuple(f"env_args.knobs.{name}={value}" for name, value in knobs.items())
    told = argparse.Namespace(**vars(options) | {"words": [*words, *options.words]})
    arena.contestants.extend(learners("mfglib", key, told))
    return arena


def openspiel_arena(options: argparse.Namespace) -> Arena:
    """OpenSpiel's crowd modelling, and the same game of ours."""
    sizes = {"size": 4, "horizon": 3} if options.quick else {"size": 10, "horizon": 10}
    ours = CrowdModelling(n_agents=2, population="all", **sizes)
    model = ours.mean_field_model()

    def score(policy: Tensor) -> float:
        found = mean_field_exploitability(model, tabular_policy(policy.double()))
        return found.item() / ours.reward_factor

    uniform = score(torch.full((ours.horizon, ours.n_states, 3), 1 / 3))
    arena = Arena(CROWD, score, uniform, [], {}, {})
    try:
        import pyspiel
        from open_spiel.python.mfg.algorithms.fictitious_play import FictitiousPlay
        from open_spiel.python.mfg.algorithms.mirror_descent import MirrorDescent
        from open_spiel.python.mfg.games import crowd_modelling  # noqa: F401  (registers the game)
    except ImportError as error:
        arena.missing["OpenSpiel MirrorDescent, FictitiousPlay"] = f"OpenSpiel is not installed ({error})"
    else:
        game = pyspiel.load_game("python_mfg_crowd_modelling", sizes)
        start = partial(told_by_openspiel, game, sizes=sizes)
        solvers = {
            step: Contestant(
                f"OpenSpiel OMD, step {step:g}",
                True,
                lambda seed, step=step: start(make=lambda game: MirrorDescent(game, lr=step)),
            )
            for step in SPIEL_STEPS
        }
        best = fastest(solvers, arena, options)
        fictitious = Contestant("OpenSpiel fictitious play", True, lambda seed: start(make=FictitiousPlay))
        arena.contestants.extend([solvers[best], fictitious])
        hold_against_openspiel(game, arena)
    yaml = Path(__file__).parent / f"{CROWD}.yaml"
    words = tuple(f"env_args.{name}={value}" for name, value in sizes.items())
    told = argparse.Namespace(**vars(options) | {"words": [*words, *options.words]})
    arena.contestants.extend(learners(str(yaml), CROWD, told))
    return arena


def hold_against_openspiel(game: Any, arena: Arena) -> None:
    """Require that our exact exploitability of a policy of OpenSpiel's is its own ``NashConv``.

    Raises:
        AssertionError: the game of ours is not the game of theirs.
    """
    from open_spiel.python.mfg.algorithms.mirror_descent import MirrorDescent
    from open_spiel.python.mfg.algorithms.nash_conv import NashConv

    solver = MirrorDescent(game, lr=0.3)
    solver.iteration()
    theirs = NashConv(game, solver.get_policy()).nash_conv()
    sizes = game.get_parameters()
    table = policy_table(game, solver.get_policy(), size=sizes["size"], horizon=sizes["horizon"])
    assert abs(arena.score(table) - theirs) < 1e-9 * max(1.0, theirs), (arena.score(table), theirs)


def fastest(solvers: dict[float, Contestant], arena: Arena, options: argparse.Namespace) -> float:
    """The step that arrives in the fewest iterations, one run of each: nothing here is random."""
    found = {step: race(solver, arena, options, seed=0) for step, solver in solvers.items()}
    arena.tried.update(
        {solvers[step].name: {"iterations": p.iterations, "share": p.share} for step, p in found.items()}
    )
    arrived = {step: pace.iterations for step, pace in found.items() if pace.share <= options.share}
    return min(arrived, key=arrived.__getitem__) if arrived else min(found, key=lambda s: found[s].share)


# The table.


def paces(arena: Arena, options: argparse.Namespace) -> dict[str, list[Parts]]:
    """All rounds of all contestants."""
    rounds = dict.fromkeys((contestant.name for contestant in arena.contestants), 0)

    def one(contestant: Contestant) -> Parts:
        rounds[contestant.name] += 1
        seed = options.first_seed + rounds[contestant.name] - 2  # the first round does not count
        pace = race(contestant, arena, options, seed=seed)
        told = f"{arena.key}, {contestant.name}: {pace.iterations} in {pace.seconds:.4f} s, {pace.share:.4f}"
        print(told, file=sys.stderr, flush=True)
        return {key: float(value) for key, value in pace._asdict().items()}

    by_name = {c.name: partial(one, c) for c in arena.contestants}
    return alternate(by_name, options.repeats)


def rows(arena: Arena, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What was measured of every contestant, as plain values."""
    measured = paces(arena, options)
    reference = column(measured[arena.contestants[0].name], "seconds")
    found: list[dict[str, Any]] = [
        {"game": arena.key, "contestant": name, "missing": why} for name, why in arena.missing.items()
    ]
    for contestant in arena.contestants:
        parts = measured[contestant.name]
        seconds = column(parts, "seconds")
        arrived = [share <= options.share for share in column(parts, "share")]
        found.append(
            {
                "game": arena.key,
                "contestant": contestant.name,
                "told": contestant.told,
                "arrived": f"{sum(arrived)} of {len(arrived)}",
                "all_arrived": all(arrived),
                "seconds": seconds,
                "iterations": column(parts, "iterations"),
                "share": column(parts, "share"),
                "prepared": column(parts, "prepared"),
                "over_first": ratios(seconds, reference),
            }
        )
    return found


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of one line."""
    if "missing" in row:
        return [row["game"], row["contestant"], "yes", f"not measured: {row['missing']}", *[""] * 5]
    seconds, bound = row["seconds"], "" if row["all_arrived"] else "> "
    numbers = [quantity(value, "s") for value in (statistics.median(seconds), min(seconds), max(seconds))]
    return [
        row["game"],
        row["contestant"],
        "yes" if row["told"] else "no",
        row["arrived"],
        f"{statistics.median(row['iterations']):.0f}",
        *(bound + number for number in numbers),
        f"{bound}{statistics.median(row['over_first']):.2f}",
    ]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The words of the command line; those after ``with`` go to our learners."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--games", type=lambda told: told.split(","), default=[*GAMES, CROWD])
    add("--algorithms", type=lambda told: told.split(","), default=["mf_pmd_tabular", "mf_pmd"])
    add("--agents", type=int, default=AGENTS, help="N of our learners")
    add("--share", type=float, default=0.05, help="of the uniform policy's exploitability")
    add("--most", type=int, default=150, help="iterations after which a contestant is stopped")
    add("--budget", type=float, default=30.0, help="seconds after which it is stopped")
    add("--repeats", type=int, default=FEWEST_REPEATS, help=f"at least {FEWEST_REPEATS}")
    add("--clock", choices=CLOCKS, default="wall")
    add("--first-seed", type=int, default=1)
    add(
        "--quick",
        action="store_true",
        help="beach_bar and crowd_modelling, small, one round: to see that it runs",
    )
    add("--json", type=Path, help="default: a new file in results/solvers")
    add("words", nargs="*", metavar="with key=value")
    given = sys.argv[1:] if argv is None else argv
    options = parser.parse_args([word for word in given if word != "with"])
    unknown = set(options.games) - {*ENVIRONMENTS, CROWD}
    if unknown:
        known = ", ".join((*ENVIRONMENTS, CROWD))
        parser.error(f"--games: {', '.join(sorted(unknown))}: choose among {known}")
    if options.quick:
        options.games, options.repeats, options.most = ["beach_bar", CROWD], 1, 3
    elif options.repeats < FEWEST_REPEATS:
        parser.error(f"--repeats={options.repeats}: a median of fewer than {FEWEST_REPEATS} says little")
    if options.json is None:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        options.json = Path("results/solvers") / f"{now}.json"
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Race, print the table, write the json file."""
    options = parse(argv)
    torch.set_num_threads(1)
    described = machine()
    print(describe(described), end="\n\n", flush=True)
    arenas = {key: arena_of(key, options) for key in options.games}
    found = [row for arena in arenas.values() for row in rows(arena, options)]
    described["load_after"] = load()
    print(markdown(HEAD, [cells(row) for row in found]))
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    games = {key: {"uniform": arena.uniform, "tried": arena.tried} for key, arena in arenas.items()}
    written = {"machine": described, "settings": settings, "games": games, "rows": found}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(f"\nAlso in {options.json}.", file=sys.stderr)
    return 0


def arena_of(key: str, options: argparse.Namespace) -> Arena:
    """The game by its name."""
    return openspiel_arena(options) if key == CROWD else mfglib_arena(key, options)


if __name__ == "__main__":
    sys.exit(main())
