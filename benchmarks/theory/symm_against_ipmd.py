"""Symm-PMD (mf_pmd_tabular) against IPMD (ipmd): one policy for all against a table for every agent.

    python benchmarks/theory/symm_against_ipmd.py [--seeds 10] [--literal] [--out results/theory] [--quick]

At the paper's sizes (Yardim & He 2025, Sec. 6), a_rps N = 2000, H = 10 and a_sis N = 1000, H = 20, with our
default schedules or, with ``--literal``, the paper's and its average. Seed by seed and epoch by epoch the
two train in turn, A B A B, in one process on one thread, so that whatever else the machine does falls on
both; only training is timed (play, count, learn), and tests are between. Every test of 40 episodes scores
what the agents play: N-player exploitability, mean and largest over agents (docs/exploitability.md), and
mean-field exploitability of the population-average policy as it was seen to play. Bands are 95 % intervals
of the mean over seeds. The paper's ends are drawn beside: its base games have other constants, so ordering
and ratios are what compares.

Twenty seconds of one core a seed, or one and a half times as much on a loaded machine.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import common
import numpy as np
import scipy.stats
import yaml
from common import env_args, markdown
from ipmd_against_mf_pmd import ALGORITHMS, LITERAL
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray
from pictures import panels, write
from training import Training

from mf_pmd.evaluation.plots import PALETTE
from mf_pmd.host.utils.logger import console_logger

MEAN_FIELD, MEAN, LARGEST = "mean_field_exploitability", "exploitability_mean", "exploitability_max"
METRICS = {MEAN: "N players, mean", LARGEST: "N players, the worst off", MEAN_FIELD: "mean field, as played"}
NAMES = {"mf_pmd_tabular": "Symm-PMD", "ipmd": "IPMD"}
TEST_EPISODES = 40
PAPER = {  # where the paper's curves end: epochs, Symm-PMD's range, IPMD's plateau
    "a_rps": (25, (0.02, 0.06), 0.19),
    "a_sis": (15, (0.07, 0.08), 0.51),
}
PAPER_SAVES = "about 60 %"


class Curves(NamedTuple):
    """What R seeds of one algorithm reached.

    Attributes:
        scores: by metric, [R, K] at K epochs.
        seconds: of every epoch's training, [R, T].
        learning: of that, counting and learning, without play, [R, T].
    """

    scores: dict[str, NDArray[Any]]
    seconds: NDArray[Any]
    learning: NDArray[Any]


class LastValues:
    """A logger that keeps the last value of every key."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.console_logger = SimpleNamespace(**dict.fromkeys(("info", "warning", "debug"), lambda *_: None))

    def log_stat(self, key: str, value: Any, t: int, to_sacred: bool = True) -> None:
        """Keep it."""
        self.last[key] = float(value)


