"""What a population game is: batched, on one device, nothing per agent in Python."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TypeGuard

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.counting import Conditional, conditional
from ..functional.distributions import count_values, others_distribution
from ..functional.mean_field import MeanFieldModel
from ..functional.shapes import common_shape
from .constants import SymmetryConstants
from .game import Game, Step, half_and_half, require, require_between

ENTRIES_AT_ONCE = 2**24  # of the tables that one call makes, 128 MiB

Table = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(steps, mu [..., S, A], personal) -> a table of every cell, [..., S, A, ...]."""


class PopulationGame(Game):
    """A finite-horizon game of N agents with few local states (Yardim & He 2025, Def. 1).

    B independent episodes of N agents advance together. Agent i differs from the others by its
    personal parameter u_i alone: the kernels are P(s' | s, a, mu, u_i) and R(s, a, mu, u_i) at
    mu = sigma(rho^-i), the distribution of the other agents, the agent itself left out exactly
    (``population="all"`` counts it in, mu = sigma(rho)). The induced game is u = 0.

    A subclass sets the sizes and the constants through ``__init__`` and defines ``sample_step``
    (all agents at once) and, if it can, the two tables (a law for every cell), which must agree.
    Without tables a game can be played and learnt, not scored exactly. ``TableGame`` samples from
    the tables by itself. Kernels that differ from step to step are declared by ``time_dependent``: the
    tables then take ``steps`` and ``sample_step`` takes ``h`` as one more argument.

    Attributes:
        state_names: what to call the local states in pictures; empty where their number says it.
        time_dependent: whether the kernels depend on the step h = 0 .. H - 1.
        fixed_transition: whether P depends on neither the population nor the step; it is then computed
            once. Declared, and checked by ``check_game``.
        local_reward: whether R(s, a, mu) depends on mu through nu(s) alone, the share in the agent's own
            state, and the table reads it off any measure; one table then serves agents in all cells.
            Declared, and checked likewise.
        local_transition: the same of P(s, a, mu).
        sites: where states are, [S] int64, if the kernels of local ones read the share on the agent's own
            site, and not that in its own state alone; None for that.
        reward_factor, reward_offset: the rewards are factor times those of the game as it was published,
            plus the offset.
        personal: u [N] float32.

    Args:
        n_agents: N >= 2.
        n_states: S.
        n_actions: A.
        horizon: H >= 1, environment steps.
        initial_law: rho0 [S], sums to 1; what float32 cannot hold of it is mended.
        constants: closed-form alpha, beta and Lipschitz constants for ``population="others"``; None
            where they are not known.
        population: ``others`` | ``all``; whether an agent meets the others or everyone, itself
            included, which adds 2 L_P / N to alpha and 2 L_R / N to beta.
        personal: u [N]; None for +1 in the first half and -1 in the rest.
        device: where everything lives.
        seed: of the game's own generator; same seed, same device, same trajectory.

    Raises:
        UserError: sizes out of range, or an unknown ``population``.
    """

    n_states: int
    n_parts = 1
    fixed_transition: bool = False
    local_reward: bool = False
    local_transition: bool = False
    sites: Tensor | None = None

    def __init__(
        self,
        *,
        n_agents: int,
        n_states: int,
        n_actions: int,
        horizon: int,
        initial_law: Tensor,
        constants: SymmetryConstants | None = None,
        population: str = "others",
        personal: Tensor | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__(
            n_agents=n_agents,
            n_actions=n_actions,
            n_places=n_states,
            horizon=horizon,
            constants=constants,
            population=population,
            personal=personal,
            device=device,
            seed=seed,
        )
        self.n_states = n_states
        self.n_features = 2 * n_states + 1
        self.initial_law = as_law(initial_law).to(self.device)

    def reset(self, batch_size: int) -> Tensor:
        """Draw initial local states from rho0, independently; returns [B, N] int64."""
        draws = self.uniforms(batch_size)
        thresholds = self.initial_law.cumsum(0)[:-1].float()
        return torch.bucketize(draws, thresholds, right=True)

    def step(self, states: Tensor, actions: Tensor, h: int = 0) -> Step:
        """Advance all agents of all episodes by one environment step.

        Args:
            states: [B, N] int64.
            actions: [B, N] int64.
            h: which step it is; matters where the kernels are ``time_dependent``.
        """
        others = self.state_distribution_met(states)
        if self.time_dependent:
            return self.sample_step(states, actions, others, h)  # type: ignore[call-arg]
        return self.sample_step(states, actions, others)

    def state_distribution_met(self, states: Tensor) -> Tensor:
        """nu as an agent in each state meets it: [B, S, S] float32, row s for an agent at s.

        Rows of states that nobody holds are meaningless and never looked up.
        """
        return self.distribution_met(count_values(states, self.n_states).float())

    def distribution_met(self, counts: Tensor) -> Tensor:
        """What an agent of each value meets: counts [..., K] of all agents -> [..., K, K], a row a value."""
        if self.population == "others":
            return others_distribution(counts)
        return (counts / self.n_agents).unsqueeze(-2).expand(*counts.shape, -1)

    def places(self, states: Tensor) -> Tensor:
        """Agents meet in their local states."""
        return states

    def parts(self, states: Tensor) -> Tensor:
        """The local state's number."""
        return states.unsqueeze(-1).float()

    def features(self, parts: Tensor, population: Tensor, progress: Tensor) -> Tensor:
        """One-hot local state, distribution of all agents, and h / H: F = 2 S + 1."""
        shape = (*parts.shape[:-1], self.n_features)
        features = torch.zeros(shape, device=parts.device)
        features.scatter_(-1, parts.long(), 1.0)
        features[..., self.n_states : -1] = population.unsqueeze(-2)
        features[..., -1] = progress.unsqueeze(-1)
        return features

    @property
    def has_tables(self) -> bool:  # type: ignore[override]
        """Whether the game gives its two tables, without which nothing is solved by backward induction."""
        ours = (PopulationGame.transition_table, PopulationGame.reward_table)
        return type(self).transition_table is not ours[0] and type(self).reward_table is not ours[1]

    def mean_field_model(self) -> MeanFieldModel:
        """The induced mean-field game (u = 0), float64.

        Raises:
            UserError: a game without tables.
        """
        if not self.has_tables:
            raise UserError(self._no_tables())
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        return MeanFieldModel(
            initial_law=self.initial_law,
            horizon=self.horizon,
            transition=lambda mu, h=0: self.transition_at(self._step(h), mu, zero),
            reward=lambda mu, h=0: self.reward_at(self._step(h), mu, zero),
            time_dependent=self.time_dependent,
        )

    @abstractmethod
    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor) -> Step:
        """Sample s' ~ P(. | s, a, mu, u_i) and the rewards of all agents.

        Args:
            states: [B, N] int64.
            actions: [B, N] int64.
            others: ``state_distribution_met(states)``, [B, S, S].

        A ``time_dependent`` game takes one argument more, ``h: int``.
        """

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        """P(s' | s, a, mu, u) for every cell.

        Args:
            mu: distribution of the others over S x A, [..., S, A].
            personal: u, any shape that broadcasts with the batch dimensions of mu.

        Returns:
            [..., S, A, S] in the dtype of mu; rows sum to 1.

        A ``time_dependent`` game takes one argument more, ``steps``: h, int64, any shape that broadcasts
        likewise.

        Raises:
            UserError: a game without tables.
        """
        raise UserError(self._no_tables())

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        """R(s, a, mu, u) for every cell, in [0, 1]: [..., S, A]; arguments as ``transition_table``."""
        raise UserError(self._no_tables())

    def transition_at(self, steps: Tensor, mu: Tensor, personal: Tensor) -> Tensor:
        """``transition_table`` for callers who need not know whether it takes the steps."""
        if self.time_dependent:
            return self.transition_table(mu, personal, steps)  # type: ignore[call-arg]
        return self.transition_table(mu, personal)

    def reward_at(self, steps: Tensor, mu: Tensor, personal: Tensor) -> Tensor:
        """``reward_table`` likewise."""
        if self.time_dependent:
            return self.reward_table(mu, personal, steps)  # type: ignore[call-arg]
        return self.reward_table(mu, personal)

    def _step(self, h: int) -> Tensor:
        return torch.tensor(h, device=self.device)

    def tables_met(self, others: Tensor, personal: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Both tables for an agent that meets ``others`` from whichever cell it is in.

        With ``population="all"`` the law of a cell is that at ((N - 1) others + e_cell) / N, the agent
        itself counted where it is.

        Args:
            others: distribution of the other agents over S x A, [..., S, A].
            personal, steps: u and h, as for ``transition_table``.

        Returns:
            [..., S, A, S] and [..., S, A], all batch dimensions written out, but that a
            ``fixed_transition`` has size 1 where only the population varies.
        """
        batch = common_shape(others.shape[:-2], personal.shape, steps.shape)
        reward = self._reward_met(others, personal, steps)
        if self.fixed_transition:
            return self._fixed_law(len(batch), personal, steps), reward
        if self.population == "others":
            law = self.transition_at(steps, others, personal)
            return law.expand(*batch, self.n_states, self.n_actions, self.n_states), reward
        if self.local_transition:
            return self._local_law(self._own_counted_in(others), personal, steps), reward
        law = others.new_empty(*batch, self.n_states, self.n_actions, self.n_states)
        for s, a, mu in self._counting_itself(others):
            law[..., s, a, :] = self.transition_at(steps, mu, personal)[..., s, a, :]
        return law, reward

    def own_laws(self, counts: Tensor, personal: Tensor, steps: Tensor) -> Tensor:
        """P for an agent in each cell at what it meets there: the row of that cell alone.

        Args:
            counts: of all agents, over the C = S A cells, [..., C] float64.
            personal, steps: u and h, as for ``transition_table``.

        Returns:
            [..., C, S]; batch dimensions as in ``tables_met``. Rows of cells that nobody holds are
            meaningless.
        """
        if self.local_transition and self.population == "others":
            return self._local_law(self._own_left_out(counts), personal, steps).flatten(-3, -2)
        if not self.fixed_transition:
            return self._own_rows(self.transition_at, counts, personal, steps, tail=(self.n_states,))
        batch = common_shape(counts.shape[:-1], personal.shape, steps.shape)
        return self._fixed_law(len(batch), personal, steps).flatten(-3, -2)

    def own_conditional(self, counts: Tensor, personal: Tensor, steps: Tensor) -> Conditional:
        """``own_laws`` for ``multinomial`` to draw from; a game may know a shorter way there."""
        return conditional(self.own_laws(counts, personal, steps))

    def own_rewards(self, counts: Tensor, personal: Tensor, steps: Tensor) -> Tensor:
        """R for an agent in each cell at what it meets there, [..., C]; arguments as ``own_laws``."""
        if not self.local_reward or self.population == "all":
            return self._own_rows(self.reward_at, counts, personal, steps, tail=())
        return self._local_reward(self._own_left_out(counts), personal, steps).flatten(-2)

    def _reward_met(self, others: Tensor, personal: Tensor, steps: Tensor) -> Tensor:
        """The reward table of ``tables_met``, [..., S, A]."""
        batch = common_shape(others.shape[:-2], personal.shape, steps.shape)
        if self.population == "others":
            reward = self.reward_at(steps, others, personal)
            return reward.expand(*batch, self.n_states, self.n_actions)
        if self.local_reward:
            return self._local_reward(self._own_counted_in(others), personal, steps)
        reward = others.new_empty(*batch, self.n_states, self.n_actions)
        for s, a, mu in self._counting_itself(others):
            reward[..., s, a] = self.reward_at(steps, mu, personal)[..., s, a]
        return reward

    def _counting_itself(self, others: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """Every cell, and what an agent in it meets that counts itself in: ((N - 1) others + e_cell) / N."""
        for s in range(self.n_states):
            for a in range(self.n_actions):
                mu = others * ((self.n_agents - 1) / self.n_agents)
                mu[..., s, a] += 1 / self.n_agents
                yield s, a, mu

    def _own_left_out(self, counts: Tensor) -> Tensor:
        """What an agent in each state meets on its own site, itself left out: [..., C] -> [..., S]."""
        held = self._on_own_site(counts.unflatten(-1, (self.n_states, self.n_actions)).sum(-1))
        return ((held - 1) / (self.n_agents - 1)).clamp(min=0.0)

    def _own_counted_in(self, others: Tensor) -> Tensor:
        """The same of an agent that counts itself in: others [..., S, A] -> [..., S]."""
        share = self._on_own_site(others.sum(-1)) * ((self.n_agents - 1) / self.n_agents)
        return share + 1 / self.n_agents

    def _on_own_site(self, masses: Tensor) -> Tensor:
        """Mass of the site of every state: [..., S] -> [..., S]."""
        if self.sites is None:
            return masses
        total = masses.new_zeros(*masses.shape[:-1], int(self.sites.max()) + 1)
        return total.index_add(-1, self.sites, masses)[..., self.sites]

    def _local_law(self, shares: Tensor, personal: Tensor, steps: Tensor) -> Tensor:
        """P(s' | s, a) where the share on the site of s is shares[..., s]: [..., S, A, S]."""
        batch = common_shape(shares.shape[:-1], personal.shape, steps.shape)
        law = self.transition_at(steps, self._measure(shares), personal)
        return law.expand(*batch, self.n_states, self.n_actions, self.n_states)

    def _local_reward(self, shares: Tensor, personal: Tensor, steps: Tensor) -> Tensor:
        """R(s, a) likewise, [..., S, A]."""
        batch = common_shape(shares.shape[:-1], personal.shape, steps.shape)
        reward = self.reward_at(steps, self._measure(shares), personal)
        return reward.expand(*batch, self.n_states, self.n_actions)

    def _measure(self, shares: Tensor) -> Tensor:
        """A measure with the share on each site that its states are given, which need not sum to 1.

        [..., S], alike for the states of a site -> [..., S, A].
        """
        if self.sites is not None:
            shares = shares / torch.bincount(self.sites)[self.sites]
        return (shares / self.n_actions).unsqueeze(-1).expand(*shares.shape, self.n_actions)

    def _fixed_law(self, n_axes: int, personal: Tensor, steps: Tensor) -> Tensor:
        """P of a ``fixed_transition``, [..., S, A, S] with n_axes batch axes: those of u and of h, else 1."""
        cells = (self.n_states, self.n_actions)
        even = torch.full(cells, 1 / math.prod(cells), dtype=personal.dtype, device=self.device)
        law = self.transition_at(self._step(0), even, personal)
        law = law.expand(*personal.shape, *cells, self.n_states)
        law = law.reshape(*(1,) * (n_axes - personal.dim()), *law.shape)
        return law.expand(*law.shape[:-4], len(steps), *law.shape[-3:]) if steps.dim() else law

    def _own_rows(
        self, table: Table, counts: Tensor, personal: Tensor, steps: Tensor, *, tail: tuple[int, ...]
    ) -> Tensor:
        """The row of every cell at what an agent there meets, [..., C, *tail]."""
        batch = common_shape(counts.shape[:-1], personal.shape, steps.shape)
        cells = (self.n_states, self.n_actions)
        n_cells = math.prod(cells)
        if self.population == "all":
            found = table(steps, (counts / self.n_agents).unflatten(-1, cells), personal)
            return found.expand(*batch, *cells, *tail).flatten(len(batch), len(batch) + 1)
        at_once = max(1, ENTRIES_AT_ONCE // (math.prod(batch) * n_cells * math.prod(tail)))
        rows = []
        for own in torch.arange(n_cells, device=counts.device).split(at_once):
            left_out = torch.nn.functional.one_hot(own, n_cells)  # [K, C]
            others = (counts.unsqueeze(-2) - left_out).clamp(min=0.0) / (self.n_agents - 1)
            found = table(steps.unsqueeze(-1), others.unflatten(-1, cells), personal.unsqueeze(-1))
            found = found.expand(*batch, len(own), *cells, *tail).flatten(len(batch) + 1, len(batch) + 2)
            here = torch.arange(len(own), device=counts.device)
            rows.append(found[(*(slice(None),) * len(batch), here, own)])
        return torch.cat(rows, len(batch))

    def _no_tables(self) -> str:
        return (
            f"{type(self).__name__} gives no tables, so that nothing is solved exactly: "
            "define transition_table and reward_table, or play and learn it without"
        )


def solvable(game: Game) -> TypeGuard[PopulationGame]:
    """Whether a game gives its tables, so that its induced game is solved exactly."""
    return isinstance(game, PopulationGame) and game.has_tables


def as_law(law: Tensor) -> Tensor:
    """A law [S] in float64; one that sums to 1 but for rounding to float32 is divided by its sum.

    Any other sum stays what it is, for ``check_game`` to name.
    """
    exact = law.to(torch.float64)
    rounded = law.dtype != torch.float64 and abs(exact.sum().item() - 1) < 1e-6
    return exact / exact.sum() if rounded else exact


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Gather table[b, index[b, i]]: table [B, K], index [B, N] of any integer type -> [B, N]."""
    return torch.gather(table, 1, index.long())


def at_personal(weight: float, personal: Tensor, n_trailing: int) -> Tensor:
    """1 + weight * u with ``n_trailing`` axes of size one behind it, to broadcast over cells."""
    return (1.0 + weight * personal).reshape(*personal.shape, *(1,) * n_trailing)


__all__ = [
    "ENTRIES_AT_ONCE",
    "Game",
    "PopulationGame",
    "Step",
    "as_law",
    "at_personal",
    "half_and_half",
    "look_up",
    "require",
    "require_between",
    "solvable",
]
