"""Where deviators start: at what the others play, as far as their own state and the time tell it."""

import torch
from torch import Tensor

from ...functional.checks import require_policy
from ...games import Game
from ..checkpoint import AnyPolicy, LearntPolicy
from ..observation_policy import ObservationPolicy
from ..playing import Rows, require_same_sizes, rows_by, table_on_device
from .deviators import features_at, shown_population


def start_rows(policy: AnyPolicy, game: Game, *, sees_population: bool) -> Rows | None:
    """pi_0 of some agents, (h, states [B, N], agents [B, k]) -> [B, k, A]; None for the uniform policy.

    Deviators who may not see the population start at what the others play at an even one. What a deep set
    makes of all agents is no function of a distribution over the places: where the others' policy reads
    that, deviators start at the uniform policy.

    Args:
        policy: what the others play.
        game: whose agents they are.
        sees_population: whether deviators do.
    """
    if sees_population:
        return rows_by(policy, game)
    if isinstance(policy, ObservationPolicy):
        return None if policy.agent.population_dependent else observing_at_even(policy, game)
    if policy.private_tables is not None:
        return rows_by(policy, game)
    return looking_up_at_even(policy, game)


def looking_up_at_even(policy: LearntPolicy, game: Game) -> Rows:
    """A policy of local states, read at an even population; see ``start_rows``."""
    numbered, rows = require_same_sizes(game, policy), table_on_device(policy, game)

    def look_up(h: int, states: Tensor, who: Tensor) -> Tensor:
        even = shown_population(game, states[:1], realised=False)
        table = require_policy(rows(h, even), name=f"the policy at step {h}")[0]  # [S, A]
        return table.view(numbered.n_states, game.n_actions)[states.gather(1, who)]

    return look_up


def observing_at_even(policy: ObservationPolicy, game: Game) -> Rows:
    """A network of what agents observe themselves, at an even population; see ``start_rows``."""
    within = policy.within(game)

    def rows(h: int, states: Tensor, who: Tensor) -> Tensor:
        even = shown_population(game, states, realised=False)
        if within.shares_policy:
            return within.last_of_some(features_at(game, h, states.gather(1, who), even), None)
        return within.last_of_some(features_at(game, h, states, even), who)  # each by its own index

    return rows


def mixed_log(rows: Rows, floor: float) -> Rows:
    """log of the rows with a share of the uniform policy mixed in, so that every action is tried."""

    def log_rows(h: int, states: Tensor, who: Tensor) -> Tensor:
        probabilities = rows(h, states, who)
        return ((1 - floor) * probabilities + floor / probabilities.shape[-1]).log()

    return log_rows


def uniform_log(game: Game) -> Rows:
    """log-probabilities of the uniform policy, up to a constant."""
    return lambda h, states, who: torch.zeros(*who.shape, game.n_actions, device=who.device)
