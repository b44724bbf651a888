"""What costs what as N grows: playing agent by agent, playing by counts, learning, memory.

Sections of ``benchmarks/run.py``; each function takes the options and returns its rows of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from peaks import peak_of_training
from rows import LEARNERS, NO_CUDA, RATE, RATIO, SECONDS, Options, no_cuda
from timing import Parts, Row, Target, alternate, column, rates, ratios
from traffic import CACHED_BYTES, copy_bandwidth, copy_seconds, held_bytes, moved_bytes
from training import Training

from mf_pmd.runners.compiled_step import has_compiler

GAME = "a_beach"
STEPPER = "mf_pmd_tabular"
EPISODES = 4
SHORTEST = 10**6  # agent-steps of a repetition, as far as MOST_ROLLOUTS give them
MOST_ROLLOUTS = 20
COUNTED_EPISODES, COUNTED_HORIZON = 8, 50
COUNTED_ROLLOUTS = 5  # a repetition
UPDATES = 10  # a repetition
EPOCHS, TESTED = 2, 8  # of the runs whose memory is measured; TESTED episodes a test
COMPILED_FROM = 10**5  # agents; below, starting an operation is what a step costs
NO_COMPILER = "no C++ compiler"
BYTES = "bytes"

STEP_AGENTS = {"cpu": 10**5, "cuda": 10**6}
STEP_TARGETS = {"cpu": Target(30e6, at_least=True), "cuda": Target(5e9, at_least=True)}
BATCH_TARGET = Target(24, at_least=False)
COUNTED_AGENTS, COUNTED_TARGET = 10**9, Target(0.1, at_least=False)
GROWTH_TARGET = Target(1.1, at_least=False)
PASSES_TARGET = Target(2, at_least=False)
MEMORY_AGENTS, MEMORY_TARGET = 10**6, Target(4e9, at_least=False)


class Way(NamedTuple):
    """How the population runner plays: ``what``, as a row calls it, on so many ``threads``."""

    what: str
    words: tuple[str, ...]
    threads: int


def rollout_by_n(options: Options) -> list[Row]:
    """The population runner alone, 4 episodes of a_beach: agent-steps a second as N grows."""
    rows = []
    for agents in options.scale_agents:
        row = partial(Row, "rollout_by_n", game=GAME, agents=agents, unit=RATE)
        played: dict[Way, Training] = {}
        for way in _ways(options, agents):
            if reason := _why_not(options, way):
                rows.append(row(what=way.what, threads=way.threads, missing=reason))
            else:
                words = (*_sizes(EPISODES), *way.words)
                played[way] = _training(options, STEPPER, agents, way.threads, words)
        rows += _speeds(options, row, played)
    return rows if no_cuda(options) else rows + _limits(options, played)


def _ways(options: Options, agents: int) -> list[Way]:
    """As it is and, where a step is long enough, compiled, at every number of threads."""
    ways = [Way("runner", (), threads) for threads in options.scale_threads]
    if agents < COMPILED_FROM:
        return ways
    words = ("population.compile=True",)
    return ways + [Way("runner, compiled", words, threads) for threads in options.scale_threads]


def _why_not(options: Options, way: Way) -> str:
    """Why this is not measured, if so."""
    if no_cuda(options):
        return NO_CUDA
    return NO_COMPILER if way.words and not has_compiler() else ""


def _speeds(options: Options, row: Callable[..., Row], played: dict[Way, Training]) -> list[Row]:
    """Rows of ways that are played in turn."""
    if not played:
        return []
    steps = next(iter(played.values())).agent_steps
    count = max(1, min(MOST_ROLLOUTS, SHORTEST // steps))
    contestants = {str(way): partial(training.rollouts, count) for way, training in played.items()}
    measured = alternate(contestants, options.repeats)
    rows = []
    for way in played:
        values = rates(steps * count, column(measured[str(way)], "total"))
        found = row(what=way.what, threads=way.threads, values=values)
        named = found.agents == STEP_AGENTS[options.device] and way.threads == max(options.scale_threads)
        rows.append(replace(found, target=STEP_TARGETS[options.device]) if named else found)
    return rows


def _limits(options: Options, played: dict[Way, Training]) -> list[Row]:
    """What an agent-step keeps and moves, and the speed of moving it over a copy's, round by round.

    Of the runner as it is, whose operations can be seen one by one.
    """
    training = played[Way("runner", (), max(options.scale_threads))]
    agents, steps = options.scale_agents[-1], training.agent_steps
    row = partial(Row, "rollout_by_n", game=GAME, agents=agents, threads=training.threads)
    columns = training.runner.run(test_mode=False).data.stored.values()
    kept = sum(held_bytes(tensor) for tensor in columns)
    del columns
    moved = moved_bytes(lambda: training.runner.run(test_mode=False))
    contestants: dict[str, Callable[[], Parts]] = {
        "runner": partial(training.rollouts, 1),
        "copy": lambda: {"total": moved / copy_bandwidth(options.device)},
    }
    measured = alternate(contestants, options.repeats)
    share = ratios(column(measured["copy"], "total"), column(measured["runner"], "total"))
    return [
        row(what="batch, of an agent-step", unit=BYTES, values=[kept / steps], target=BATCH_TARGET),
        row(what="moved by operations, of an agent-step", unit=BYTES, values=[moved / steps]),
        row(what="speed of moving them over a copy's", unit=RATIO, values=share),
    ]


def counts(options: Options) -> list[Row]:
    """The counting runner, 8 episodes of a_beach, H = 50: seconds a batch as N grows."""
    row = partial(Row, "counts", game=GAME, threads=options.threads[0])
    sizes = options.counted_agents
    if no_cuda(options):
        return [row(what="batch", agents=n, unit=SECONDS, missing=NO_CUDA) for n in sizes]
    words = ("runner=counts", f"env_args.horizon={COUNTED_HORIZON}", *_sizes(COUNTED_EPISODES))
    played = {n: _training(options, STEPPER, n, options.threads[0], words) for n in sizes}
    contestants = {str(n): partial(training.rollouts, COUNTED_ROLLOUTS) for n, training in played.items()}
    measured = alternate(contestants, options.repeats)
    seconds = {n: [s / COUNTED_ROLLOUTS for s in column(measured[str(n)], "total")] for n in sizes}
    rows = []
    for agents, values in seconds.items():
        target = COUNTED_TARGET if agents == COUNTED_AGENTS else None
        rows.append(row(what="batch", agents=agents, unit=SECONDS, values=values, target=target))
    least = min(sizes)
    for agents, values in seconds.items():
        if agents != least:
            target = GROWTH_TARGET if agents == COUNTED_AGENTS else None
            over = ratios(values, seconds[least])
            rows.append(
                row(what=f"batch, over N = {least}", agents=agents, unit=RATIO, values=over, target=target)
            )
    return rows


def learner_by_n(options: Options) -> list[Row]:
    """Learning from 4 episodes once they are counted, and the counting beside it, as N grows."""
    row = partial(Row, "learner_by_n", game=GAME, threads=options.threads[0])
    sizes = options.learner_agents
    if no_cuda(options):
        return [
            row(what=f"{name}: update", agents=max(sizes), unit=SECONDS, missing=NO_CUDA) for name in LEARNERS
        ]
    rows = []
    for name in LEARNERS:
        learnt, contestants = {}, {}
        for n in sizes:
            learnt[n] = _training(options, name, n, options.threads[0], _sizes(EPISODES))
            statistics = learnt[n].learner.count(learnt[n].runner.run(test_mode=False))
            contestants[str(n)] = partial(learnt[n].updating(statistics), UPDATES)
        measured = alternate(contestants, options.repeats)
        seconds = {n: [s / UPDATES for s in column(measured[str(n)], "total")] for n in sizes}
        rows += [row(what=f"{name}: update", agents=n, unit=SECONDS, values=seconds[n]) for n in sizes]
        rows.append(
            row(
                what=f"{name}: update, over N = {min(sizes)}",
                agents=max(sizes),
                unit=RATIO,
                values=ratios(seconds[max(sizes)], seconds[min(sizes)]),
                target=GROWTH_TARGET,
            )
        )
    return rows + _counting(options, learnt)


def _counting(options: Options, learnt: dict[int, Training]) -> list[Row]:
    """Counting beside a copy of the columns it reads, in turn; and how often it goes over them in memory."""
    rows = []
    for agents, training in learnt.items():
        row = partial(Row, "learner_by_n", game=GAME, agents=agents, threads=training.threads)
        batch = training.runner.run(test_mode=False)
        columns = [held_bytes(batch[key]) for key in ("obs", "actions", "reward")]
        read = sum(columns)
        contestants: dict[str, Callable[[], Parts]] = {
            "counting": partial(training.counting(batch), 1),
            "copy": lambda read=read: {"total": copy_seconds(read, options.device)},
        }
        measured = alternate(contestants, options.repeats)
        seconds, copies = (column(measured[name], "total") for name in ("counting", "copy"))
        rows += [
            row(what="counting", unit=SECONDS, values=seconds),
            row(what="counting over a copy of what it reads", unit=RATIO, values=ratios(seconds, copies)),
        ]
        if agents == max(learnt) and min(columns) > CACHED_BYTES:  # else there is nothing to pass over
            moved = moved_bytes(partial(training.learner.count, batch), beyond=CACHED_BYTES)
            passes = row(what="counting: passes over what it reads", unit=RATIO, values=[moved / read])
            rows.append(replace(passes, target=PASSES_TARGET))
    return rows


def memory(options: Options) -> list[Row]:
    """The peak of whole runs of 2 epochs of 4 episodes of a_beach, tests included, a process each."""
    cases = [(name, n, "population") for name in LEARNERS for n in options.scale_agents]
    cases += [(STEPPER, n, "counts") for n in options.counted_agents]
    rows = []
    for name, agents, runner in cases:
        row = partial(
            Row,
            "memory",
            what=f"{name}, runner={runner}",
            game=GAME,
            agents=agents,
            threads=1,
            unit=BYTES,
            target=MEMORY_TARGET if agents == MEMORY_AGENTS and runner == "population" else None,
        )
        if no_cuda(options):
            rows.append(row(missing=NO_CUDA))
            continue
        words = (f"runner={runner}", f"env_args.n_agents={agents}", f"use_cuda={options.device == 'cuda'}")
        words += (f"t_max={EPOCHS * EPISODES * 20}", f"test_nepisode={TESTED}", *_sizes(EPISODES))
        try:
            found = peak_of_training([f"--config={name}", f"--env-config={GAME}", "with", *words])
        except RuntimeError as error:
            rows.append(row(missing=str(error)))
            continue
        held = "peak" if options.device == "cpu" else "device"
        rows.append(row(values=[found[held]]))
    return rows


def _sizes(episodes: int) -> tuple[str, ...]:
    """Batches of so many episodes."""
    return tuple(f"{key}={episodes}" for key in ("batch_size_run", "batch_size", "buffer_size"))


def _training(options: Options, name: str, agents: int, threads: int, words: tuple[str, ...]) -> Training:
    return Training(name, GAME, agents=agents, threads=threads, device=options.device, words=words)


SCALE: dict[str, Callable[[Options], list[Row]]] = {
    "rollout_by_n": rollout_by_n,
    "counts": counts,
    "learner_by_n": learner_by_n,
    "memory": memory,
}
