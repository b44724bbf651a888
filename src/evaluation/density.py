"""Where the agents of a game with a map are, step by step, as some policy plays it."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..functional.distributions import count_values
from ..games import Game
from ..runners.seeding import isolated_randomness
from .playing import Choose, play

AGENT_STEPS_AT_ONCE = 2**20  # agents of all episodes that are played side by side
FULLEST = "on the fullest tile"


class Crowd(NamedTuple):
    """Means over the episodes in which some policy was watched.

    Attributes:
        label: of the policy.
        densities: share of the agents on every tile of the map, [H + 1, rows, columns].
        shares: shares of the agents over time, by name: [H + 1] each on the fullest tile, [H] each what the
            game tallies of its steps.
        mean_return: mean over agents, reward summed over the horizon.
    """

    label: str
    densities: NDArray[np.float64]
    shares: dict[str, NDArray[np.float64]]
    mean_return: float


@torch.no_grad()
def watch(game: Game, choose: Choose, *, label: str, n_episodes: int, seed: int) -> Crowd:
    """Play some episodes and count who is where.

    Args:
        game: with a map.
        choose: how all agents act.
        label: what to call them.
        n_episodes: to play.
        seed: of all draws.
    """
    counts = torch.zeros(game.horizon + 1, game.n_places, dtype=torch.float64, device=game.device)
    shares = {FULLEST: torch.zeros(game.horizon + 1, dtype=torch.float64, device=game.device)}
    total = 0.0

    def see(h: int, states: Tensor) -> None:
        population = count_values(game.places(states), game.n_places).double() / game.n_agents  # [B, K]
        counts[h] += population.sum(0)
        shares[FULLEST][h] += game.on_map(population).flatten(1).amax(1).sum()

    at_once = max(1, AGENT_STEPS_AT_ONCE // game.n_agents)
    for k, episodes in enumerate(torch.arange(n_episodes).split(at_once)):
        with isolated_randomness(game, (seed, k)):
            for step in play(game, choose, batch_size=len(episodes)):
                see(step.h, step.states)
                total += step.rewards.double().sum().item()
                for name, who in game.tallies(step.states, step.actions, step.next_states).items():
                    series = shares.setdefault(name, torch.zeros_like(shares[FULLEST][1:]))
                    series[step.h] += who.double().mean(1).sum()
            see(game.horizon, step.next_states)
    return Crowd(
        label=label,
        densities=game.on_map(counts / n_episodes).cpu().numpy(),
        shares={name: (series / n_episodes).cpu().numpy() for name, series in shares.items()},
        mean_return=total / (n_episodes * game.n_agents),
    )
