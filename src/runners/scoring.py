"""The score of whatever plays a population game in test mode."""

from typing import Any

import torch
from torch import Tensor

from ..functional.exploitability import mean_field_exploitability
from ..functional.mean_field import tabular_policy
from ..games import PopulationGame
from .deviations import DeviationScore


class TestScore:
    """Accumulates test episodes and scores them.

    Args:
        game: with tables, on whose device everything is counted.
    """

    __test__ = False  # not a test case, whatever pytest makes of its name

    def __init__(self, game: PopulationGame) -> None:
        self.game = game
        shape = (game.horizon, game.n_states, game.n_actions)
        self.action_counts = torch.zeros(shape, dtype=torch.float64, device=game.device)
        self.deviations = DeviationScore(game)
        self.populations = torch.zeros(
            game.horizon + 1, game.n_states, dtype=torch.float64, device=game.device
        )
        self.episode_returns: list[Tensor] = []

    def add_population(self, t: int, population: Tensor) -> None:
        """Add nu_t [B, S] of B episodes."""
        self.populations[t] += population.sum(0)

    def add_actions(self, t: int, states: Tensor, actions: Tensor) -> None:
        """Add what all agents did at step t: [B, N] int64 each."""
        counts = self.deviations.add_actions(t, states, actions)  # [B, S, A]
        self.action_counts[t] += counts.sum(0)

    def add_returns(self, returns: Tensor) -> None:
        """Add the returns of all agents of B episodes, [B, N]."""
        self.episode_returns.append(returns.mean(1))

    def returns(self) -> Tensor:
        """Mean return over agents, of every episode."""
        return torch.cat(self.episode_returns)

    def population(self) -> Tensor:
        """Mean empirical distribution of the local states, nu [H + 1, S]."""
        return self.populations / self.populations.sum(-1, keepdim=True)

    def average_policy(self) -> Tensor:
        """The population-average policy E#(h, s, a) / E#(h, s), [H, S, A]; uniform where nobody was."""
        visits = self.action_counts.sum(-1, keepdim=True)
        rows = self.action_counts / visits.clamp(min=1)
        return torch.where(visits > 0, rows, 1.0 / self.game.n_actions)

    def visited_share(self) -> float:
        """Share of the rows (h, s) in which somebody acted."""
        return (self.action_counts.sum(-1) > 0).double().mean().item()

    def exploitabilities(self, mac: Any) -> dict[str, float]:
        """Exploitabilities, in reward units summed over the horizon.

        ``mean_field_exploitability`` (Yardim & He 2025, Def. 5) is that of the population-average
        policy that was seen to play; controllers that tell their policies (``scored_policies``) get
        each of them scored exactly, along its own flow, as ``mean_field_exploitability_<name>``. The
        N-player ones are ``DeviationScore``'s.
        """
        model = self.game.mean_field_model()
        policies = {"": tabular_policy(self.average_policy())}
        if hasattr(mac, "scored_policies"):
            policies |= {f"_{name}": policy for name, policy in mac.scored_policies().items()}
        scores = {
            f"mean_field_exploitability{suffix}": mean_field_exploitability(model, policy).item()
            for suffix, policy in policies.items()
        }
        return scores | self.deviations.scores() | {"visited_share": self.visited_share()}
