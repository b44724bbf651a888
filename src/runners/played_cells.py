"""What was played in test episodes, kept as cells, for the N-player score."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.distributions import count_values
from ..functional.integers import smallest_integer
from ..functional.parts import in_parts
from ..games import PopulationGame

MOST_TYPES = 16  # personal parameters; beyond, agents are judged one by one
OWN_FLOWS = 2**21  # entries of transition tables up to which every agent gets a flow of its own


class View(NamedTuple):
    """How much is kept of each agent.

    Attributes:
        few_types: agents fall into at most MOST_TYPES types by their personal parameter.
        each_alone: agents are judged one by one: their policies are their own, or their types are many.
        own_flows: every agent meets its own others; else all of a type meet those of a reference agent.
    """

    few_types: bool
    each_alone: bool
    own_flows: bool


class PlayedCells:
    """Records the cells (s, a) of test episodes, as compactly as the score allows.

    Where neither agents are judged one by one nor flows are their own, only the counts of each type
    and the cells of one reference agent a type are kept: O(S A) an episode and step, whatever N. Of a
    game made for counting there is nothing else: ``add_counts`` takes both.

    Args:
        game: with tables, on whose device everything is kept.
        individual: whether agents may have policies of their own.
        n_episodes: how many are going to come.
    """

    def __init__(self, game: PopulationGame, *, individual: bool, n_episodes: int) -> None:
        self.game = game
        self.n_cells = game.n_states * game.n_actions
        self.counted = game.type_sizes is not None
        if game.type_sizes is not None:
            self.personal, self.sizes = game.personal.double(), game.type_sizes
            self.type_of = torch.arange(len(self.sizes), device=self.sizes.device)  # indices into personal
            self.view = View(True, False, False)
        else:
            self.personal, self.type_of, self.sizes = torch.unique(
                game.personal.double(), return_inverse=True, return_counts=True
            )  # [G], [N], [G]
            few = len(self.personal) <= MOST_TYPES
            entries = game.n_agents * n_episodes * game.horizon * self.n_cells * game.n_states
            self.view = View(few, individual or not few, entries <= OWN_FLOWS)
        self.keeps_cells = self.view.each_alone or self.view.own_flows
        steps = range(game.horizon)
        self._cells: list[list[Tensor]] = [[] for _ in steps]  # [B, N] a batch
        self._counts: list[list[Tensor]] = [[] for _ in steps]  # [B, G or 1, C]
        self._references: list[list[Tensor]] = [[] for _ in steps]  # [B, R]
        self._drawn: Tensor | None = None  # [B, R]
        self._whole: dict[str, Tensor] = {}
        self._returns: list[Tensor] = []  # [B, N], or [B, G] where agents are not followed, a batch

    def add(self, t: int, states: Tensor, actions: Tensor) -> Tensor:
        """Keep what all agents did at step t, [B, N] int64 each; returns their counts [B, S, A]."""
        self._whole.clear()
        groups = len(self.personal) if self.view.few_types else 1
        cells, labels = in_parts(self._labelled, (states, actions, self.type_of.expand_as(states)))
        counts = count_values(labels, groups * self.n_cells).reshape(-1, groups, self.n_cells)
        self._counts[t].append(counts.int())  # N is below 2^31, for every agent is followed
        if self.keeps_cells:
            self._cells[t].append(cells)
        if not self.view.own_flows:
            if t == 0:
                self._drawn = self.draw_references(states.shape[0])
            assert self._drawn is not None
            self._references[t].append(cells.gather(1, self._drawn).long())
        return counts.sum(1).reshape(-1, self.game.n_states, self.game.n_actions)

    def _labelled(self, states: Tensor, actions: Tensor, type_of: Tensor) -> tuple[Tensor, Tensor]:
        """Cells of some agents, and their numbers of type and cell, in small integers: [B, n] each."""
        cells = states.long() * self.game.n_actions + actions
        labels = type_of * self.n_cells + cells if self.view.few_types else cells
        n_labels = len(self.personal) * self.n_cells if self.view.few_types else self.n_cells
        return cells.to(smallest_integer(self.n_cells)), labels.to(smallest_integer(n_labels))

    def add_counts(self, t: int, counts: Tensor, references: Tensor) -> Tensor:
        """Keep what a counted game's agents did at step t; returns the counts of all, [B, S, A].

        Args:
            t: the step.
            counts: by type, [B, G, C] float64.
            references: cell of an agent of each type, the same one all episode, [B, G] int64.
        """
        self._whole.clear()
        self._counts[t].append(counts.long())
        self._references[t].append(references)
        return counts.sum(1).reshape(-1, self.game.n_states, self.game.n_actions)

    def members(self, g: int) -> Tensor:
        """The agents of a type, [1, m] int64; of a counted game one index, seen m times."""
        if self.counted:
            return self.type_of[g].reshape(1, 1).expand(1, int(self.sizes[g]))
        everyone = torch.arange(self.game.n_agents, device=self.type_of.device)
        return everyone[self.type_of == g].unsqueeze(0)

    def add_returns(self, returns: Tensor) -> None:
        """Keep what all agents got in a batch of episodes, [B, N]; counted, what each type did, [B, G]."""
        if not (self.keeps_cells or self.counted):
            sums = returns.new_zeros(len(returns), len(self.sizes), dtype=torch.float64)
            returns = sums.index_add(1, self.type_of, returns.double()) / self.sizes
        self._returns.append(returns.double())

    def draw_references(self, batch_size: int) -> Tensor:
        """One agent of each type in every episode (one of all, if types are many), uniformly: [B, R]."""
        everyone = torch.arange(self.game.n_agents, device=self.type_of.device)
        groups = range(len(self.personal)) if self.view.few_types else [None]
        members = [everyone if g is None else everyone[self.type_of == g] for g in groups]
        draws = [m[torch.randint(len(m), (batch_size,), device=m.device)] for m in members]
        return torch.stack(draws, 1)

    def cells(self) -> Tensor:
        """[B, H, N], a small integer type; only where ``keeps_cells``."""
        return self._stacked("cells", self._cells)

    def counts(self) -> Tensor:
        """By type (of all together, if types are many): [B, H, G or 1, C] int32; int64 of a counted game."""
        return self._stacked("counts", self._counts)

    def references(self) -> Tensor:
        """Cells of the reference agents, [B, H, R] int64; only where flows are not the agents' own."""
        return self._stacked("references", self._references)

    def returns(self) -> Tensor:
        """[B, N] where ``keeps_cells``, else the mean of each type [B, G]; float64."""
        return torch.cat(self._returns)

    def others(self, episodes: Tensor, own_cells: Tensor) -> Tensor:
        """What agents in these cells met, in some episodes: [B', H, m] int64 -> [B', m, H, S, A] float64."""
        own = torch.nn.functional.one_hot(own_cells, self.n_cells)  # [B', H, m, C]
        counts = self.counts()[episodes].sum(2, keepdim=True)
        met = (counts - own).double() / (self.game.n_agents - 1)
        return met.transpose(1, 2).unflatten(-1, (self.game.n_states, self.game.n_actions))

    def _stacked(self, name: str, by_step: list[list[Tensor]]) -> Tensor:
        """Batches by step as one tensor [B, H, ...], made once after the last addition."""
        if name not in self._whole:
            self._whole[name] = torch.stack([torch.cat(batches) for batches in by_step], 1)
        return self._whole[name]
