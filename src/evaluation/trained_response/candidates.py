"""Which of the iterates of a training is taken: episodes decide that nothing learns from or measures."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...games import Game
from ...runners.seeding import isolated_randomness
from .deviators import Deviators
from .episodes import Frozen, play_deviating
from .intervals import interval
from .plan import VALIDATION, Plan
from .types import draw_distinct

FEWEST_EPISODES = 8


class Candidate(NamedTuple):
    """Attributes:
    deviators: as they were at some point of training.
    after: steps that they had taken.
    greedy: whether they take the likeliest action.
    """

    deviators: Deviators
    after: int
    greedy: bool = False


def best_candidate(
    game: Game, frozen: Frozen, candidates: list[Candidate], plan: Plan, *, n_steps: int, seed: int
) -> Candidate:
    """The last candidate, or an earlier one that gets significantly more; by likeliest or sampled actions.

    All play the same episodes. Of each candidate the better way to act is taken; of the earlier ones the best
    of those whose return is above that of the last by the lower ends of paired differences, which hold for
    all at once. So noise rarely takes less learnt deviators, and a training that collapsed costs little.

    Args:
        game, frozen, plan: as in training.
        candidates: in the order of training.
        n_steps: of deviators that validate a candidate, rounded up to batches and to eight episodes.
        seed: that of training; the streams are others.
    """
    found = []
    for candidate in candidates:
        ways = [candidate._replace(greedy=greedy) for greedy in (False, True)]
        returns = [validate(game, frozen, way, plan, n_steps=n_steps, seed=seed) for way in ways]
        better = int(returns[1].mean() > returns[0].mean())
        found.append((ways[better], returns[better]))
    best, least = found[-1], 0.0
    for earlier in found[:-1]:
        lower = interval(earlier[1] - found[-1][1], tests=len(found) - 1).lower
        if lower > least:
            best, least = earlier, lower
    return best[0]


@torch.no_grad()
def validate(
    game: Game, frozen: Frozen, candidate: Candidate, plan: Plan, *, n_steps: int, seed: int
) -> Tensor:
    """Mean return of the deviators of each episode, [E] float64 reward units."""
    n_batches = max(
        -(-n_steps // (plan.batch_size * plan.k * game.horizon)), -(-FEWEST_EPISODES // plan.batch_size)
    )
    means = []
    for m in range(n_batches):
        with isolated_randomness(game, (seed, VALIDATION, m)):
            who = draw_distinct(plan.batch_size, game.n_agents, plan.k, device=game.device)
            _, returns = play_deviating(game, frozen, candidate.deviators, who, greedy=candidate.greedy)
        means.append(returns.gather(1, who).mean(1))
    return torch.cat(means)
