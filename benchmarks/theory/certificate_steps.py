"""The certificate step by step: measured e_h and d_h beside their bounds, and what 2B is made of.

    python benchmarks/theory/certificate_steps.py [--episodes 1600] [--agents 4,20,1000]
                                                  [--out results/theory] [--quick]

All play a random policy but the first agent, who plays the best response to its mean-field flow. e_h is the
l1 distance of the population that this agent meets from the flow, d_h that of the law of its own state and
action (functional/bounds.py). With 4 agents both are enumerated on a_sis and a_rps; elsewhere they are
estimated from episodes, d_h so that it is not above the truth on average. The last table has no samples in
it: 2B by source, and by the first recursion alone. Half a minute on one core.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import common
import torch
from common import make_game, markdown, shown
from enumeration import JointGame
from measured_steps import Steps, exact_steps, sampled_steps
from pictures import write
from torch import Tensor

from mf_pmd.evaluation.figures import plt
from mf_pmd.evaluation.plots import PALETTE
from mf_pmd.functional.best_response import best_response
from mf_pmd.functional.bounds import Certificate, certificate
from mf_pmd.functional.mean_field import mean_field_flow, tabular_policy

KEYS = ("a_sis", "a_rps", "a_beach")
MOST_ENUMERATED = 100  # joint states
SHOWN = (0, 1, 2, 4, 9, 19)  # steps in the table
ROUNDING = 1e-12
SIGMAS = 4.0  # standard errors above a bound from which it counts as broken
SYMMETRIES = {
    "a_beach symmetric": ("a_beach", {"eps": 0.0, "eps_beta": 0.0}),
    "a_beach mild": ("a_beach", {"eps": 0.005, "eps_beta": 0.025}),
    "a_beach default": ("a_beach", {}),
    "a_rps symmetric": ("a_rps", {"eps": 0.0}),
    "a_rps mild": ("a_rps", {"eps": 0.0176}),
    "a_rps default": ("a_rps", {}),
    "a_sis symmetric": ("a_sis", {"eps": 0.0, "eps_beta": 0.0}),
    "a_sis default": ("a_sis", {}),
}


class Walk(NamedTuple):
    """Attributes:
    key, n_agents: of the game.
    how: ``enumerated`` | ``sampled``.
    measured: e_h and d_h.
    bound: theirs.
    """

    key: str
    n_agents: int
    how: str
    measured: Steps
    bound: Certificate

    @property
    def holds(self) -> bool:
        """Whether nothing that was measured lies above its bound."""
        steps, bound = self.measured, self.bound
        population = steps.population - SIGMAS * steps.population_error - bound.population_error
        law = steps.law - SIGMAS * steps.law_error - bound.law_error
        return bool((torch.cat([population, law]) <= 1e-6).all())


def certified(game: Any, *, coupled: bool = True) -> Certificate:
    """By the closed-form constants of a game."""
    known = game.constants._asdict()
    del known["monotone"]
    sizes = {"n_agents": game.n_agents, "n_cells": game.n_states * game.n_actions, "horizon": game.horizon}
    return certificate(**known, **sizes, coupled=coupled)


def walk(key: str, n_agents: int, *, n_episodes: int) -> Walk:
    """e_h and d_h of one game under a random policy and the best response to it."""
    game = make_game(key, n_agents=n_agents, seed=1)
    policy = random_policy(game)
    flow = mean_field_flow(game.mean_field_model(), tabular_policy(policy))
    actions = best_response(flow.transition, flow.reward).actions
    deviation = torch.nn.functional.one_hot(actions, game.n_actions).double()
    if game.n_states**n_agents <= MOST_ENUMERATED:
        measured = exact_steps(JointGame(game), policy, deviation, agent=0)
        return Walk(key, n_agents, "enumerated", measured, certified(game))
    torch.manual_seed(1)
    measured = sampled_steps(game, policy, deviation, n_episodes=n_episodes)
    return Walk(key, n_agents, "sampled", measured, certified(game))


def random_policy(game: Any) -> Tensor:
    """Softmax of normal logits with standard deviation 2, [H, S, A] float64; the same for every N."""
    shape = (game.horizon, game.n_states, game.n_actions)
    logits = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.softmax(logits, -1)


def print_walks(walks: Sequence[Walk]) -> None:
    """A row a game, N and step."""
    rows = []
    for found in walks:
        steps, bound = found.measured, found.bound
        for h in (h for h in SHOWN if h < len(steps.law)):
            cells = (
                told(steps.population[h], steps.population_error[h]),
                shown(bound.population_error[h].item()),
                told(steps.law[h], steps.law_error[h]),
                shown(bound.law_error[h].item()),
            )
            rows.append([found.key, str(found.n_agents), found.how, str(h), *cells])
    print(markdown(["game", "N", "how", "h", "e_h", "bound", "d_h", "bound"], rows), end="\n\n")


def told(value: Tensor, error: Tensor) -> str:
    """A number, its standard error if it was sampled, 0 for rounding."""
    return shown(0.0 if abs(value) < ROUNDING else value.item(), error.item() or None)


def print_sources(sizes: Sequence[int]) -> None:
    """2B by source, at the settings of SYMMETRIES."""
    rows = []
    for name, (key, changes) in SYMMETRIES.items():
        for n_agents in sizes:
            game = make_game(key, n_agents=n_agents, **changes)
            found, first = certified(game), certified(game, coupled=False)
            parts = [shown(2 * part) for part in found.terms]
            verdict = "vacuous" if found.vacuous(0.0) else f"of {game.horizon}"
            totals = [shown(first.nash_gap(0.0)), shown(found.nash_gap(0.0)), verdict]
            rows.append([name, str(n_agents), *parts, *totals])
    head = ["game", "N", "sampling", "exchange", "alpha", "beta", "first recursion alone", "2B", ""]
    print(markdown(head, rows), end="\n\n")


def draw(walks: Sequence[Walk]) -> Any:
    """A column a game: e_h above, d_h below; lines are bounds, points measured with two standard errors."""
    keys = list(dict.fromkeys(found.key for found in walks))
    sizes = list(dict.fromkeys(found.n_agents for found in walks))
    figure, axes = plt.subplots(
        2, len(keys), figsize=(4.2 * len(keys), 5.6), squeeze=False, sharex="col", layout="constrained"
    )
    for found in walks:
        column, colour = keys.index(found.key), PALETTE[sizes.index(found.n_agents) % len(PALETTE)]
        steps, bound = found.measured, found.bound
        for panel, bounds, values, errors in (
            (axes[0, column], bound.population_error, steps.population, steps.population_error),
            (axes[1, column], bound.law_error, steps.law, steps.law_error),
        ):
            place = range(len(bounds))
            panel.plot(place, bounds, color=colour, linewidth=1.2, label=f"N = {found.n_agents}")
            panel.errorbar(place, values, 2 * errors, fmt="o", color=colour, markersize=3, linewidth=0.8)
            panel.set_ylim(-0.15, 2.15)  # no two laws are further apart than 2
            panel.grid(True, linewidth=0.3)
            panel.tick_params(labelsize=8)
    for column, key in enumerate(keys):
        axes[0, column].set_title(key, fontsize=10)
        axes[1, column].set_xlabel("h, environment steps", fontsize=8)
        axes[1, column].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("e_h, population met from the flow, l1", fontsize=8)
    axes[1, 0].set_ylabel("d_h, own law from its law in the flow, l1", fontsize=8)
    axes[0, 0].legend(fontsize=7, title="lines: bounds; points: measured", title_fontsize=7)
    return figure


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables and draw the figure; 1 if a bound is broken."""
    options = common.options_of(
        __doc__,
        words,
        episodes=(1600, 20, "episodes where it is sampled"),
        agents=((4, 20, 1000), (4, 8), "N of the steps"),
        sizes=((100, 1000, 10_000, 100_000), (100,), "N of the table of sources"),
    )
    walks = [walk(key, n_agents, n_episodes=options.episodes) for key in KEYS for n_agents in options.agents]
    print_walks(walks)
    print_sources(options.sizes)
    write(draw(walks), options.out / "certificate_steps.png")
    broken = [f"{found.key} at N = {found.n_agents}" for found in walks if not found.holds]
    if broken:
        print(f"measured above its bound: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
