"""What trained deviators gain, one an episode, in episodes that training never saw."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...games import Game
from ...runners.seeding import isolated_randomness
from ..playing import Choose, play
from .episodes import Frozen, play_deviating
from .intervals import Interval, interval
from .plan import AGENTS_AT_ONCE, MEASURING
from .training import Response
from .types import Types, draw_one

FEWEST_EPISODES = 8


class Gains(NamedTuple):
    """Attributes:
    types: what the deviator of each type gains, [G].
    mean: the mean over agents, types weighted by their shares.
    largest: of the type whose end is the highest of ends that hold for all types at once: that end, its
        mean and its own upper end. Only the end bounds anything: type and mean were selected by it.
    worst: the number of that type.
    returns: what agents of each type get when nobody deviates, [G].
    deviators_returns: what their deviator gets, [G].
    deviators_return: the mean of that over agents.
    n_episodes: each with and without the deviator of each type.
    """

    types: list[Interval]
    mean: Interval
    largest: Interval
    worst: int
    returns: list[float]
    deviators_returns: list[float]
    deviators_return: float
    n_episodes: int


def measure(
    game: Game, frozen: Frozen, response: Response, types: Types, *, n_episodes: int, seed: int
) -> Gains:
    """Play episodes twice, as they are and with one deviator of each type, from the same random streams.

    The deviator is drawn uniformly from its type, so that its gain is the mean over the type's agents. As
    J^i(g, pi^-i) <= max_g' J^i(g', pi^-i), the lower ends are lower bounds of the exploitability, up to their
    confidence, if g is a policy of the own state and the time; g was found in other episodes.

    Args:
        game, frozen, types: as in training.
        response: what training found.
        n_episodes: at least 8.
        seed: that of training; the streams are others.
    """
    with_it: list[Tensor] = []
    without: list[Tensor] = []
    at_once = max(1, AGENTS_AT_ONCE // game.n_agents)
    for k, part in enumerate(torch.arange(n_episodes).split(at_once)):
        key = (seed, MEASURING, k)
        with isolated_randomness(game, key):
            undisturbed = returns_of(game, frozen.choose, len(part))
        pairs = [
            one_deviates(game, frozen, response, undisturbed, types.members(g), key=(*key, g + 1))
            for g in range(len(types.shares))
        ]
        with_it.append(torch.stack([pair[0] for pair in pairs], 1))
        without.append(torch.stack([pair[1] for pair in pairs], 1))
    return gains_of(torch.cat(with_it), torch.cat(without), types.shares)


def returns_of(game: Game, choose: Choose, batch_size: int) -> Tensor:
    """Everyone's returns in some episodes in which nobody deviates, [B, N] float64."""
    returns = torch.zeros(batch_size, game.n_agents, dtype=torch.float64, device=game.device)
    for step in play(game, choose, batch_size=batch_size):
        returns += step.rewards
    return returns


def one_deviates(
    game: Game,
    frozen: Frozen,
    response: Response,
    undisturbed: Tensor,
    members: Tensor,
    *,
    key: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """Returns of one deviator an episode, and of the same agent in the same episode without, [B] each.

    Args:
        undisturbed: returns of the episodes without, [B, N], which began with the streams ``key[:-1]``.
        members: of whom one deviates.
        key: of the draw of the deviators; its last number is positive, for trailing zeros make no other key.
    """
    with isolated_randomness(game, key):
        who = draw_one(members, len(undisturbed))
    with isolated_randomness(game, key[:-1]):
        _, returns = play_deviating(game, frozen, response.deviators, who, greedy=response.greedy)
    return returns.gather(1, who).squeeze(1), undisturbed.gather(1, who).squeeze(1)


def gains_of(with_it: Tensor, without: Tensor, shares: Tensor) -> Gains:
    """Intervals of paired differences.

    Args:
        with_it: returns of each type's deviator, [B, G].
        without: of the same agents in the same episodes, nobody deviating, [B, G].
        shares: of the types, [G].
    """
    differences = with_it - without
    own = [interval(column) for column in differences.T]
    ends = [interval(column, tests=len(shares)).lower for column in differences.T]
    worst = max(range(len(ends)), key=ends.__getitem__)
    return Gains(
        types=own,
        mean=interval(differences @ shares.to(differences)),
        largest=own[worst]._replace(lower=ends[worst]),
        worst=worst,
        returns=without.mean(0).tolist(),
        deviators_returns=with_it.mean(0).tolist(),
        deviators_return=(with_it.mean(0) @ shares.to(with_it)).item(),
        n_episodes=len(differences),
    )
