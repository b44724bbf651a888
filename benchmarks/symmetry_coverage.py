"""How often alpha and beta from trajectories cover what closed forms say of the same visits.

python benchmarks/symmetry_coverage.py [--repetitions 100]
python benchmarks/symmetry_coverage.py --games a_sis_recovering sorting lingering

a_sis, a_rps and a_beach at their defaults and with all spreads 0, random mixed policies. A repetition plays
its episodes by a seed of its own, measures, and averages the closed forms over the visits: 2 to 7 s. Three
more are harder: a_sis where agents recover very differently, and two in which they sort themselves.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from sorting_games import lingering, sorting
from tables import markdown
from torch import Tensor
from visited_deviations import VisitedDeviations, visited_deviations

from mf_pmd import games
from mf_pmd.evaluation.symmetry.from_trajectories import known_types, measure, play
from mf_pmd.functional.asymmetry import Asymmetry
from mf_pmd.functional.mean_field import tabular_policy

ENVS = Path(games.__file__).parents[1] / "config" / "envs"
SPREADS = ("eps", "eps_beta", "eps_recovery")
GAMES = ("a_sis", "a_rps", "a_beach")
RECOVERING = {"eps_recovery": 0.9}
HARDER: dict[str, Callable[[int], games.PopulationGame]] = {
    "a_sis_recovering": lambda n: make_game("a_sis", n_agents=n, symmetric=False, **RECOVERING),
    "sorting": sorting,
    "lingering": lingering,
}
PARTS = ("largest rms", "largest type", "lower bound", "upper bound")


class Outcome(NamedTuple):
    """What one repetition says of alpha, or of beta.

    Attributes:
        cells: intervals of cells that cover, and how many there are.
        covered: whether each of PARTS covers.
        truth, lower, upper: of each of PARTS; a bound has one end, the other is NaN.
    """

    cells: tuple[int, int]
    covered: list[bool]
    truth: list[float]
    lower: list[float]
    upper: list[float]


def random_policy(game: games.PopulationGame, *, seed: int, scale: float) -> Tensor:
    """A random softmax table [H, S, A], its logits normal with standard deviation ``scale``."""
    generator = torch.Generator().manual_seed(seed)
    shape = (game.horizon, game.n_states, game.n_actions)
    return torch.softmax(scale * torch.randn(shape, generator=generator, dtype=torch.float64), -1)


def make_game(key: str, *, n_agents: int, symmetric: bool, **settings: float) -> games.PopulationGame:
    """The game of a yaml file with other settings, all its spreads 0 where it is to be symmetric."""
    env_args = yaml.safe_load((ENVS / f"{key}.yaml").read_text(encoding="utf-8"))["env_args"]
    changes = {name: 0.0 for name in SPREADS if symmetric and name in env_args}
    return games.make(**{**env_args, **changes, **settings, "n_agents": n_agents})


def outcome(found: Asymmetry, truth: VisitedDeviations, channels: slice) -> Outcome:
    """Hold every figure against the closed form; alpha is channels 0 to S - 1, beta the last."""
    rms = truth.rms()[channels].sum(0)
    lower, upper = found.rms.lower.flatten(), found.rms.upper.flatten()
    told = upper.isfinite()
    cells = (int(((lower <= rms) & (rms <= upper))[told].sum()), int(told.sum()))
    assert found.by_type is not None
    assert found.largest_by_type is not None
    types = truth.of_types()[channels].sum(0)[found.by_type.upper.flatten(1).isfinite()].max().item()
    most = truth.of_agents()[channels].sum(0).max().item()
    truths = [rms[told].max().item(), types, most, most]
    ends = [found.largest_rms, found.largest_by_type]
    low = [*(end.lower for end in ends), found.at_least.value, float("nan")]
    high = [*(end.upper for end in ends), float("nan"), found.at_most.value]
    covered = [
        not (a > value or value > b) for a, value, b in zip(low, truths, high, strict=True)
    ]  # a comparison with NaN is false
    return Outcome(cells, covered, truths, low, high)


class Setting(NamedTuple):
    """Attributes:
    alpha, beta: an outcome a repetition.
    seconds: of each estimate, the playing left out.
    """

    alpha: list[Outcome]
    beta: list[Outcome]
    seconds: list[float]


def repeat(
    game: games.PopulationGame, *, repetitions: int, n_episodes: int, policy_seed: int | None, scale: float
) -> Setting:
    """Seeded repetitions; without ``policy_seed`` each has a random policy of its own."""
    setting = Setting([], [], [])
    for seed in range(repetitions):
        table = random_policy(game, seed=seed if policy_seed is None else policy_seed, scale=scale)
        played = play(game, tabular_policy(table), n_episodes=n_episodes, seed=seed)
        begun = time.perf_counter()
        found = measure(played, n_states=game.n_states, n_actions=game.n_actions, types=known_types(game))
        setting.seconds.append(time.perf_counter() - begun)
        truth = visited_deviations(game, played, n_blocks=found.n_blocks)
        setting.alpha.append(outcome(found.alpha, truth, slice(0, -1)))
        setting.beta.append(outcome(found.beta, truth, slice(-1, None)))
    return setting


def coverage_row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """How many repetitions each figure covered, and the share of cells."""
    right, cells = (sum(part) for part in zip(*(each.cells for each in outcomes), strict=True))
    counts = [sum(each.covered[part] for each in outcomes) for part in range(len(PARTS))]
    return [name, f"{right / cells:.1%}" if cells else "none", *(f"{n} of {len(outcomes)}" for n in counts)]


def width_row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """Medians over the repetitions: truth and ends of each figure."""
    shown = []
    for part in range(len(PARTS)):
        columns = ([getattr(each, end)[part] for each in outcomes] for end in ("truth", "lower", "upper"))
        truth, lower, upper = (torch.tensor(column).median().item() for column in columns)
        ends = [f"{end:.2g}" if abs(end) < 1e-3 else f"{end:.4f}" for end in (lower, upper)]
        shown.append(f"{truth:.4f} in [{ends[0]}, {ends[1]}]".replace("nan", "-"))
    return [name, *shown]


def settings_of(keys: Sequence[str], n_agents: int) -> Iterator[tuple[str, games.PopulationGame]]:
    """The games asked for, by name: those of yaml files symmetric and as they are."""
    for key in keys:
        if key in HARDER:
            yield key, HARDER[key](n_agents)
            continue
        for symmetric, what in ((True, "spreads 0"), (False, "defaults")):
            yield f"{key}, {what}", make_game(key, n_agents=n_agents, symmetric=symmetric)


def main(words: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=100, help="of each setting")
    parser.add_argument("--games", nargs="+", choices=(*GAMES, *HARDER), default=GAMES)
    parser.add_argument("--n-agents", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--policy-seed", type=int, default=None, help="one policy for all; else one each")
    parser.add_argument("--scale", type=float, default=1.0, help="standard deviation of the policies' logits")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    covered, widths = [], []
    for name, game in settings_of(options.games, options.n_agents):
        setting = repeat(
            game,
            repetitions=options.repetitions,
            n_episodes=options.episodes,
            policy_seed=options.policy_seed,
            scale=options.scale,
        )
        seconds = torch.tensor(setting.seconds)
        told = f"{seconds.median():.1f} (at most {seconds.max():.1f})"
        for quantity in ("alpha", "beta"):
            outcomes = getattr(setting, quantity)
            covered.append([*coverage_row(f"{name}: {quantity}", outcomes), told])
            widths.append(width_row(f"{name}: {quantity}", outcomes))
    print(markdown(["covered", "rms, cells", *PARTS, "s an estimate"], covered))
    print(markdown(["median truth in [lower, upper]", *PARTS], widths))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
