"""The policy of those who deviate, and its critic: one network each, told the personal parameter."""

import math

import torch
from torch import Tensor

from ...functional.distributions import count_values
from ...games import Game
from ...modules.observation_network import ObservationNetwork

HARMONICS = 8  # cosines of the time, so that what is worth doing may change within a sixteenth of the horizon


class Deviators(torch.nn.Module):
    """pi(a | x, u) proportional to pi_0(a | x) exp(f(x, u)_a), with the critic V(x, u).

    The network f starts at 0, so that deviators start at pi_0, whatever that is: what the others play, or
    the uniform policy. One network that is told u serves all types: what pays for u = +1 mostly pays for
    u = -1 too, and each learns from the other's steps.

    Args:
        game: whose agents deviate.
        hidden_dim: width of both networks.
        sees_population: whether they see more than theory grants a deviator, see ``see``.
    """

    def __init__(self, game: Game, *, hidden_dim: int, sees_population: bool) -> None:
        super().__init__()
        self.sees_population = sees_population
        n_features = n_inputs(game, sees_population=sees_population)

        def network(n_outputs: int) -> ObservationNetwork:
            return ObservationNetwork(
                n_features=n_features, n_outputs=n_outputs, n_agents=game.n_agents, hidden_dim=hidden_dim
            )

        self.policy, self.critic = network(game.n_actions), network(1)

    def log_policy(self, inputs: Tensor, start: Tensor) -> Tensor:
        """log pi: inputs [..., k, F] and log pi_0 [..., k, A] -> [..., k, A]."""
        return torch.log_softmax(start + self.policy(inputs, embedding=None, agents=None), -1)

    def values(self, inputs: Tensor) -> Tensor:
        """V in the critic's units: inputs [..., k, F] -> [..., k]."""
        return self.critic(inputs, embedding=None, agents=None).squeeze(-1)


def n_inputs(game: Game, *, sees_population: bool) -> int:
    """F: the game's features, the places' shares if they are shown, the cosines of the time and u."""
    return game.n_features + shown_places(game, sees_population=sees_population) + HARMONICS + 1


def shown_places(game: Game, *, sees_population: bool) -> int:
    """Places whose shares are shown besides the game's features: none where they hold the population."""
    return game.n_places if sees_population and game.n_states is None else 0


def see(game: Game, h: int, states: Tensor, who: Tensor, *, sees_population: bool) -> Tensor:
    """What some agents see, and who they are: states [B, N] and agents [B, k] -> [B, k, F].

    The own local state, the time and the own personal parameter: a deviation is a policy pi_h(a | s)
    (Yardim & He 2025, Sec. 2), and exploitability is what the best of those gains. Features that tell of the
    population tell of an even one then. With ``sees_population`` they tell of the realised one, and where
    states are packed so do the shares of all places (1 is the even share): a wider class, whose gain may be
    above 0 at an equilibrium.
    """
    population = shown_population(game, states, realised=sees_population)
    features = features_at(game, h, states.gather(1, who), population)
    n_shown = shown_places(game, sees_population=sees_population)
    shares = (population * game.n_places)[:, :n_shown].unsqueeze(1)
    times = torch.arange(1, HARMONICS + 1, device=states.device) * (math.pi * h / game.horizon)
    shared = (shares, times.cos().expand(1, 1, -1))
    expanded = [part.expand(*who.shape, part.shape[-1]) for part in shared]
    return torch.cat([features, *expanded, game.personal[who].unsqueeze(-1)], -1)


def shown_population(game: Game, states: Tensor, *, realised: bool) -> Tensor:
    """The distribution of all agents over the places, or the even one: states [B, N] -> [B, K]."""
    if realised:
        return count_values(game.places(states), game.n_places) / game.n_agents
    return torch.full((len(states), game.n_places), 1 / game.n_places, device=states.device)


def features_at(game: Game, h: int, own: Tensor, population: Tensor) -> Tensor:
    """The game's features of agents in local states [B, k], shown a population [B, K]: [B, k, F]."""
    progress = torch.full_like(population[:, 0], h / game.horizon)
    return game.features(game.parts(own), population, progress)