class Contestant:
    """One algorithm under training, tested now and then."""

    def __init__(self, algorithm: str, key: str, *, agents: int, seed: int, words: Sequence[str]) -> None:
        self.logger = LastValues()
        # deviations are not played: the last test then costs no more than the others
        words = (f"test_nepisode={TEST_EPISODES}", "population.played=never", *words)
        self.training = Training(
            algorithm, key, agents=agents, threads=1, device="cpu", words=words, seed=seed, logger=self.logger
        )

    def epoch(self) -> tuple[float, float]:
        """Train one epoch; the seconds of it, and of its learning alone."""
        parts = self.training.epochs(1)
        return parts["total"], parts["learning"]

    def test(self) -> dict[str, float]:
        """Score what is played in test mode."""
        runner = self.training.runner
        for _ in range(-(-TEST_EPISODES // runner.batch_size)):
            runner.run(test_mode=True)
        return {metric: self.logger.last[f"test_{metric}"] for metric in METRICS}


def race(key: str, options) -> dict[str, Curves]:
    """All seeds of both algorithms on one game."""
    marks = marks_of(options, key)
    runs: dict[str, list[tuple[dict[str, list[float]], NDArray[Any]]]] = {name: [] for name in ALGORITHMS}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, run in race_once(key, marks, seed, options).items():
            runs[name].append(run)
    return {
        name: Curves(
            {metric: np.array([scores[metric] for scores, _ in found]) for metric in METRICS},
            *np.stack([seconds for _, seconds in found], 1),
        )
        for name, found in runs.items()
    }


def race_once(
    key: str, marks: Sequence[int], seed: int, options
) -> dict[str, tuple[dict[str, list[float]], NDArray[Any]]]:
    """One seed: every epoch is trained by both, one after the other, and tested outside the clock.

    Returns:
        Of each algorithm the scores at the marks, by metric, and the seconds [2, T]: all, and of learning.
    """
    agents = options.agents or env_args(key)["n_agents"]
    words = LITERAL if options.literal else ()
    contestants = {name: Contestant(name, key, agents=agents, seed=seed, words=words) for name in ALGORITHMS}
    scores = {name: {metric: [] for metric in METRICS} for name in contestants}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for epoch in range(max(marks) + 1):
        for name, contestant in contestants.items():
            if epoch > 0:
                seconds[name].append(contestant.epoch())
        if epoch in marks:
            for name, contestant in contestants.items():
                for metric, value in contestant.test().items():
                    scores[name][metric].append(value)
    return {name: (scores[name], np.array(seconds[name]).T) for name in contestants}


def marks_of(options, key: str) -> list[int]:
    """Epochs after which both are tested: every so many, the paper's last, and the last."""
    last = options.epochs or default_epochs(key)
    return sorted({*range(0, last + 1, options.every), min(last, PAPER[key][0]), last})


def default_epochs(key: str) -> int:
    """Epochs of a run with the default settings: t_max over the steps of an epoch."""
    text = yaml.safe_load((common.ENVS / f"{key}.yaml").read_text(encoding="utf-8"))
    return text["t_max"] // (10 * text["env_args"]["horizon"])


def print_tables(raced: dict[str, dict[str, Curves]], options) -> None:
    """Exploitability at the paper's last epoch and ours, then the seconds of training."""
    rows, times = [], []
    for key, curves in raced.items():
        marks = marks_of(options, key)
        for epoch in dict.fromkeys((min(PAPER[key][0], marks[-1]), marks[-1])):
            for name, found in curves.items():
                at = [values[:, marks.index(epoch)] for values in found.scores.values()]
                rows.append([key, NAMES[name], str(epoch), *(median_and_range(values) for values in at)])
        for part in ("seconds", "learning"):
            spent = {name: getattr(found, part) for name, found in curves.items()}
            saved = 1 - spent["mf_pmd_tabular"].sum(1) / spent["ipmd"].sum(1)  # of one seed, side by side
            each = [median_and_range(1000 * values.ravel()) for values in spent.values()]
            what = "play and learn" if part == "seconds" else "learn"
            shares = [f"{share:.0%}" for share in (np.median(saved), saved.min(), saved.max())]
            times.append([key, str(marks[-1]), what, *each, *shares])
    print(markdown(["game", "algorithm", "epoch", *METRICS.values()], rows), end="\n\n")
    each = ["Symm-PMD, ms an epoch", "IPMD, ms an epoch"]
    print(markdown(["game", "epochs", "time to", *each, "less time, median", "least", "most"], times))
    print(f"\nThe paper says {PAPER_SAVES} less. Medians, with the smallest and the largest in brackets.")


def median_and_range(values: NDArray[Any]) -> str:
    """Of the seeds."""
    return f"{np.median(values):.3g} ({values.min():.3g} .. {values.max():.3g})"


def draw_curves(raced: dict[str, dict[str, Curves]], options) -> Any:
    """Two panels a game: against epochs and against seconds of training."""
    figure, axes = panels(2 * len(raced))
    for place, (key, curves) in enumerate(raced.items()):
        marks = marks_of(options, key)
        for colour, (name, found) in enumerate(curves.items()):
            clock = np.median(np.pad(found.seconds.cumsum(1), ((0, 0), (1, 0))), 0)[marks]
            for metric, dashes in ((MEAN, "-"), (MEAN_FIELD, ":")):
                label = f"{NAMES[name]}, {METRICS[metric]}"
                for panel, x in zip(axes[2 * place : 2 * place + 2], (marks, clock), strict=True):
                    draw_band(panel, x, found.scores[metric], PALETTE[colour], dashes, label)
        draw_paper(axes[2 * place], key)
        for panel, x in zip(axes[2 * place : 2 * place + 2], ("epochs", "seconds of training"), strict=True):
            panel.set_title(f"{key}, N = {options.agents or env_args(key)['n_agents']}", fontsize=9)
            panel.set_xlabel(x, fontsize=8)
            finish(panel)
    axes[0].set_ylabel("exploitability, reward units", fontsize=8)
    return figure


def draw_band(axes: Any, x: Any, samples: NDArray[Any], colour: str, dashes: str, label: str) -> None:
    """Mean over seeds with its 95 % interval (Student's t), [R, K]."""
    n_seeds = len(samples)
    middle = samples.mean(0)
    wide = scipy.stats.t.ppf(0.975, n_seeds - 1) * samples.std(0, ddof=1) / np.sqrt(n_seeds)
    axes.plot(x, middle, color=colour, linestyle=dashes, linewidth=1.5, label=label)
    axes.fill_between(x, np.maximum(middle - wide, 1e-3), middle + wide, color=colour, alpha=0.2, linewidth=0)


def draw_paper(axes: Any, key: str) -> None:
    """Where the paper's curves end."""
    epoch, (low, high), plateau = PAPER[key]
    axes.plot(
        [epoch, epoch], [low, high], color=PALETTE[0], linewidth=5, alpha=0.5, label="paper: Symm-PMD's end"
    )
    axes.plot([epoch], [plateau], "D", color=PALETTE[1], alpha=0.6, label="paper: IPMD's plateau")


def finish(axes: Any) -> None:
    """A logarithmic axis with plain numbers, grid, legend."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="both", linewidth=0.3)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)


def main(words: Sequence[str] | None = None) -> int:
    """Race, print the tables, draw the figure."""
    options = common.options_of(
        __doc__,
        words,
        seeds=(10, 3, "seeds"),
        first_seed=(1, 1, "the first of them"),
        games=(("a_rps", "a_sis"), ("a_rps",), "games"),
        agents=(0, 20, "N; 0 is that of the paper"),
        epochs=(0, 4, "epochs; 0 is the default run's, 50 and 40"),
        every=(2, 2, "epochs between tests"),
        literal=(False, False, "the paper's schedules and its average"),
    )
    console_logger().setLevel("ERROR")
    raced = {key: race(key, options) for key in options.games}
    print_tables(raced, options)
    name = "symm_against_ipmd_literal.png" if options.literal else "symm_against_ipmd.png"
    write(draw_curves(raced, options), options.out / name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
