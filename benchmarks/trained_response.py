"""How strong the trained best response is where the answer is known, and whether its bounds are bounds.

    python benchmarks/trained_response.py [--games taxi_lite,a_sis,a_rps,a_beach] [--agents 100] [--seeds 3]
                                          [--budget 400000] [--sees own_state] [--episodes 2000] [--cases 20]

First against the uniform policy of games with tables. *Gain by frozen flows* is the N-player exploitability
of ``runners/deviations.py``: what a deviation by backward induction on what agents of each type met gains in
episodes that it was not fitted to, with its interval, O(1/N) from the truth. Beside it are exact gains along
the mean-field flow, every type on its own kernels, and of u = 0. *Share* is what the trained deviator gains
of the first, point by point, and *at least* the lower end of what it gains over the upper end of that.

Then the closed forms of ``closed_forms.py``: how often the lower end is below the truth, as 98.75 % should
be. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from closed_forms import CASES, Case
from tables import markdown

from mf_pmd import games
from mf_pmd.evaluation.checkpoint import LearntPolicy
from mf_pmd.evaluation.judgement import by_frozen_flows
from mf_pmd.evaluation.playing import at_random
from mf_pmd.evaluation.trained_response import training_settings
from mf_pmd.evaluation.trained_response.episodes import frozen_policy
from mf_pmd.evaluation.trained_response.measuring import Gains, measure
from mf_pmd.evaluation.trained_response.settings import TrainingSettings
from mf_pmd.evaluation.trained_response.training import Response, train_response
from mf_pmd.evaluation.trained_response.types import types_of
from mf_pmd.evaluation.trained_response.verdict import compare, flatness
from mf_pmd.functional.best_response import best_response
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import MeanFieldModel, expected_return, mean_field_flow, uniform_policy
from mf_pmd.games import PopulationGame
from mf_pmd.runners.deviations import Verdict

CONFIG = Path(games.__file__).parents[1] / "config" / "envs"
GAMES = ("taxi_lite", "a_sis", "a_rps", "a_beach")
HEAD = [
    "game, N",
    "gain by frozen flows, mean",
    "along the mean-field flow",
    "the same, u = 0",
    "seed",
    "trained, mean",
    "share",
    "at least",
    "worst off, at least",
    "curve",
    "seconds",
]


class Trained(NamedTuple):
    """Attributes:
    gains: measured.
    response: what training found.
    """

    gains: Gains
    response: Response


def make(key: str, n_agents: int) -> PopulationGame:
    """A game with the defaults of its yaml, but for N."""
    env_args = yaml.safe_load((CONFIG / f"{key}.yaml").read_text(encoding="utf-8"))["env_args"]
    game = games.make(**{**env_args, "n_agents": n_agents})
    assert isinstance(game, PopulationGame), key
    return game


def along_the_mean_field(game: PopulationGame) -> float:
    """max_pi V^u(Lambda(uniform), pi) - V^u(Lambda(uniform), uniform), mean over the agents' u.

    The flow is that of the induced game (u = 0), the decision problem that of an agent with its own kernels.
    """
    policy = uniform_policy(game.n_states, game.n_actions)
    mu = mean_field_flow(game.mean_field_model(), policy).mu  # [H, S, A]
    steps = torch.arange(game.horizon)
    types = types_of(game)
    gain = 0.0
    for g, share in enumerate(types.shares.tolist()):
        u = game.personal[types.members(g)[0]].double()
        transition, reward = game.transition_at(steps, mu, u), game.reward_at(steps, mu, u)
        transition = transition.expand(*reward.shape, game.n_states)
        best = best_response(transition, reward).value @ game.initial_law
        own = MeanFieldModel(
            game.initial_law,
            game.horizon,
            lambda _, h, table=transition: table[h],
            lambda _, h, table=reward: table[h],
            time_dependent=True,
        )
        gain += share * (best - expected_return(mean_field_flow(own, policy))).item()
    return gain


def trained(
    game: PopulationGame,
    policy: LearntPolicy | None,
    settings: TrainingSettings,
    *,
    n_episodes: int,
    seed: int,
) -> Trained:
    """One training and its measurement."""
    frozen = frozen_policy(
        policy, game, start=settings.start, floor=settings.floor, sees_population=settings.sees_population
    )
    types = types_of(game)
    response = train_response(game, frozen, types, settings, seed=seed)
    return Trained(measure(game, frozen, response, types, n_episodes=n_episodes, seed=seed), response)


def share_row(
    key: str, known: Verdict, flows: tuple[float, float], found: Trained, seed: int, n_agents: int
) -> list[str]:
    """A row of the first table; ``flows`` are the gains along the mean-field flow, of all u and of u = 0."""
    gains = found.gains
    shares = compare(gains, known, shares_policy=True, n_episodes=0)
    return [
        f"{key}, {n_agents}",
        f"{known.mean.estimate:.3f} [{known.mean.lower:.3f}, {known.mean.upper:.3f}]",
        *(f"{flow:.3f}" for flow in flows),
        str(seed),
        f"{gains.mean.mean:.3f} [{gains.mean.lower:.3f}, {gains.mean.upper:.3f}]",
        f"{shares.mean_share:.1%}",
        f"{shares.mean_at_least:.1%}",
        f"{shares.largest_at_least:.1%}",
        flatness(found.response.curve).verdict,
        f"{found.response.seconds:.0f}",
    ]


def covered(
    case: Case, settings: TrainingSettings, *, n_agents: int, n_episodes: int, seeds: int
) -> list[str]:
    """How often the bounds are below a closed form, and how far: a row of the second table but its name."""
    table, truth = case.policy().float(), case.truth(n_agents)
    below, ends, means = 0, [], []
    for seed in range(seeds):
        game = case.game(n_agents, seed)
        sizes = {"horizon": 2, "n_states": game.n_states, "n_actions": game.n_actions}
        found = trained(
            game, LearntPolicy("known", table, **sizes), settings, n_episodes=n_episodes, seed=seed
        )
        below += found.gains.mean.lower <= truth
        ends.append(found.gains.mean.lower)
        means.append(found.gains.mean.mean)
    return [
        str(n_agents),
        f"{truth:.4f}",
        f"{statistics.median(means):.4f}",
        f"{statistics.median(ends):.4f}",
        f"{below} of {seeds}",
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--games", default="taxi_lite,a_sis,a_rps,a_beach", help="with tables; empty for none"
    )
    parser.add_argument("--agents", type=int, default=100, help="N of these games")
    parser.add_argument("--seeds", type=int, default=3, help="of each game")
    parser.add_argument("--budget", type=int, default=400_000, help="steps of deviators in training")
    parser.add_argument("--sees", default="own_state", help="of the deviators: own_state | population")
    parser.add_argument("--episodes", type=int, default=2000, help="that measure a gain")
    parser.add_argument("--flows", type=int, default=200, help="episodes whose frozen flows are the answer")
    parser.add_argument("--cases", type=int, default=20, help="seeds of each closed form")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    settings = training_settings(budget=options.budget, sees=options.sees)
    rows = []
    for key in filter(None, options.games.split(",")):
        game = make(key, options.agents)
        known = by_frozen_flows(game, at_random(game), individual=False, n_episodes=options.flows, seed=0)
        at_zero = mean_field_exploitability(
            game.mean_field_model(), uniform_policy(game.n_states, game.n_actions)
        )
        flows = along_the_mean_field(game), at_zero.item()
        for seed in range(1, options.seeds + 1):
            found = trained(game, None, settings, n_episodes=options.episodes, seed=seed)
            rows.append(share_row(key, known, flows, found, seed, options.agents))
            print(" ".join(rows[-1]), flush=True)
    if rows:
        print(markdown(HEAD, rows), flush=True)
    small = replace(settings, budget=20_480, batch_steps=1024, validation=1024)
    rows = []
    for name, case in CASES.items() if options.cases else ():
        for n_agents in (5, 20, 100):
            told = covered(case, small, n_agents=n_agents, n_episodes=options.episodes, seeds=options.cases)
            rows.append([name, *told])
    if rows:
        print(markdown(["closed form", "N", "truth", "trained, median", "at least", "below"], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
