"""Mean and deviation of everything that was ever seen: the unit of a critic."""

from torch import Tensor


class RunningScale:
    """The unit in which a critic learns returns, so that its network sees numbers of order 1.

    Merges batches exactly (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", 1979). Before anything was seen, and where everything was the same, the deviation is 1.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0  # sum of squared distances from the mean

    def update(self, values: Tensor) -> None:
        """Take in some more values, [n]."""
        if not len(values):
            return
        values = values.double()
        mean = values.mean()
        total = self.count + len(values)
        distance = mean.item() - self.mean
        self.squares += (values - mean).square().sum().item()
        self.squares += distance**2 * self.count * len(values) / total
        self.mean += distance * len(values) / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Standard deviation of all values so far, in their unit."""
        if self.count == 0 or self.squares == 0:
            return 1.0
        return (self.squares / self.count) ** 0.5

    def standardise(self, values: Tensor) -> Tensor:
        """Values in units of the deviation, from the mean, [...]."""
        return (values - self.mean) / self.deviation

    def restore(self, values: Tensor) -> Tensor:
        """The inverse of ``standardise``, [...]."""
        return values * self.deviation + self.mean

    def state_dict(self) -> dict[str, float]:
        """Everything, as numbers."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what ``state_dict`` returned."""
        self.count, self.mean, self.squares = int(state["count"]), state["mean"], state["squares"]
