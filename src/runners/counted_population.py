"""B episodes of a counted game: how many agents of each type are where, and a few who are followed."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.counting import Conditional, conditional, draw_one_by_one, multinomial, tally
from ..games import PopulationGame


class Acted(NamedTuple):
    """What everyone did at a step, C = S A cells.

    Attributes:
        cells: agents of each type in each cell, [B, G, C] float64.
        pairs: agents of all types by the cell before and the cell now, [B, C, C]; None at the first step,
            and where agents are not counted by where they come from.
        tagged: cells of the agents followed, [B, K] int64.
    """

    cells: Tensor
    pairs: Tensor | None
    tagged: Tensor


class Moved(NamedTuple):
    """What came of it.

    Attributes:
        rewards: of an agent of each type in each cell, [B, G, C] float64.
        tagged_rewards: of the agents followed, [B, K].
        moves: agents of all types by cell and next state, [B, C, S].
    """

    rewards: Tensor
    tagged_rewards: Tensor
    moves: Tensor


class Laws(NamedTuple):
    """Attributes:
    rows: P of each type and cell at what an agent there meets, [B or 1, G, C, S] float64; of a cell that
        nobody holds, anything that is a law.
    prepared: the same, to draw from.
    """

    rows: Tensor
    prepared: Conditional


class CountedKernels:
    """Where a game's agents go, by type and cell; what does not change is computed once.

    Args:
        game: made ``for_counting``.
    """

    def __init__(self, game: PopulationGame) -> None:
        self.game = game
        self.personal = game.personal.double()  # [G]
        self._fixed: Laws | None = None

    def at(self, counts: Tensor, step: Tensor) -> Laws:
        """At these counts of all agents, [B, 1, C] float64, and this step."""
        if self._fixed is not None:
            return self._fixed
        rows = self.game.own_laws(counts, self.personal, step)
        if self.game.fixed_transition:
            self._fixed = Laws(rows, conditional(rows))
            return self._fixed
        somewhere = torch.arange(self.game.n_states, device=counts.device) == 0
        rows = torch.where((counts > 0).unsqueeze(-1), rows, somewhere.double())
        return Laws(rows, conditional(rows))


class CountedPopulation:
    """The Markov chain of the counts, equal in law to the game played agent by agent.

    Given the counts by type and state, agents act independently by one policy, and given the counts by type
    and cell they move independently by P^g(. | s, a, rho^-i), in which rho^-i is the same for all agents of
    a cell, each leaving itself out. Sums of independent draws of one law are multinomial, and agents of one
    type and state are exchangeable: nothing of the past but the counts matters to what follows. K agents an
    episode may be tagged: they are taken out of the counts, drawn one by one, and met by the others like
    anyone else. Draws of actions come from torch's global generator, those of states from the game's.

    Args:
        kernels: of the game.
        types: of the agents to follow, [B, K] int64; K may be 0. No more of a type than there are.
        by_origin: count agents by the cell they come from too, as pairs of successive cells need, and
            policies that read the agent's own last action.
    """

    def __init__(self, kernels: CountedKernels, types: Tensor, *, by_origin: bool = False) -> None:
        game = kernels.game
        assert game.type_sizes is not None
        self.kernels, self.game = kernels, game
        self.types, self.by_origin = types, by_origin
        self.follows = types.shape[1] > 0
        self.sizes = game.type_sizes  # [G]
        self.n_types, self.n_cells = len(self.sizes), game.n_states * game.n_actions
        self.personal = game.personal.double()  # [G]
        untagged = self.sizes - tally(types, self.n_types)  # [B, G]
        law, source = game.initial_law, game.generator
        self.untagged = multinomial(untagged, law, generator=source).unsqueeze(2)  # [B, G, origins, S]
        self.states = draw_one_by_one(law.expand(*types.shape, -1), generator=source)  # [B, K]
        self.tagged = torch.zeros_like(self.states)  # cells of the step before, [B, K]
        self.acted = self.untagged  # cells of those who are not followed, [B, G, C]
        self.started = False

    def counts(self) -> Tensor:
        """Agents of all types in each local state, [B, S] float64."""
        counts = self.untagged.sum((1, 2))
        return counts + tally(self.states, self.game.n_states) if self.follows else counts

    def act(self, policy: Tensor, instead: Tensor | None = None) -> Acted:
        """Draw everyone's action.

        Args:
            policy: pi(a | own last action, s), [B or 1, A or 1, S, A]; size 1 where it does not matter.
            instead: what the agents followed do whatever the policy says, [B, K] int64.
        """
        drawn = multinomial(self.untagged, self._by_origin(policy))  # [B, G, origins, S, A]
        cells = self.acted = drawn.sum(2).flatten(2)
        pairs = drawn.sum(1).flatten(2) if self.by_origin and self.started else None
        last, tagged = self.tagged, self.tagged
        if self.follows:
            actions = self._actions_of_tagged(policy) if instead is None else instead
            tagged = self.states * self.game.n_actions + actions
            own = tally(self.types * self.n_cells + tagged, self.n_types * self.n_cells)
            cells = cells + own.unflatten(1, (self.n_types, self.n_cells))
            if pairs is not None:
                own = tally(last * self.n_cells + tagged, self.n_cells**2)
                pairs = pairs + own.unflatten(1, (self.n_cells, self.n_cells))
        self.tagged, self.started = tagged, True
        return Acted(cells, pairs, tagged)

    def move(self, acted: Acted, h: int) -> Moved:
        """Draw everyone's next state, at environment step h."""
        game, step = self.game, torch.tensor(h, device=self.game.device)
        total = acted.cells.sum(1, keepdim=True)  # [B, 1, C]
        rewards = torch.where(total > 0, game.own_rewards(total, self.personal, step), 0.0)  # [B, G, C]
        laws = self.kernels.at(total, step)  # [B or 1, G, C, S]
        drawn = multinomial(self.acted, laws.prepared, generator=game.generator)  # [B, G, C, S]
        moves = drawn.sum(1)
        self.untagged = drawn if self.by_origin else drawn.sum(2, keepdim=True)
        tagged_rewards = rewards.new_zeros(self.types.shape)
        if self.follows:
            episodes = torch.arange(len(drawn), device=game.device).unsqueeze(1)
            where = episodes, self.types, acted.tagged
            tagged_rewards = rewards[where]
            own = laws.rows.expand(len(drawn), *laws.rows.shape[1:])[where]  # [B, K, S]
            self.states = draw_one_by_one(own, generator=game.generator)
            labels = tally(acted.tagged * game.n_states + self.states, self.n_cells * game.n_states)
            moves = moves + labels.unflatten(1, (self.n_cells, game.n_states))
        return Moved(rewards, tagged_rewards, moves)

    def _by_origin(self, policy: Tensor) -> Tensor:
        """The policy's rows for agents of each origin, [B or 1, 1, origins or 1, S, A]."""
        if policy.shape[1] == 1:
            return policy.unsqueeze(1)
        if not self.started:  # nobody has acted: all rows are alike
            return policy[:, :1].unsqueeze(1)
        assert self.by_origin, "the policy reads actions that were not kept"
        shape = (len(policy), self.game.n_states, *policy.shape[1:])
        return policy.unsqueeze(1).expand(shape).flatten(1, 2).unsqueeze(1)

    def _actions_of_tagged(self, policy: Tensor) -> Tensor:
        """[B, K] int64."""
        rows = policy.expand(len(self.states), *policy.shape[1:])
        last = self.tagged % self.game.n_actions if policy.shape[1] > 1 else torch.zeros_like(self.states)
        episodes = torch.arange(len(rows), device=rows.device).unsqueeze(1)
        return draw_one_by_one(rows[episodes, last, self.states])
