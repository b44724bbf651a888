"""What a counted batch of episodes leaves to a learner: cell statistics, and nobody's trajectory."""

from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from .counted_population import Acted, CountedKernels


class CountedBatch:
    """Stands where a host's batch stands; holds no column, for no agent was followed.

    Attributes:
        statistics: of B episodes, float64, exact; their next states may be those within reach alone
            (``over_all_states()``), and in training they are inference tensors: clone what autograd keeps.
        batch_size: B.
        max_seq_length: H + 1.
        device: where the statistics live, as the host names it.

    Args:
        statistics, device: see above.
    """

    def __init__(self, statistics: CellStatistics, *, device: str) -> None:
        self.statistics = statistics
        self.batch_size, steps = statistics.visits.shape[:2]
        self.max_seq_length = steps + 1
        self.device = device

    def max_t_filled(self) -> Tensor:
        """Steps of the longest episode, [1] int64."""
        return torch.tensor([self.max_seq_length])

    def __getitem__(self, item: Any) -> NoReturn:
        raise UserError(
            f"runner=counts: {item!r} was asked of a batch that holds cell statistics alone, for its agents "
            "were counted and not followed; take runner=population"
        )


class Ledger:
    """Collects what is done in a batch of episodes, step by step, and then tells what it comes to.

    Args:
        kernels: of the game.
        pairs: whether pairs of successive cells are counted.
    """

    def __init__(self, kernels: CountedKernels, *, pairs: bool) -> None:
        self.kernels, self.pairs = kernels, pairs
        self.acted: list[Acted] = []
        self.moves: list[Tensor] = []

    def add(self, acted: Acted, moves: Tensor) -> None:
        """Add a step: who acted how, and where they went, [B, C, W]."""
        self.acted.append(acted)
        self.moves.append(moves)

    @cached_property
    def cells(self) -> Tensor:
        """Agents of each type in each cell at all steps, [B, T, G, C] float64."""
        return torch.stack([acted.cells for acted in self.acted], 1)

    @cached_property
    def rewards(self) -> Tensor:
        """What each of them was paid, [B, T, G, C] float64."""
        return self.kernels.rewards(self.cells)

    @cached_property
    def paid(self) -> Tensor:
        """What all of them were paid together, [B, T, G, C] float64."""
        return self.cells * self.rewards

    def returns(self) -> Tensor:
        """Sums over the agents of each type of what they collected, [B, G]."""
        return self.paid.sum((1, 3))

    def own_returns(self, types: Tensor) -> Tensor:
        """What the agents followed collected, of these types: [B, K] int64 -> [B, K]."""
        if not types.numel():
            return self.rewards.new_zeros(types.shape)
        where = torch.stack([types * self.kernels.n_cells + acted.tagged for acted in self.acted], 1)
        return self.rewards.flatten(2).gather(2, where).sum(1)  # [B, T, K] -> [B, K]

    def _of_all_types(self, values: Tensor) -> Tensor:
        """The sum over the types of [B, T, G, C]."""
        return values if self.kernels.n_types == 1 else values.sum(2)

    def statistics(self) -> CellStatistics:
        """Of all steps added, float64."""
        kernels = self.kernels
        cells = (kernels.n_states, kernels.n_actions)
        shape = (*self.cells.shape[:2], *cells)
        visits = self._of_all_types(self.cells).reshape(shape)
        following = None
        if self.pairs:
            pairs = [acted.pairs for acted in self.acted if acted.pairs is not None]
            nothing = visits.new_zeros(len(visits), kernels.n_cells, kernels.n_cells)
            following = torch.stack([*pairs, nothing], 1)  # no action follows the last step
            following = following.unflatten(-1, cells).unflatten(2, cells)
        return CellStatistics(
            visits=visits,
            reward_sum=self._of_all_types(self.paid).reshape(shape),
            next_state=torch.stack(self.moves, 1).reshape(*shape, -1),
            next_cell=following,
            state_count=visits.sum(-1),
            reach=None if kernels.reach is None else kernels.reach.unflatten(0, cells),
        )
