"""What knowing who one is costs: PPO with one policy for all, with an index, with a network an agent.

    python benchmarks/identity_ladder.py [--epochs 50 | --t-max T] [--n-agents 1000] [--seeds 5] [--jobs 2]
                                         [--game a_taxi] [--device cpu] [--results results/ladder]
                                         [--out results/ladder/report] [--figure FILE.png]
                                         [--only runs,timing,report] [with key=value ...]

The rungs are those of Yardim & He 2025, Sec. 6, at equal environment steps, on the same seeds: Symm-NN
(mf_ppo), OH-NN (mf_ppo_oh), ID-NN (mf_ppo_id), Ind-NN (mf_ppo_ind). None has an embedding of the population,
so that identity alone differs; Symm-NN with one is a rung of its own. A shared network learns from the
trajectories of a few agents drawn each epoch, Ind-NN's from all, each from its own agent's; an index of which
few have been drawn is hardly learnt, so that the shared rungs that learn from all are rungs too. Every run is
a process of ``src/main.py``; finished runs with the same settings are taken from ``--results`` (start from an
empty folder after a change of the code). Rungs may have different numbers of seeds: run them apart, by
``--rungs``, and then report on all.

Seconds an epoch are measured apart, without tests, the rungs in turn in one process. ``table.md`` and
``table.json`` go to ``--out``, the figure beside them or to ``--figure``; ``--only report`` makes them of
what is there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from ladder import BASE, LADDER, REFERENCE, Rung, epochs_in_turn
from ladder_figure import draw
from numpy.typing import NDArray
from rows import NO_CUDA, no_cuda
from tables import markdown
from timing import column, ratios

from mf_pmd import cli
from mf_pmd.errors import UserError
from mf_pmd.evaluation.compare import Failure, Planned, find_done, plan, run_all
from mf_pmd.evaluation.playing import at_random, play
from mf_pmd.evaluation.report import describe_machine, require_writable
from mf_pmd.evaluation.results import Run
from mf_pmd.functional.student_t import t_quantile
from mf_pmd.host.utils.config import load_config, load_environment
from mf_pmd.runners.preparing import make_game
from mf_pmd.runners.seeding import isolated_randomness

MAIN = Path(cli.__file__).parent / "main.py"
RETURN = "test_return_mean"
LEVEL = 0.95  # of the intervals
FEWEST_ROUNDS = 5
UNIFORM_EPISODES = 40
PARTS = ("runs", "timing", "report")
HEAD = (
    "rung",
    "configuration",
    "agents learnt from",
    "seeds",
    "return half-way",
    "return at the end",
    "95 % interval",
    f"less {BASE}'s",
    "s an epoch",
    "min",
    "max",
    "over Ind-NN's",
    "peak MiB",
)

Options = argparse.Namespace


class Band(NamedTuple):
    """Means over seeds at some environment steps, each [P], with the ends of their t intervals."""

    steps: NDArray[Any]
    mean: NDArray[Any]
    lower: NDArray[Any]
    upper: NDArray[Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run or reuse, time, report."""
    options = parse(argv)
    require_writable(options.results, "--results")
    require_writable(options.out, "--out")
    failures = train(options) if "runs" in options.only else []
    if "timing" in options.only:
        write_json(options.out / "timing.json", time_rungs(options))
    if "report" in options.only:
        print(report(options))
    for failure in failures:
        print(f"failed: {failure.planned.name}, {failure.reason}; see {failure.log}", file=sys.stderr)
    return 1 if failures else 0


