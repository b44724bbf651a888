"""The benchmarks: each a function from the options to its rows of the table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from ladder import REFERENCE, TIMED, epochs_in_turn
from timing import Parts, Row, Target, alternate, column, rates, ratios
from training import Episodes, Training
from upstream import upstream_epochs

LEARNERS = ("mf_pmd_tabular", "mf_pmd")
BASELINES = ("ippo", "mappo", "ia2c", "maa2c", "iql", "vdn", "qmix")
TARGET_GAME = "a_sis"
SPEED_TARGETS = {"mf_pmd_tabular": Target(1e7, at_least=True), "mf_pmd": Target(3e6, at_least=True)}
BASELINE_TARGETS = dict.fromkeys(BASELINES, Target(1e5, at_least=True))
TAXIS = ("a_taxi", "taxi_lite")
SIMULATOR_TARGET = Target(3e6, at_least=True)
LADDER_TARGET = Target(0.05, at_least=False)
GROWTH_TARGET = Target(1.2, at_least=False)
IPPO_EPISODES = 4
IPPO_THREADS = 1  # EPyMARL's own main.py takes one
IPPO_AS_THEIRS = ("use_rnn=True", "use_gae=False", "target_update_interval_or_tau=0.01")
NO_HOME = "EPYMARL_HOME unset"
NO_CUDA = "no CUDA here"

Options = argparse.Namespace
RATE, SECONDS, RATIO = "agent-steps/s", "s", "ratio"


def end_to_end(options: Options) -> list[Row]:
    """Play and learn, tests left out: agent-steps a second, and the time of an epoch of 10 episodes."""
    row = partial(Row, "end_to_end", agents=options.agents)
    return _speeds(
        options, row, lambda training: partial(training.epochs, options.epochs), targets=SPEED_TARGETS
    )


def baselines(options: Options) -> list[Row]:
    """As :func:`end_to_end`, of the embedded host's baselines."""
    row = partial(Row, "baselines", agents=options.agents)
    return _speeds(
        options,
        row,
        lambda training: partial(training.epochs, options.epochs),
        names=BASELINES,
        targets=BASELINE_TARGETS,
    )


def rollout(options: Options) -> list[Row]:
    """Play alone, the policy of the first epoch."""
    row = partial(Row, "rollout", agents=options.agents)
    return _speeds(options, row, lambda training: partial(training.rollouts, options.epochs))


def _speeds(
    options: Options,
    row: Callable[..., Row],
    timed: Callable[[Training], Callable[[], Parts]],
    names: tuple[str, ...] = LEARNERS,
    targets: dict[str, Target] | None = None,
) -> list[Row]:
    """Some algorithms on every game at every number of threads, in turn game by game."""
    rows = []
    for game in options.games:
        cases = {f"{name} {threads}": (name, threads) for name in names for threads in options.threads}
        if no_cuda(options):
            rows += [
                row(what=name, game=game, threads=threads, unit=RATE, missing=NO_CUDA)
                for name, threads in cases.values()
            ]
            continue
        trainings = {case: _training(options, *cases[case], game, options.agents) for case in cases}
        contestants = {case: timed(training) for case, training in trainings.items()}
        measured = alternate(contestants, options.repeats)
        for case, (name, threads) in cases.items():
            steps = trainings[case].agent_steps * options.epochs
            target = (targets or {}).get(name) if game == TARGET_GAME and options.agents == 1000 else None
            values = rates(steps, column(measured[case], "total"))
            rows.append(row(what=name, game=game, threads=threads, unit=RATE, values=values, target=target))
    return rows


def counting(options: Options) -> list[Row]:
    """``functional.cells.cell_statistics`` alone, on one batch of episodes."""
    row = partial(Row, "counting", what="cell_statistics", agents=options.agents, unit=RATE)
    rows = []
    for game in options.games:
        if no_cuda(options):
            rows += [row(game=game, threads=threads, missing=NO_CUDA) for threads in options.threads]
            continue
        trainings = {
            str(threads): _training(options, LEARNERS[0], threads, game, options.agents)
            for threads in options.threads
        }
        contestants = {
            case: partial(training.counting(), options.epochs) for case, training in trainings.items()
        }
        measured = alternate(contestants, options.repeats)
        for case, training in trainings.items():
            steps = training.agent_steps * options.epochs
            values = rates(steps, column(measured[case], "total"))
            rows.append(row(game=game, threads=training.threads, values=values))
    return rows


def learner(options: Options) -> list[Row]:
    """The learner once the cells are counted, and the counting, epoch by epoch as N grows."""
    row = partial(Row, "learner", game=TARGET_GAME, threads=options.threads[0])
    smallest, largest = min(options.sizes), max(options.sizes)
    rows = []
    for name in LEARNERS:
        if no_cuda(options):
            rows.append(row(what=f"{name}: update", agents=largest, unit=SECONDS, missing=NO_CUDA))
            continue
        contestants = {
            str(size): _training(options, name, options.threads[0], TARGET_GAME, size).epoch_apart
            for size in options.sizes
        }
        measured = alternate(contestants, options.repeats)
        updates = {size: column(measured[str(size)], "update") for size in options.sizes}
        for size in options.sizes:
            counted = column(measured[str(size)], "counting")
            rows += [
                row(what=f"{name}: counting", agents=size, unit=SECONDS, values=counted),
                row(what=f"{name}: update", agents=size, unit=SECONDS, values=updates[size]),
            ]
        rows.append(
            row(
                what=f"{name}: update, over that at N = {smallest}",
                agents=largest,
                unit=RATIO,
                values=ratios(updates[largest], updates[smallest]),
                target=GROWTH_TARGET,
            )
        )
    return rows


