"""The error of TD learning against M, N, alpha and beta (Yardim & He 2025, Thm 11).

    python benchmarks/theory/td_error.py [--seeds 16] [--episodes 10000] [--out results/theory] [--quick]

sum_h E |Q^M_h - Q^{tau,pi}_h|^2_{mu_h} <= O(1/M + 1/N + alpha^2 + beta^2). Agents play the games, pi is one
fixed random policy, Q^{tau,pi} and mu_h are exact (backward induction along the flow of the induced game).
*Alg. 1* is the paper's form: agent 1 alone, SARSA, all steps at once, its learning rate. *Pooled* is the
default here: all agents and episodes in one backward sweep. The *floor* is |E Q^M - Q|^2, what more seeds
would not average away, estimated over seeds without the sampling error in it; *limit* is what it tends to as
M and N grow, exactly. Slopes are fitted to the points that lie two standard errors above 0; errors are over
seeds. Three to six minutes on one core.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import common
import torch
from common import make_game
from pictures import Line, panels, report, write
from slopes import squared_bias, squared_error
from special_games import CapacityGame, OneSided
from td_learning import (
    Maker,
    algorithm_one,
    differences,
    exact_q,
    limit_q,
    play_episodes,
    pooled_td,
    random_policy,
)
from torch import Tensor

from mf_pmd.games import PopulationGame

TAU = 0.015
HORIZON = 5  # values travel one step back an episode: the longer, the later the rate is seen
SETTLED = 0.03  # of the episodes: the slope of Alg. 1 in M is fitted beyond, where values have travelled
SPREAD = 0.5  # of the policy's logits: the rarest cell must not be too rare for Alg. 1
SPREADS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the largest alpha or beta
WIDE_BEACH = {"n_sites": 5, "c1": 0.2, "c2": 0.1, "c3": 0.35, "noise": 0.4}  # alpha up to .8, beta up to .35


class Learnt(NamedTuple):
    """Differences sqrt(mu) (Q - Q^{tau,pi}) of what was learnt, [R, K, D], and of the limits, [1, 1, D]."""

    one: Tensor
    pooled: Tensor
    limit_one: Tensor
    limit_pooled: Tensor


def learn(make: Maker, *, counts: Sequence[int], seeds: int) -> Learnt:
    """Play, learn both ways, compare with what is exact."""
    game = make(0)
    spread = 0.0 if isinstance(game, CapacityGame) else SPREAD  # its kink is where the uniform policy leads
    policy = random_policy(game, spread=spread)
    exact = exact_q(game, policy, tau=TAU)
    delta = exact.mu[exact.mu > 0].min().item()
    episodes = play_episodes(make, policy, counts=counts, seeds=seeds)
    one = algorithm_one(episodes, policy, tau=TAU, delta=delta, counts=counts)
    limits = (q_values[None, None] for q_values in limit_q(game, policy, tau=TAU))
    tables = (one, pooled_td(episodes, policy, tau=TAU), *limits)
    return Learnt(*(differences(q_values, exact) for q_values in tables))


def at_several(makers: Sequence[Maker], *, episodes: int, seeds: int) -> Learnt:
    """One learning of M episodes for each game; the places are the games."""
    found = [learn(make, counts=(episodes,), seeds=seeds) for make in makers]
    return Learnt(*(torch.cat(parts, 1) for parts in zip(*found, strict=True)))


def against_episodes(options) -> list[Line]:
    """Error against M at a large N: a symmetric game, and the same with its asymmetries."""
    counts = [m for m in (10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000) if m <= options.episodes]
    late = [m >= SETTLED * max(counts) for m in counts]
    lines = []
    for name, changes in (("symmetric", {"eps": 0.0, "eps_beta": 0.0}), ("default", {})):
        found = learn(
            partial(_game, "a_sis", n_agents=options.agents, **changes), counts=counts, seeds=options.seeds
        )
        shared = {"x": counts, "law": -1.0 if name == "symmetric" else None, "statistic": squared_error}
        limits = [
            [squared_error(limit).item()] * len(counts) for limit in (found.limit_one, found.limit_pooled)
        ]
        lines += [
            Line(f"{name}, Alg. 1", samples=found.one, among=late, limits=limits[0], **shared),
            Line(f"{name}, pooled", samples=found.pooled, limits=limits[1], marker="s", **shared),
        ]
    return lines


def against_agents(options) -> list[Line]:
    """Floor, and error of Alg. 1, against N at a large M, in symmetric games."""
    place = {"x": options.sizes, "law": -1.0}
    budget = {"episodes": options.episodes, "seeds": options.seeds}
    kinked = [partial(_capacity, n) for n in options.sizes]
    smooth = [partial(_game, "a_sis", n_agents=n, eps=0.0, eps_beta=0.0) for n in options.sizes]
    found, found_smooth = at_several(kinked, **budget), at_several(smooth, **budget)
    return [
        Line("kinked, Alg. 1: error", samples=found.one, statistic=squared_error, **place),
        Line("kinked, pooled: floor", samples=found.pooled, statistic=squared_bias, marker="s", **place),
        Line(
            "a_sis, pooled: floor", samples=found_smooth.pooled, statistic=squared_bias, marker="^", **place
        ),
    ]


def against_asymmetry(options, which: str) -> list[Line]:
    """Floor against alpha or beta, the other being 0."""
    spreads = SPREADS[-3:] if options.quick else SPREADS
    largest = {"eps": WIDE_BEACH["noise"], "eps_beta": 1.0}[which]
    changes = [{"eps": 0.0, "eps_beta": 0.0, which: share * largest} for share in spreads]
    constants = [_game("a_beach", 0, n_agents=4, **WIDE_BEACH, **change).constants for change in changes]
    makers = [partial(_game, "a_beach", n_agents=options.few, **WIDE_BEACH, **change) for change in changes]
    found = at_several(makers, episodes=options.episodes, seeds=options.seeds)
    one_sided = at_several(
        [partial(_one_sided, make) for make in makers],
        episodes=max(10, options.episodes // 10),
        seeds=options.seeds,
    )
    shared = {
        "x": [known.alpha if which == "eps" else known.beta for known in constants],
        "law": 2.0,
        "statistic": squared_bias,
    }
    return [
        Line(label, samples=samples, limits=squared_error(limit).tolist(), marker=marker, **shared)
        for label, samples, limit, marker in (
            ("Alg. 1: floor", found.one, found.limit_one, "o"),
            ("pooled: floor", found.pooled, found.limit_pooled, "s"),
            ("pooled, all u = +1: floor", one_sided.pooled, one_sided.limit_pooled, "^"),
        )
    ]


def _capacity(n_agents: int, seed: int) -> CapacityGame:
    return CapacityGame(n_agents=n_agents, horizon=HORIZON, seed=seed)


def _game(key: str, seed: int, **changes) -> PopulationGame:
    return make_game(key, seed=seed, horizon=HORIZON, **changes)


def _one_sided(make: Maker, seed: int) -> OneSided:
    game = make(seed)
    return OneSided(game, torch.ones(game.n_agents), seed=seed)


def main(words: Sequence[str] | None = None) -> int:
    """Print both tables and draw the figure."""
    options = common.options_of(
        __doc__,
        words,
        seeds=(16, 3, "seeds, each a run of its own"),
        episodes=(10_000, 30, "M, episodes at most"),
        agents=(500, 10, "N of the panel against M"),
        few=(100, 10, "N of the panels against alpha and beta"),
        sizes=((4, 8, 16, 32, 64, 128, 256), (4, 8), "N of the panel against N"),
    )
    figure, axes = panels(4)
    for panel, measure, title, x in (
        (axes[0], against_episodes, f"a_sis against M, N = {options.agents}", "M, episodes"),
        (axes[1], against_agents, f"against N, M = {options.episodes}", "N, agents"),
        (axes[2], partial(against_asymmetry, which="eps"), "a_beach against alpha, beta = 0", "alpha"),
        (axes[3], partial(against_asymmetry, which="eps_beta"), "a_beach against beta, alpha = 0", "beta"),
    ):
        report(panel, measure(options), title=title, x=x, y="squared error, reward units²", theorem="Thm 11")
    write(figure, options.out / "td_error.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
