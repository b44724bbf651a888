"""A replay memory of counted episodes."""

import torch

from ..functional.cells import CellStatistics


class CellReplay:
    """The cell statistics of the last ``capacity`` episodes, sampled uniformly.

    It replays what Yang et al. 2018 replay, transitions with their mean actions, in counted form: an
    episode takes T S A W numbers, W next states a cell, and T S A S A where pairs of cells are counted,
    whatever N is.

    Args:
        capacity: episodes kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.kept: CellStatistics | None = None

    def append(self, statistics: CellStatistics) -> None:
        """Add B episodes; the oldest beyond the capacity leave."""
        if self.kept is not None:
            statistics = self.kept.joined(statistics)
        self.kept = statistics.episodes(slice(-self.capacity, None))

    def sample(self, size: int) -> CellStatistics:
        """``size`` episodes, or as many as there are, without replacement, from torch's global generator."""
        assert self.kept is not None, "nothing was appended"
        count = self.kept.visits.shape[0]
        chosen = torch.randperm(count)[:size].to(self.kept.visits.device)
        return self.kept.episodes(chosen)

    def state_dict(self) -> dict:
        """The kept episodes, field by field."""
        fields = {} if self.kept is None else self.kept._asdict()
        return {name: None if field is None else field.clone() for name, field in fields.items()}

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` returned."""
        self.kept = CellStatistics(**state) if state else None