def simulator(options: Options) -> list[Row]:
    """The games of taxis alone: 8 episodes, from start to end, actions drawn beforehand."""
    rows = []
    for game in TAXIS:
        row = partial(Row, "simulator", what="step", game=game, agents=options.agents, unit=RATE)
        if no_cuda(options):
            rows += [row(threads=threads, missing=NO_CUDA) for threads in options.threads]
            continue
        contestants = {
            str(threads): Episodes(
                game, agents=options.agents, batch_size=8, threads=threads, device=options.device
            )
            for threads in options.threads
        }
        measured = alternate(contestants, options.repeats)
        for case, episodes in contestants.items():
            values = rates(episodes.agent_steps, column(measured[case], "total"))
            target = SIMULATOR_TARGET if game == TAXIS[0] and options.agents == 1000 else None
            rows.append(row(threads=episodes.threads, values=values, target=target))
    return rows


def taxis(options: Options) -> list[Row]:
    """As :func:`end_to_end`, networks on A-Taxi, an epoch a repetition."""
    one = argparse.Namespace(**vars(options) | {"games": TAXIS[:1], "epochs": 1})
    row = partial(Row, "taxis", agents=options.agents)
    return _speeds(one, row, lambda training: partial(training.epochs, 1), names=("mf_ppo", "mf_pmd"))


def ladder(options: Options) -> list[Row]:
    """Seconds an epoch of PPO that knows who it is, and ratios to one network an agent, round by round."""
    row = partial(Row, "ladder", game=TAXIS[0], agents=options.agents, threads=1)
    if no_cuda(options):
        return [row(what=rung.name, unit=SECONDS, missing=NO_CUDA) for rung in TIMED]
    measured = epochs_in_turn(
        TIMED, TAXIS[0], agents=options.agents, device=options.device, rounds=options.repeats
    )
    seconds = {name: column(rounds, "total") for name, rounds in measured.items()}
    rows = [row(what=name, unit=SECONDS, values=values) for name, values in seconds.items()]
    for name, values in seconds.items():
        if name != REFERENCE:
            target = LADDER_TARGET if name == TIMED[0].name and options.agents == 1000 else None
            over = ratios(values, seconds[REFERENCE])
            rows.append(row(what=f"{name} over {REFERENCE}", unit=RATIO, values=over, target=target))
    return rows


def ippo(options: Options) -> list[Row]:
    """The embedded ippo, and EPyMARL's under the population runner and under its own parallel runner."""
    rows = []
    for agents in options.ippo_agents:
        rows += _ippo(options, agents)
    return rows


def _ippo(options: Options, agents: int) -> list[Row]:
    row = partial(Row, "ippo", game=TARGET_GAME, agents=agents, threads=IPPO_THREADS)
    ours = "mf-pmd's ippo"
    theirs = {f"EPyMARL's ippo, {name} runner": name for name in ("population", "parallel")}
    home = os.environ.get("EPYMARL_HOME")
    reason = NO_CUDA if no_cuda(options) else "measured on the CPU alone" if options.device == "cuda" else ""
    missing = {ours: NO_CUDA if no_cuda(options) else ""}
    missing |= dict.fromkeys(theirs, reason or ("" if home else NO_HOME))
    with ExitStack() as stack:
        contestants: dict[str, Callable[[], Parts]] = {}
        steps = 0
        if not missing[ours]:
            sizes = (f"{key}={IPPO_EPISODES}" for key in ("batch_size_run", "batch_size", "buffer_size"))
            words = (*sizes, *IPPO_AS_THEIRS)
            training = _training(options, "ippo", IPPO_THREADS, TARGET_GAME, agents, words)
            steps = training.agent_steps
            contestants[ours] = partial(training.epochs, 1)
        for name, runner in theirs.items():
            if not missing[name]:
                contestants[name] = stack.enter_context(
                    upstream_epochs(
                        Path(str(home)),
                        runner=runner,
                        agents=agents,
                        episodes=IPPO_EPISODES,
                        threads=IPPO_THREADS,
                    )
                )
        measured = alternate(contestants, options.repeats)
    rows = []
    for name, reason in missing.items():
        seconds = column(measured.get(name, []), "total")
        rows.append(row(what=name, unit=RATE, values=rates(steps, seconds), missing=reason))
    for name in theirs:
        if not missing[name] and not missing[ours]:
            faster = ratios(column(measured[name], "total"), column(measured[ours], "total"))
            rows.append(row(what=f"{ours} over {name}", unit=RATIO, values=faster))
    return rows


def _training(
    options: Options, name: str, threads: int, game: str, agents: int, words: tuple[str, ...] = ()
) -> Training:
    return Training(name, game, agents=agents, threads=threads, device=options.device, words=words)


def no_cuda(options: Options) -> bool:
    """Whether a GPU is asked for that is not there."""
    return options.device == "cuda" and not torch.cuda.is_available()


BENCHMARKS: dict[str, Callable[[Options], list[Row]]] = {
    "end_to_end": end_to_end,
    "baselines": baselines,
    "rollout": rollout,
    "counting": counting,
    "learner": learner,
    "simulator": simulator,
    "taxis": taxis,
    "ladder": ladder,
    "ippo": ippo,
}
