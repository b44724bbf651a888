"""The policy of those who deviate, and its critic: one network each, told the personal parameter."""

import math

import torch
from torch import Tensor

from ...functional.distributions import count_values
from ...games import Game
from ...modules.observation_network import ObservationNetwork
from ..playing import observed

HARMONICS = 8  # cosines of the time, so that what is worth doing may change within a sixteenth of the horizon


class Deviators(torch.nn.Module):
    """pi(a | x, u) proportional to pi_0(a | x) exp(f(x, u)_a), with the critic V(x, u).

    The network f starts at 0, so that deviators start at pi_0, whatever that is: what the others play, or
    the uniform policy. One network that is told u serves all types: what pays for u = +1 mostly pays for
    u = -1 too, and each learns from the other's steps.

    Args:
        game: whose agents deviate.
        hidden_dim: width of both networks.
    """

    def __init__(self, game: Game, *, hidden_dim: int) -> None:
        super().__init__()

        def network(n_outputs: int) -> ObservationNetwork:
            return ObservationNetwork(
                n_features=n_inputs(game), n_outputs=n_outputs, n_agents=game.n_agents, hidden_dim=hidden_dim
            )

        self.policy, self.critic = network(game.n_actions), network(1)

    def log_policy(self, inputs: Tensor, start: Tensor) -> Tensor:
        """log pi: inputs [..., k, F] and log pi_0 [..., k, A] -> [..., k, A]."""
        return torch.log_softmax(start + self.policy(inputs, embedding=None, agents=None), -1)

    def values(self, inputs: Tensor) -> Tensor:
        """V in the critic's units: inputs [..., k, F] -> [..., k]."""
        return self.critic(inputs, embedding=None, agents=None).squeeze(-1)


def n_inputs(game: Game) -> int:
    """F: the game's features, the population, the cosines of the time and u."""
    return game.n_features + shown_places(game) + HARMONICS + 1


def shown_places(game: Game) -> int:
    """Places whose shares are shown besides the game's features: none where they hold the population."""
    return 0 if game.n_states is not None else game.n_places


def see(game: Game, h: int, states: Tensor, who: Tensor) -> Tensor:
    """What some agents see, and who they are: states [B, N] and agents [B, k] -> [B, k, F].

    More than the others may see: the distribution of all agents over the places (1 is the even share), the
    time, and the own personal parameter. A deviator may know all that.
    """
    features = observed(game, h, states, who)
    population = count_values(game.places(states), game.n_places) / game.n_agents  # [B, K]
    shares = (population * game.n_places)[:, : shown_places(game)].unsqueeze(1)
    times = torch.arange(1, HARMONICS + 1, device=states.device) * (math.pi * h / game.horizon)
    shared = (shares, times.cos().expand(1, 1, -1))
    expanded = [part.expand(*who.shape, part.shape[-1]) for part in shared]
    return torch.cat([features, *expanded, game.personal[who].unsqueeze(-1)], -1)