def parse(argv: Sequence[str] | None) -> Options:
    """The words of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="of training; default: what the game's t_max makes")
    length.add_argument("--t-max", type=int, help="environment steps of training")
    add("--game", default="a_taxi", help="a name that --env-config takes")
    add("--n-agents", type=int, default=1000)
    add("--seeds", type=int, default=5, help="how many, from 1")
    add("--jobs", type=int, default=2, help="runs side by side")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--rungs", help=f"numbers of them, such as 1,4; default: all of {', '.join(r.name for r in LADDER)}")
    add("--rounds", type=int, default=FEWEST_ROUNDS, help="epochs timed of each")
    add("--results", type=Path, default=Path("results/ladder"), help="of the runs")
    add("--out", type=Path, help="of table.md, table.json and timing.json; default RESULTS/report")
    add("--figure", type=Path, help="default OUT/identity_ladder.png")
    add("--only", default=",".join(PARTS), metavar="PART,PART", help="default: %(default)s")
    add("words", nargs="*", metavar="with key=value", help="changes for all")
    options = parser.parse_intermixed_args(argv)
    if options.rounds < FEWEST_ROUNDS:
        parser.error(f"--rounds={options.rounds}: a median of fewer than {FEWEST_ROUNDS} says little")
    if no_cuda(options):
        parser.error(f"--device=cuda: {NO_CUDA}, nothing is measured")
    options.only = options.only.split(",")
    for part in options.only:
        if part not in PARTS:
            parser.error(f"--only={part}: choose of {', '.join(PARTS)}")
    options.words = [word for word in options.words if word != "with"]
    numbers = range(1, len(LADDER) + 1) if options.rungs is None else map(int, options.rungs.split(","))
    options.rungs = [LADDER[number - 1] for number in numbers]
    options.results = options.results.expanduser().resolve()
    options.out = (options.out or options.results / "report").expanduser().resolve()
    options.figure = options.figure or options.out / "identity_ladder.png"
    return options


# What is run.


def planned_runs(options: Options) -> dict[str, list[Planned]]:
    """The runs of each rung that is trained, seed by seed, by its name."""
    settings = load_environment(options.game, [], cli.CONFIG_ROOTS)
    return {
        rung.name: plan(
            [rung.algorithm],
            {options.game: settings},
            range(1, options.seeds + 1),
            common_words(options, rung),
            results=options.results,
            t_max=steps_of_training(options, rung),
            configure=lambda alg, env, words: load_config(alg, env, words, cli.CONFIG_ROOTS),
        )
        for rung in options.rungs
    }


def common_words(options: Options, rung: Rung) -> tuple[str, ...]:
    """The changes of a rung; those of the command line come last."""
    cuda = f"use_cuda={options.device == 'cuda'}"
    return (cuda, f"env_args.n_agents={options.n_agents}", *rung.words, *options.words)


def steps_of_training(options: Options, rung: Rung) -> int | None:
    """t_max as asked for in either unit; None for the game's own."""
    if options.epochs is None:
        return options.t_max
    config = load_config(rung.algorithm, options.game, common_words(options, rung), cli.CONFIG_ROOTS)
    return options.epochs * config["batch_size_run"] * config["env_args"]["horizon"]


def train(options: Options) -> list[Failure]:
    """Run what is not there yet; seed by seed where rungs differ by their algorithm."""
    runs = planned_runs(options)
    failures = []
    for name, batch in batches(options, runs).items():
        done = find_done(batch, options.results)
        logs = options.out / "logs" / name
        require_writable(logs, "--out")
        failures += run_all(
            [run for run in batch if run not in done],
            done=len(done),
            jobs=options.jobs,
            results=options.results,
            logs=logs,
            machine=describe_machine(),
            main=MAIN,
        )
    return failures


def batches(options: Options, runs: dict[str, list[Planned]]) -> dict[str, list[Planned]]:
    """Runs that may go side by side: logs are named by algorithm and seed, so each algorithm once."""
    found: dict[str, list[Planned]] = {}
    times: dict[str, int] = {}
    for rung in options.rungs:
        times[rung.algorithm] = times.get(rung.algorithm, 0) + 1
        found.setdefault(f"{times[rung.algorithm]}", []).extend(runs[rung.name])
    return {name: sorted(batch, key=lambda run: run.seed) for name, batch in found.items()}


# What is timed.


