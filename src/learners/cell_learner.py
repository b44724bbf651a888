"""What learners from cells share: from the host's batch to cell statistics."""

from abc import abstractmethod
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import UserError
from ..functional.cells import CellStatistics, cell_statistics
from .epoch_learner import EpochLearner, require_range, require_undiscounted

__all__ = ["CellLearner", "check_cell_settings", "require_range", "require_undiscounted"]

LARGEST_TABLE = 2**28  # entries of the transition counts of one batch, 1 GiB


class CellLearner(EpochLearner):
    """Counts a batch into cells (``count``) and learns from the cells alone (``update``).

    The cost of an update does not depend on N. A batch whose runner counted (runner=counts) brings its
    statistics with it; learners compute in float32.

    Args:
        mac: a controller of local states.
        scheme: the host's batch scheme (not read).
        logger: the host's logger.
        args: what EpochLearner reads.

    Raises:
        UserError: a setting that no such learner can serve.
    """

    learns_from = "cells"

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_cell_settings(args, pairs=self.counts_next_cells(args))

    def learn(self, batch: Any) -> dict[str, float]:
        """Count one batch, and learn from the counts."""
        return self.update(self.count(batch))

    def count(self, batch: Any) -> CellStatistics:
        """Count the host's batch into cells, if it was not counted when it was played."""
        if hasattr(batch, "statistics"):
            return batch.statistics.to(torch.float32)
        return cell_statistics(
            batch["obs"][..., 0],
            batch["actions"][..., 0],
            batch["reward"][:, :-1],
            n_states=self.n_states,
            n_actions=self.n_actions,
            first_agent_only=self.counts_first_agent_only(self.args),
            count_next_cells=self.counts_next_cells(self.args),
        )

    @staticmethod
    def counts_first_agent_only(args: SimpleNamespace) -> bool:
        """Whether agent 1 alone is followed."""
        return False

    @staticmethod
    def counts_next_cells(args: SimpleNamespace) -> bool:
        """Whether pairs of successive cells are counted."""
        return False

    @abstractmethod
    def update(self, statistics: CellStatistics) -> dict[str, float]:
        """Learn from one batch; returns the metrics to log."""


def check_cell_settings(args: SimpleNamespace, *, pairs: bool) -> None:
    """Refuse counts of transitions that no memory holds; the message names key, value and remedy.

    Args:
        args: the settings.
        pairs: whether pairs of successive cells are counted.

    Raises:
        UserError
    """
    n_states, horizon = args.state_shape, args.population_info["horizon"]
    reached = n_states * args.n_actions if pairs else args.population_info.get("reach", n_states)
    entries = args.batch_size_run * horizon * n_states * args.n_actions * reached
    if entries > LARGEST_TABLE:
        raise UserError(
            f"batch_size_run={args.batch_size_run}: with {n_states} states and {horizon} steps the counts of "
            f"transitions fill {entries:.1e} entries (at most {LARGEST_TABLE:.1e}), lower one of them"
        )
