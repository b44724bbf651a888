"""The score of whatever plays a population game in test mode."""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.checks import NotAPolicyError
from ..functional.distributions import count_values
from ..functional.exploitability import mean_field_exploitability
from ..functional.mean_field import tabular_policy, uniform_policy
from ..games import Game, solvable
from .deviations import MOST_ENTRIES, DeviationScore


class TestScore:
    """Accumulates test episodes and scores them.

    A game without tables has its returns counted and nothing solved; one whose tables are too many for
    the N-player score is scored in the mean field alone.

    Args:
        game: on whose device everything is counted.
        individual: whether agents may have policies of their own.
        n_episodes: how many are going to come.
    """

    __test__ = False  # not a test case, whatever pytest makes of its name

    def __init__(self, game: Game, *, individual: bool = False, n_episodes: int = 1) -> None:
        self.game = game
        shape = (game.horizon, game.n_places, game.n_actions)
        self.action_counts = torch.zeros(shape, dtype=torch.float64, device=game.device)
        self.deviations: DeviationScore | None = None
        if solvable(game):
            deviations = DeviationScore(game, individual=individual, n_episodes=n_episodes)
            self.deviations = deviations if deviations.entries(n_episodes) <= MOST_ENTRIES else None
        self.populations = torch.zeros(
            game.horizon + 1, game.n_places, dtype=torch.float64, device=game.device
        )
        self.episode_returns: list[Tensor] = []

    def add_population(self, t: int, population: Tensor) -> None:
        """Add nu_t [B, S] of B episodes."""
        self.populations[t] += population.sum(0)

    def add_actions(self, t: int, places: Tensor, actions: Tensor) -> None:
        """Add what all agents did at step t, and where: [B, N] int64 each.

        Raises:
            UserError: an action that the game does not have.
        """
        low, high = actions.min().item(), actions.max().item()
        if low < 0 or high >= self.game.n_actions:
            raise UserError(
                f"an agent chose action {low if low < 0 else high}: "
                f"the game has actions 0 to {self.game.n_actions - 1}"
            )
        if self.deviations is not None:
            counts = self.deviations.add_actions(t, places, actions)  # [B, S, A]
        else:
            n_cells = self.game.n_places * self.game.n_actions
            counts = count_values(places * self.game.n_actions + actions, n_cells)
            counts = counts.reshape(-1, self.game.n_places, self.game.n_actions)
        self.action_counts[t] += counts.sum(0)

    def add_counts(self, t: int, counts: Tensor, references: Tensor) -> None:
        """``add_actions`` of a counted game.

        Args:
            t: the step.
            counts: by type and cell, [B, G, C] float64.
            references: cell of an agent of each type, the same one all episode, [B, G] int64.
        """
        self.action_counts[t] += counts.sum((0, 1)).reshape(self.action_counts[t].shape)
        if self.deviations is not None:
            self.deviations.add_counts(t, counts, references)

    def add_returns(self, returns: Tensor) -> None:
        """Add the returns of all agents of B episodes, [B, N]; of a counted game each type's mean, [B, G]."""
        self.episode_returns.append(mean_over_agents(self.game, returns))
        if self.deviations is not None:
            self.deviations.add_returns(returns)

    def returns(self) -> Tensor:
        """Mean return over agents, of every episode."""
        return torch.cat(self.episode_returns)

    def population(self) -> Tensor:
        """Mean empirical distribution of the places, nu [H + 1, K]."""
        return self.populations / self.populations.sum(-1, keepdim=True)

    def average_policy(self) -> Tensor:
        """The population-average policy E#(h, s, a) / E#(h, s), [H, S, A]; uniform where nobody was."""
        visits = self.action_counts.sum(-1, keepdim=True)
        rows = self.action_counts / visits.clamp(min=1)
        return torch.where(visits > 0, rows, 1.0 / self.game.n_actions)

    def visited_share(self) -> float:
        """Share of the rows (h, s) in which somebody acted."""
        return (self.action_counts.sum(-1) > 0).double().mean().item()

    def mean_field_exploitabilities(self, mac: Any) -> dict[str, float]:
        """Exact exploitabilities in the induced game, in reward units summed over the horizon.

        ``mean_field_exploitability`` (Yardim & He 2025, Def. 5) is that of the population-average
        policy that was seen to play; controllers that tell their policies (``scored_policies``) get
        each of them scored along its own flow, as ``mean_field_exploitability_<name>``. Nothing for a
        game without tables.

        Raises:
            UserError: a policy told is none (NaN, negative, or not summing to 1).
        """
        if not solvable(self.game):
            return {}
        model = self.game.mean_field_model()
        policies = {"": tabular_policy(self.average_policy())}
        if hasattr(mac, "scored_policies"):
            policies |= {f"_{name}": policy for name, policy in mac.scored_policies().items()}
        try:
            return {
                f"mean_field_exploitability{suffix}": mean_field_exploitability(model, policy).item()
                for suffix, policy in policies.items()
            }
        except NotAPolicyError as error:
            raise UserError(
                f"what {type(mac).__name__} tells of its policies cannot be scored: {error}"
            ) from error


def mean_over_agents(game: Game, values: Tensor) -> Tensor:
    """Of values of all agents [B, N], or of the types of a counted game [B, G]: [B]."""
    if game.type_sizes is None:
        return values.mean(1)
    if values.shape[1] == 1:
        return values[:, 0]
    return values @ (game.type_sizes / game.type_sizes.sum())


def uniform_exploitability(game: Game) -> float | None:
    """Mean-field exploitability of the policy that plays every action alike, the yardstick of a game."""
    if not solvable(game):
        return None
    policy = uniform_policy(game.n_states, game.n_actions)
    return mean_field_exploitability(game.mean_field_model(), policy).item()


def judged_one_by_one(mac: Any, args: Any) -> bool:
    """Whether agents may act by policies of their own.

    A controller says so by ``shares_policy``. Of one that does not (another host's), it is taken
    from the settings: agents that see their index, or that have a network each (``_ns``).
    """
    declared = getattr(mac, "shares_policy", None)
    if declared is not None:
        return not declared
    return bool(args.obs_agent_id) or "ns" in str(args.agent).split("_")