def time_rungs(options: Options) -> dict[str, Any]:
    """Seconds of epochs of every rung, run in turn in this process, ``total`` and ``learning`` of it."""
    measured = epochs_in_turn(
        options.rungs,
        options.game,
        agents=options.n_agents,
        device=options.device,
        rounds=options.rounds,
        words=options.words,
    )
    seconds = {
        name: {part: column(rounds, part) for part in ("total", "learning")}
        for name, rounds in measured.items()
    }
    where = torch.cuda.get_device_name() if options.device == "cuda" else "one thread"
    return {
        "machine": f"{describe_machine()}, {where}",
        "game": options.game,
        "n_agents": options.n_agents,
        "words": options.words,
        "seconds": seconds,
    }


# What is reported.


def report(options: Options) -> str:
    """Write the table, its numbers and the figure; returns the table."""
    runs = planned_runs(options)
    done = find_done([run for batch in runs.values() for run in batch], options.results)
    found = {name: [done[run] for run in batch if run in done] for name, batch in runs.items()}
    timing = read_timing(options)
    bands = {name: band(some) for name, some in found.items() if some}
    learnt_from = {name: agents_learnt_from(batch[0].config) for name, batch in runs.items()}
    rungs = [row_of(rung, found, bands, timing, learnt_from[rung.name]) for rung in options.rungs]
    uniform = uniform_return(options)
    numbers = {
        "game": options.game,
        "n_agents": options.n_agents,
        "t_max": next((batch[0].config["t_max"] for batch in runs.values()), None),
        "words": options.words,
        "uniform_return": uniform,
        "machines": sorted({str(run.process.get("machine")) for some in found.values() for run in some}),
        "timing": timing,
        "rungs": rungs,
    }
    write_json(options.out / "table.json", numbers)
    text = table(rungs, numbers)
    (options.out / "table.md").write_text(text + "\n", encoding="utf-8")
    seconds = {row["rung"]: row["seconds"] for row in rungs if row["seconds"]}
    if bands or seconds:
        options.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(bands, seconds, uniform=uniform, title=title_of(numbers), file=options.figure)
    return text


def read_timing(options: Options) -> dict[str, Any]:
    """What was timed of this game with these settings; nothing where there is none."""
    file = options.out / "timing.json"
    timing = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    asked = {"game": options.game, "n_agents": options.n_agents, "words": options.words}
    return timing if asked.items() <= timing.items() else {}


def agents_learnt_from(config: dict[str, Any]) -> int:
    """Whose trajectories an epoch's gradients are taken of."""
    n_agents = config["env_args"]["n_agents"]
    return min(config["learn_agents"], n_agents) or n_agents


def band(runs: Sequence[Run]) -> Band:
    """Mean test return over seeds with its t interval, at the steps where all tested; alone, without one."""
    curves = [run.metrics[RETURN] for run in runs]
    steps = curves[0][0]
    assert all(np.array_equal(steps, other) for other, _ in curves), "runs that tested at other steps"
    return Band(steps, *t_interval(np.array([value for _, value in curves])))


