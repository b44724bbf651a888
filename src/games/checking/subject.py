"""A game under examination: the populations it is shown, what its tables say and what it drew there."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ...functional.distributions import count_values
from ..base import PopulationGame, Step

TOLERANCE = 1e-5  # of rewards and laws, which a sampler computes in float32
MOST_TYPES = 6  # personal parameters that are looked at; of more, these many from the least to the largest
MOST_COVERS = 64  # joint cells tried for every type to have stood in every cell
RANDOM_CROWDS = 4  # joint cells drawn unevenly, in which some cells are crowded
AGENTS_AT_ONCE = 2**19  # of one call of step
ENTRIES_AT_ONCE = 2**22  # of the transition tables that one call makes
LONGEST_EPISODE = 50  # steps that are played, of however long a horizon


class Wrong(Exception):
    """A check has failed, its message says how."""


class NotApplicable(Exception):
    """A check does not apply, its message says why."""


class Rows(NamedTuple):
    """The tables' rows of K groups, each the agents of one type in one cell of one profile.

    Attributes:
        profile, type, cell: of each group, [K].
        laws: [K, S].
        rewards: [K].
    """

    profile: Tensor
    type: Tensor
    cell: Tensor
    laws: Tensor
    rewards: Tensor


class Drawn(NamedTuple):
    """Attributes:
    counts: next states by profile, type and cell, [P, T + 1, C, S].
    rewards: of one step, [P, N].
    paid: sums of all rewards by profile, type and cell, [P, T + 1, C] float64.
    """

    counts: Tensor
    rewards: Tensor
    paid: Tensor


@dataclass
class Subject:
    """A game under examination, and the populations that it is shown.

    Attributes:
        game, draws, level, seed: see `check_game`.
        h: the step whose kernels are looked at.
        random: of the check's own choices, on the CPU.
    """

    game: PopulationGame
    draws: int
    level: float
    seed: int
    h: int = 0
    random: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = torch.Generator().manual_seed(self.seed)

    @property
    def n_cells(self) -> int:
        """C = S A."""
        return self.game.n_states * self.game.n_actions

    @cached_property
    def types(self) -> Tensor:
        """Personal parameters that are looked at, [T]."""
        distinct = torch.unique(self.game.personal)
        few = torch.linspace(0, len(distinct) - 1, min(MOST_TYPES, len(distinct))).round().long()
        return distinct[few.to(distinct.device)]

    @cached_property
    def type_of(self) -> Tensor:
        """Which of `types` an agent is of, T for none of them, [N]."""
        same = self.game.personal.unsqueeze(1) == self.types  # [N, T]
        return torch.where(same.any(1), same.long().argmax(1), len(self.types))

    @cached_property
    def profiles(self) -> Tensor:
        """Joint cells [P, N]: every type in every cell, uneven crowds, all agents in one cell."""
        game, n_cells = self.game, self.n_cells
        types = torch.unique(game.personal, return_inverse=True)[1].cpu()
        order = torch.argsort(types, stable=True)
        sizes = torch.bincount(types)
        starts = (sizes.cumsum(0) - sizes)[types[order]]
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order)) - starts  # an agent's number within its type
        covers = min(MOST_COVERS, -(-n_cells // int(sizes.min())))
        shifts = torch.arange(covers).unsqueeze(1) * sizes[types]
        cover = (rank + shifts) % n_cells  # [covers, N]
        weights = torch.empty(RANDOM_CROWDS, n_cells).exponential_(generator=self.random) ** 2
        crowds = torch.multinomial(weights, game.n_agents, replacement=True, generator=self.random)
        one = torch.randint(n_cells, (1, 1), generator=self.random).expand(1, game.n_agents)
        return torch.cat([cover, crowds, one]).to(game.device)

    def step(self, cells: Tensor) -> Step:
        """Step h of the game from joint cells [B, N]."""
        return self.game.step_at(self.h, cells // self.game.n_actions, cells % self.game.n_actions)

    def random_cells(self, batch_size: int) -> Tensor:
        """Independent uniform cells, [B, N]."""
        cells = torch.randint(self.n_cells, (batch_size, self.game.n_agents), generator=self.random)
        return cells.to(self.game.device)

    def play(self) -> tuple[Tensor, Tensor]:
        """One batch of episodes of random actions: states [L + 1, 2, N] and rewards [L, 2, N]."""
        game = self.game
        random_actions = torch.Generator().manual_seed(self.seed)
        states, rewards = [game.reset(2)], []
        for h in range(min(game.horizon, LONGEST_EPISODE)):
            actions = torch.randint(game.n_actions, states[-1].shape, generator=random_actions)
            step = game.step_at(h, states[-1], actions.to(game.device))
            states.append(step.next_states)
            rewards.append(step.rewards)
        return torch.stack(states), torch.stack(rewards)

    def rows(self, counts_itself: bool) -> Rows:
        """What the tables say of every profile, type and cell that somebody of the type holds."""
        game, n_cells, n_types = self.game, self.n_cells, len(self.types)
        counts = count_values(self.profiles, n_cells).double()  # [P, C]
        taken = count_values(self.type_of * n_cells + self.profiles, (n_types + 1) * n_cells) > 0
        where = taken[:, : n_types * n_cells].nonzero()  # [K, 2]: profile, type and cell
        types, own = where[:, 1] // n_cells, where[:, 1] % n_cells
        mu = counts[where[:, 0]]  # [K, C]
        if not counts_itself:
            mu = mu.scatter_add(1, own.unsqueeze(1), -torch.ones_like(own).double().unsqueeze(1))
        mu = mu / (game.n_agents - (not counts_itself))
        laws, rewards = self.rows_at(mu, self.types[types].double(), own)
        return Rows(where[:, 0], types, own, laws, rewards)

    def rows_at(self, mu: Tensor, personal: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """One row of the tables each, of the cells ``own`` [K] at mu [K, C] for u [K]: [K, S] and [K]."""
        at_once = max(1, ENTRIES_AT_ONCE // (self.n_cells * self.game.n_states))
        laws, rewards = [], []
        for part in torch.arange(len(mu), device=mu.device).split(at_once):
            law, reward = self.tables(mu[part], personal[part])
            here = torch.arange(len(part), device=mu.device)
            laws.append(law[here, own[part]])
            rewards.append(reward[here, own[part]])
        return torch.cat(laws), torch.cat(rewards)

    @property
    def steps(self) -> Tensor:
        """h as the tables take it, a scalar."""
        return torch.tensor(self.h, device=self.game.device)

    def tables(self, mu: Tensor, personal: Tensor) -> tuple[Tensor, Tensor]:
        """Both tables of step h at mu [K, C] for u [K]: [K, C, S] and [K, C]."""
        game, n = self.game, len(mu)
        shaped = mu.reshape(n, game.n_states, game.n_actions)
        law = game.transition_at(self.steps, shaped, personal)
        reward = game.reward_at(self.steps, shaped, personal)
        cells = (game.n_states, game.n_actions)
        return (
            law.expand(n, *cells, game.n_states).reshape(n, self.n_cells, game.n_states),
            reward.expand(n, *cells).reshape(n, self.n_cells),
        )

    @cached_property
    def others(self) -> Rows:
        """The rows at the population that the game declares an agent to meet."""
        return self.rows(counts_itself=self.game.population == "all")

    @cached_property
    def opposite(self) -> Rows:
        """The rows at the population that it does not meet."""
        return self.rows(counts_itself=self.game.population != "all")

    @cached_property
    def drawn(self) -> Drawn:
        """Next states and rewards of the game at every profile; an episode is played halfway through."""
        game, n_cells = self.game, self.n_cells
        n_profiles, n_types = len(self.profiles), len(self.types)
        repeats = max(20, -(-self.draws // game.n_agents))
        at_once = max(1, AGENTS_AT_ONCE // (n_profiles * game.n_agents))
        counts = torch.zeros(
            n_profiles, n_types + 1, n_cells, game.n_states, dtype=torch.long, device=game.device
        )
        paid = torch.zeros(counts.shape[:-1], dtype=torch.float64, device=game.device)
        rewards, left = None, repeats
        while left > 0:
            now = min(at_once, max(1, left // 2))
            step = self.step(self.profiles.repeat(now, 1))  # [now * P, N]
            counts += self.count_next(self.profiles, step.next_states)
            paid += self.sum_rewards(self.profiles, step.rewards)
            rewards = step.rewards[:n_profiles] if rewards is None else rewards
            if left == repeats:
                self.play()  # a game that remembers shows it in what follows
            left -= now
        assert rewards is not None
        return Drawn(counts, rewards, paid)

    def count_next(self, profiles: Tensor, next_states: Tensor) -> Tensor:
        """Next states [R P, N] of profiles [P, N], each R times in turn, as counts [P, T + 1, C, S]."""
        return self.count(profiles, next_states, self.game.n_states)

    def count(self, profiles: Tensor, values: Tensor, n_values: int) -> Tensor:
        """Values below V [R P, N] of what happened at profiles [P, N], as counts [P, T + 1, C, V]."""
        sizes = (len(profiles), len(self.types) + 1, self.n_cells, n_values)
        drawn = values.reshape(-1, *profiles.shape)  # [R, P, N]
        key = (self._groups(profiles) * n_values + drawn).reshape(1, -1)
        return count_values(key, math.prod(sizes)).reshape(sizes)

    def sum_rewards(self, profiles: Tensor, rewards: Tensor) -> Tensor:
        """Rewards [R P, N] of profiles [P, N], summed by group: [P, T + 1, C] float64."""
        sizes = (len(profiles), len(self.types) + 1, self.n_cells)
        key = self._groups(profiles).expand(len(rewards) // len(profiles), *profiles.shape)
        paid = torch.bincount(key.reshape(-1), rewards.reshape(-1).double(), minlength=math.prod(sizes))
        return paid.reshape(sizes)

    def _groups(self, profiles: Tensor) -> Tensor:
        """Profile, type and cell of every agent as one number, [P, N]."""
        first = torch.arange(len(profiles), device=profiles.device).unsqueeze(1)
        return (first * (len(self.types) + 1) + self.type_of) * self.n_cells + profiles


def distributions(subject: Subject, n: int) -> Tensor:
    """Populations [n, C] float64: one even, a third in one cell, the rest between."""
    n_cells = subject.n_cells
    weights = torch.empty(n, n_cells, dtype=torch.float64).exponential_(generator=subject.random) ** 3
    weights[0] = 1.0
    corners = torch.randint(n_cells, (n // 3,), generator=subject.random)
    weights[1 : 1 + n // 3] = torch.nn.functional.one_hot(corners, n_cells).double()
    return (weights / weights.sum(1, keepdim=True)).to(subject.game.device)


def require(condition: bool, message: str) -> None:
    """Raise `Wrong` with the message unless the condition holds."""
    if not condition:
        raise Wrong(message)


def need_tables(game: PopulationGame) -> None:
    """Raise `NotApplicable` for a game without tables."""
    if not game.has_tables:
        raise NotApplicable("the game gives no tables")
