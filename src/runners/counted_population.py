"""B episodes of a counted game: how many agents of each type are where, and a few who are followed."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.counting import Conditional, conditional, draw_one_by_one, multinomial, tally
from ..games import PopulationGame
from ..games.base import ENTRIES_AT_ONCE


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


class Laws(NamedTuple):
    """Attributes:
    rows: P of each type and cell at what an agent there meets, [B or 1, G, C, S] float64; of a cell that
        nobody holds, anything that is a law. None where they change and were not asked for.
    prepared: the same, to draw from: over the W states within reach of a cell.
    reach: which these are, [C, W] int64; None for all of them, in order.
    """

    rows: Tensor | None
    prepared: Conditional
    reach: Tensor | None


class CountedKernels:
    """Where a game's agents go, by type and cell, and what they are paid; what does not change is made once.

    Attributes:
        n_types, n_states, n_actions, n_cells: G, S, A, C.
        reach: the states within reach of each cell, [C, W] int64, under a ``fixed_transition`` that reaches
            fewer than all, whatever the type; else None. In a row of fewer than W others follow.

    Args:
        game: made ``for_counting``.
    """

    def __init__(self, game: PopulationGame) -> None:
        self.game = game
        self.personal = game.personal.double()  # [G]
        self.n_types, self.n_states, self.n_actions = len(game.personal), game.n_states, game.n_actions
        self.n_cells = game.n_states * game.n_actions
        self.clock = torch.arange(game.horizon, device=game.device)
        self._steps = self.clock.unbind()
        self.initial = conditional(game.initial_law)
        self._somewhere = (torch.arange(game.n_states, device=game.device) == 0).double()
        self._fixed: Laws | None = None
        if game.fixed_transition:
            nobody = torch.zeros(1, 1, self.n_cells, dtype=torch.float64, device=game.device)
            self._fixed = within_reach(game.own_laws(nobody, self.personal, self._steps[0]))
        self.reach = None if self._fixed is None else self._fixed.reach

    def laws(self, counts: Tensor, h: int, *, rows: bool) -> Laws:
        """At these counts of all agents, [B, 1, C] float64, and this step; with ``rows`` or without."""
        if self._fixed is not None:
            return self._fixed
        met = (counts, self.personal, self._steps[h])
        if not rows and self.game.population == "all":
            return Laws(None, self.game.own_conditional(*met), None)
        laws = self.game.own_laws(*met)
        if self.game.population == "others":  # who is nowhere cannot be left out
            laws = torch.where((counts > 0).unsqueeze(-1), laws, self._somewhere)
        return Laws(laws, conditional(laws), None)

    def rewards(self, cells: Tensor) -> Tensor:
        """Of an agent of each type in each cell, given who acted: [B, H, G, C] -> [B, H, G, C]; else 0.

        Nothing that is drawn depends on them, so that all steps of the episodes wait for one call.
        """
        total = cells if self.n_types == 1 else cells.sum(2, keepdim=True)  # [B, H, 1, C]
        at_once = max(1, ENTRIES_AT_ONCE // cells[:, 0].numel())
        steps = self.clock.unsqueeze(1)  # [H, 1]
        if at_once >= len(steps):
            rewards = self.game.own_rewards(total, self.personal, steps)
        else:
            parts = zip(total.split(at_once, 1), steps.split(at_once), strict=True)
            rewards = torch.cat([self.game.own_rewards(part, self.personal, h) for part, h in parts], 1)
        return torch.where(total > 0, rewards, 0.0)


def within_reach(rows: Tensor) -> Laws:
    """Laws [1, G, C, S] that stay as they are, told over what they reach; draws are those over all states."""
    prepared, n_states = conditional(rows), rows.shape[-1]
    if prepared.places is None:
        return Laws(rows, prepared, None)
    reached = (rows > 0).any(1)[0]  # [C, S]
    width = int(reached.sum(-1).max())
    if width == n_states:
        return Laws(rows, prepared, None)
    reach = reached.byte().argsort(dim=-1, descending=True, stable=True)[:, :width]
    number = torch.zeros_like(reached, dtype=torch.int64)  # of a state among those within reach
    number.scatter_(-1, reach, torch.arange(width, device=rows.device).expand_as(reach))
    places = number.expand(rows.shape).gather(-1, prepared.places)
    return Laws(rows, Conditional(prepared.shares, places, width), reach)


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
        untagged, source = self.sizes.expand(len(types), -1), game.generator
        if self.follows:
            untagged = untagged - tally(types, kernels.n_types)
        initial = multinomial(untagged, kernels.initial, generator=source)  # [B, G, S]
        self.untagged = initial.unsqueeze(2)  # [B, G, origins, S]
        self.states = self.tagged = types  # [B, K]; cells of the step before
        if self.follows:
            law = game.initial_law.expand(*types.shape, -1)
            self.states, self.tagged = draw_one_by_one(law, generator=source), torch.zeros_like(types)
        self.acted = self.untagged  # cells of those who are not followed, [B, G, C]
        self.started = False

    def counts(self) -> Tensor:
        """Agents of all types in each local state, [B, S] float64."""
        counts = self.untagged.sum((1, 2))
        return counts + tally(self.states, self.game.n_states) if self.follows else counts

    def act(
        self, policy: Tensor, instead: Tensor | None = None, *, prepared: Conditional | None = None
    ) -> Acted:
        """Draw everyone's action.

        Args:
            policy: pi(a | own last action, s), [B or 1, A or 1, S, A]; size 1 where it does not matter.
            instead: what the agents followed do whatever the policy says, [B, K] int64.
            prepared: the policy's rows, to draw from, where those were prepared: [B or 1, 1, 1, S].
        """
        n_types, n_cells = self.kernels.n_types, self.kernels.n_cells
        drawn = multinomial(self.untagged, prepared or self._by_origin(policy))  # [B, G, origins, S, A]
        cells = self.acted = drawn.sum(2).flatten(2) if self.by_origin else drawn.flatten(2)
        pairs = drawn.sum(1).flatten(2) if self.by_origin and self.started else None
        last, tagged = self.tagged, self.tagged
        if self.follows:
            actions = self._actions_of_tagged(policy) if instead is None else instead
            tagged = self.states * self.game.n_actions + actions
            own = tally(self.types * n_cells + tagged, n_types * n_cells)
            cells = cells + own.unflatten(1, (n_types, n_cells))
            if pairs is not None:
                own = tally(last * n_cells + tagged, n_cells**2)
                pairs = pairs + own.unflatten(1, (n_cells, n_cells))
        self.tagged, self.started = tagged, True
        return Acted(cells, pairs, tagged)

    def move(self, acted: Acted, h: int) -> Tensor:
        """Draw everyone's next state, at environment step h.

        Returns:
            Agents of all types by cell and next state, [B, C, W] float64: all S states in order, or those of
            ``CountedKernels.reach``.
        """
        total = acted.cells if self.kernels.n_types == 1 else acted.cells.sum(1, keepdim=True)  # [B, 1, C]
        laws = self.kernels.laws(total, h, rows=self.follows)
        drawn = multinomial(self.acted, laws.prepared, generator=self.game.generator)  # [B, G, C, W]
        self.untagged = self._arrived(drawn, laws.reach)
        moves = drawn.squeeze(1) if self.kernels.n_types == 1 else drawn.sum(1)
        return self._move_tagged(acted, laws, moves) if self.follows else moves

    def _arrived(self, drawn: Tensor, reach: Tensor | None) -> Tensor:
        """Who is where after the moves [B, G, C, W]: [B, G, origins, S]."""
        if reach is None:
            return drawn if self.by_origin else drawn.sum(2, keepdim=True)
        if self.by_origin:
            found = drawn.new_zeros(*drawn.shape[:-1], self.kernels.n_states)
            return found.scatter_add_(-1, reach.expand_as(drawn), drawn)
        found = drawn.new_zeros(*drawn.shape[:2], self.kernels.n_states)
        drawn = drawn.flatten(2)
        return found.scatter_add_(-1, reach.flatten().expand_as(drawn), drawn).unsqueeze(2)

    def _move_tagged(self, acted: Acted, laws: Laws, moves: Tensor) -> Tensor:
        """Move the agents followed, and add them to the moves [B, C, W]."""
        episodes = torch.arange(len(moves), device=moves.device).unsqueeze(1)
        assert laws.rows is not None
        own = laws.rows.expand(len(moves), *laws.rows.shape[1:])[episodes, self.types, acted.tagged]
        self.states = draw_one_by_one(own, generator=self.game.generator)  # of laws [B, K, S]
        number = self.states
        if laws.reach is not None:
            number = (laws.reach[acted.tagged] == self.states.unsqueeze(-1)).byte().argmax(-1)
        labels = tally(acted.tagged * moves.shape[2] + number, moves[0].numel())
        return moves + labels.unflatten(1, moves.shape[1:])

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
