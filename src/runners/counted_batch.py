"""What a counted batch of episodes leaves to a learner: cell statistics, and nobody's trajectory."""

from typing import Any, NoReturn

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from .counted_population import Acted, Moved


class CountedBatch:
    """Stands where a host's batch stands; holds no column, for no agent was followed.

    Attributes:
        statistics: of B episodes, float64, exact.
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
    """Collects the cell statistics of a batch, step by step.

    Args:
        n_states: S.
        n_actions: A.
        pairs: whether pairs of successive cells are counted.
    """

    def __init__(self, n_states: int, n_actions: int, *, pairs: bool) -> None:
        self.cells = (n_states, n_actions)
        self.pairs = pairs
        self.visits: list[Tensor] = []
        self.rewards: list[Tensor] = []
        self.paid: list[Tensor] = []
        self.moves: list[Tensor] = []
        self.next_cells: list[Tensor] = []

    def add(self, acted: Acted, moved: Moved) -> None:
        """Add a step."""
        self.visits.append(acted.cells.sum(1))
        collected = acted.cells * moved.rewards  # [B, G, C]
        self.rewards.append(collected.sum(1))
        self.paid.append(collected.sum(2))
        self.moves.append(moved.moves)
        if self.pairs and acted.pairs is not None:
            self.next_cells.append(acted.pairs)

    def returns(self) -> Tensor:
        """Sums over the agents of each type of what they collected so far, [B, G]."""
        return torch.stack(self.paid).sum(0)

    def statistics(self) -> CellStatistics:
        """Of all steps added, float64."""
        visits = torch.stack(self.visits, 1).unflatten(-1, self.cells)
        following = None
        if self.pairs:
            shape = (*self.visits[0].shape, self.visits[0].shape[-1])
            nothing = self.visits[0].new_zeros(shape)  # no action follows the last step
            following = torch.stack([*self.next_cells, nothing], 1)
            following = following.unflatten(-1, self.cells).unflatten(2, self.cells)
        return CellStatistics(
            visits=visits,
            reward_sum=torch.stack(self.rewards, 1).unflatten(-1, self.cells),
            next_state=torch.stack(self.moves, 1).unflatten(2, self.cells),
            next_cell=following,
            state_count=visits.sum(-1),
        )