def t_interval(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """mean and mean -+ t_{K-1} s / sqrt(K) of K seeds' values [K, P]; the mean alone of one seed's."""
    mean, count = values.mean(0), len(values)
    if count == 1:
        return mean, mean, mean
    half = t_quantile((1 + LEVEL) / 2, count - 1) * values.std(0, ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


def difference(runs: Sequence[Run], base: Sequence[Run]) -> list[float] | None:
    """Mean, lower and upper end of the return at the end less another rung's, seed by seed."""
    ends = [{run.config["seed"]: run.metrics[RETURN][1][-1] for run in some} for some in (runs, base)]
    common = sorted(ends[0].keys() & ends[1].keys())
    if len(common) < 2 or runs is base:
        return None
    gaps = np.array([[ends[0][seed] - ends[1][seed]] for seed in common])
    return [float(value[0]) for value in t_interval(gaps)]


def row_of(
    rung: Rung, found: dict[str, list[Run]], bands: dict[str, Band], timing: dict[str, Any], learnt_from: int
) -> dict[str, Any]:
    """The numbers of one rung, None for what is not known."""
    runs = found.get(rung.name, [])
    known = bands.get(rung.name)
    interval = known is not None and len(runs) > 1
    times = timing.get("seconds", {})
    own, reference = (times.get(name, {}).get("total", []) for name in (rung.name, REFERENCE))
    peaks = [run.process["peak_rss_mib"] for run in runs if run.process]
    return {
        "rung": rung.name,
        "configuration": " ".join((rung.algorithm, *rung.words)),
        "learnt_from": learnt_from,
        "seeds": len(runs),
        "halfway": None if known is None else half_way(known),
        "curve": None if known is None else [known.steps.tolist(), known.mean.tolist()],
        "difference": difference(runs, found.get(BASE, [])),
        "return": None if known is None else known.mean[-1],
        "return_interval": [known.lower[-1], known.upper[-1]] if known is not None and interval else None,
        "returns": [float(run.metrics[RETURN][1][-1]) for run in runs],
        "seconds": own,
        "ratio": statistics.median(ratios(own, reference)) if own and reference else None,
        "peak_mib": max(peaks) if peaks else None,
    }


def half_way(known: Band) -> float:
    """The mean return at the test nearest to half of the training."""
    return float(known.mean[np.abs(known.steps - known.steps[-1] / 2).argmin()])


def uniform_return(options: Options) -> float:
    """Return of the uniform policy, mean over agents and episodes."""
    changes = [word for word in options.words if word.startswith("env_args.")]
    words = [f"env_args.n_agents={options.n_agents}", *changes]
    env_args = load_environment(options.game, words, cli.CONFIG_ROOTS)["env_args"]
    game = make_game(SimpleNamespace(env_args=env_args, device="cpu", seed=0))
    with torch.no_grad(), isolated_randomness(game, (0,)):
        steps = play(game, at_random(game), batch_size=UNIFORM_EPISODES)
        return sum(step.rewards.double().mean().item() for step in steps)


def table(rungs: Sequence[dict[str, Any]], numbers: dict[str, Any]) -> str:
    """Markdown, with what a reader has to know below."""
    return "\n".join(
        [
            markdown(HEAD, [cells(row) for row in rungs]),
            "",
            f"{title_of(numbers)}; return: mean over agents, of {numbers['t_max']} environment steps of "
            f"training. Intervals: t over seeds, of differences seed by seed. The uniform policy's return is "
            f"{numbers['uniform_return']:.2f}.",
            f"Seconds: play and learn, no tests, the rungs in turn; median, min and max; the ratio is the "
            f"median of the rounds'. Timed on: {numbers['timing'].get('machine', 'nothing yet')}. Runs on: "
            f"{'; '.join(numbers['machines']) or 'none yet'}.",
        ]
    )


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of one line."""

    def number(value: float | None, form: str = ".2f") -> str:
        return "" if value is None else f"{value:{form}}"

    interval, seconds, less = row["return_interval"], row["seconds"], row["difference"]
    times = [statistics.median(seconds), min(seconds), max(seconds)] if seconds else [None] * 3
    return [
        row["rung"],
        f"`{row['configuration']}`",
        str(row["learnt_from"]),
        str(row["seeds"]),
        number(row["halfway"]),
        number(row["return"]),
        f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "",
        "{:+.2f} [{:+.2f}, {:+.2f}]".format(*less) if less else "",
        *(number(value, ".3g") for value in times),
        "" if row["ratio"] is None else f"{100 * row['ratio']:.1f} %",
        number(row["peak_mib"], ".0f"),
    ]


def title_of(numbers: dict[str, Any]) -> str:
    """'a_taxi, N = 1000', and what was changed."""
    return ", ".join([numbers["game"], f"N = {numbers['n_agents']}", *numbers["words"]])


def write_json(file: Path, value: Any) -> None:
    """As text that one can read."""
    file.write_text(json.dumps(value, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
