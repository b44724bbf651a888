"""A learnt policy played in a population game, without a host."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..controllers.population_mac import InverseCDFSampler
from ..controllers.private_table_mac import PrivateSampler
from ..errors import UserError
from ..functional.checks import require_policy
from ..functional.distributions import count_values
from ..functional.mean_field import Policy
from ..games import Game, PopulationGame
from .checkpoint import AnyPolicy, LearntPolicy
from .observation_policy import ObservationPolicy

Choose = Callable[[int, Tensor], Tensor]
"""How all agents act: (h, states [B, N]) -> actions [B, N] int64, drawn from torch's global generator."""

TableOf = Callable[[int, Tensor], Tensor]
"""One policy of local states: (h, nu [B, S]) -> [B, S, A], or [1, S, A] where nu does not matter."""

Rows = Callable[[int, Tensor, Tensor], Tensor]
"""What some agents make of each action: (h, states [B, N], agents [B, k]) -> [B, k, A]."""


class Played(NamedTuple):
    """One environment step of B episodes of N agents.

    Attributes:
        h: the step.
        states: [B, N] int64.
        actions: [B, N] int64.
        rewards: [B, N] float32.
        next_states: [B, N] int64.
    """

    h: int
    states: Tensor
    actions: Tensor
    rewards: Tensor
    next_states: Tensor


def act_by(policy: AnyPolicy, game: Game) -> Choose:
    """How the agents of a game act by what a checkpoint holds.

    Args:
        policy: of local states, shared or an agent's own, or of observations.
        game: whose agents they are.

    Raises:
        UserError: it was learnt with other sizes, or by agents that another population does not have.
    """
    if isinstance(policy, ObservationPolicy):
        return observing(policy, game)
    numbered = require_same_sizes(game, policy)
    if policy.private_tables is not None:
        return private(policy.private_tables.to(game.device))
    return by_rows(table_on_device(policy, game), numbered)


def rows_by(policy: AnyPolicy, game: Game) -> Rows:
    """What some agents make of each action by what a checkpoint holds.

    Of a mean of iterates of a network of observations, what the last of them makes of it.

    Args:
        policy, game: see ``act_by``.
    """
    if isinstance(policy, ObservationPolicy):
        return observing_rows(policy, game)
    numbered = require_same_sizes(game, policy)
    if policy.private_tables is not None:
        tables = policy.private_tables.to(game.device)
        return lambda h, states, who: tables[who, h, states.gather(1, who)]
    rows = table_on_device(policy, game)

    def look_up(h: int, states: Tensor, who: Tensor) -> Tensor:
        table = rows_met(rows, numbered, h, states).expand(len(states), -1, -1)  # [B, S, A]
        own = states.gather(1, who).unsqueeze(-1).expand(*who.shape, game.n_actions)
        return table.gather(1, own)

    return look_up


def at_random(game: Game) -> Choose:
    """Every agent takes every action alike."""
    return lambda h, states: torch.randint(game.n_actions, states.shape, device=states.device)


def shared(policy: Policy, game: PopulationGame, *, reads_population: bool) -> Choose:
    """All agents act by one policy (h, nu [S]) -> [S, A].

    Args:
        policy: what they act by.
        game: whose agents they are.
        reads_population: whether the rows depend on nu; then they are asked for episode by episode.
    """

    def rows(h: int, populations: Tensor) -> Tensor:
        asked = populations if reads_population else populations[:1]
        return torch.stack([policy(h, nu) for nu in asked])

    return by_rows(rows, game)


def by_rows(rows: TableOf, game: PopulationGame) -> Choose:
    """All agents act by the rows of one policy."""
    sampler = InverseCDFSampler()
    return lambda h, states: sampler.select_action(rows_met(rows, game, h, states), states)


def rows_met(rows: TableOf, game: PopulationGame, h: int, states: Tensor) -> Tensor:
    """What one policy is in the populations of some episodes: states [B, N] -> [B or 1, S, A]."""
    populations = count_values(states, game.n_states) / game.n_agents  # [B, S]
    return require_policy(rows(h, populations), name=f"the policy at step {h}")


def private(tables: Tensor) -> Choose:
    """Every agent acts by its own table: pi^i [N, H, S, A]."""
    sampler = PrivateSampler()
    return lambda h, states: sampler.select_action(tables[:, h], states)


def observing(policy: ObservationPolicy, game: Game) -> Choose:
    """All agents act by what they observe.

    Raises:
        UserError: observations of another size, or agents that know who they are in another population.
    """
    policy = policy.within(game)
    return lambda h, states: policy.act(observed(game, h, states))


def observing_rows(policy: ObservationPolicy, game: Game) -> Rows:
    """What some agents make of each action by what they observe; see ``rows_by``."""
    policy = policy.within(game)

    def rows(h: int, states: Tensor, who: Tensor) -> Tensor:
        if policy.others_matter:
            return policy.last_of_some(observed(game, h, states), who)
        return policy.last_of_some(observed(game, h, states, who), None)

    return rows


def observed(game: Game, h: int, states: Tensor, who: Tensor | None = None) -> Tensor:
    """The features of all agents, or of some: states [B, N] and agents [B, k] -> [B, N or k, F]."""
    population = count_values(game.places(states), game.n_places) / game.n_agents  # [B, K]
    progress = torch.full_like(population[:, 0], h / game.horizon)
    own = states if who is None else states.gather(1, who)
    return game.features(game.parts(own), population, progress)


def require_same_sizes(game: Game, policy: LearntPolicy) -> PopulationGame:
    """Pass a game on that a policy of local states is of.

    Raises:
        UserError: naming what differs.
    """
    own = None if policy.private_tables is None else len(policy.private_tables)
    for name, learnt, here in (
        ("steps", policy.horizon, game.horizon),
        ("local states", policy.n_states, game.n_states),
        ("actions", policy.n_actions, game.n_actions),
        ("agents with tables of their own", own or game.n_agents, game.n_agents),
    ):
        if learnt != here:
            raise UserError(f"the policy was learnt with {learnt} {name}, this game has {here}")
    assert isinstance(game, PopulationGame), "a game whose local states are numbered"
    return game


def mean_field_policy(policy: AnyPolicy, game: PopulationGame) -> Policy:
    """What a checkpoint holds as a policy of the mean-field game; of agents with their own, the mean policy.

    Raises:
        UserError: it was learnt with other sizes, or by agents that another population does not have.
    """
    if isinstance(policy, ObservationPolicy):
        return policy.on_cells(game)
    require_same_sizes(game, policy)
    rows = table_on_device(policy, game)
    return lambda h, nu: rows(h, nu.unsqueeze(0))[0]


def table_on_device(policy: LearntPolicy, game: Game) -> TableOf:
    """The policy with its rows where the game lives."""
    return lambda h, populations: policy.rows(h, populations.cpu()).to(game.device)


def play(game: Game, choose: Choose, *, batch_size: int) -> Iterator[Played]:
    """Play ``batch_size`` episodes at once, a step at a time."""
    states = game.reset(batch_size)
    for h in range(game.horizon):
        actions = choose(h, states)
        next_states, rewards = game.step_at(h, states, actions)
        yield Played(h, states, actions, rewards, next_states)
        states = next_states
