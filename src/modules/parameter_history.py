"""The iterates of a network, as vectors of its parameters."""

from .policy_history import OUTPUT_POLICIES, PolicyHistory


class ParameterHistory(PolicyHistory):
    """Keeps the parameter vectors [P] that one output policy is the mean of, and no older ones.

    The mean policy is the mean of what the networks put out, not of their parameters: all are kept for
    ``average``, the last half for ``tail``, one for ``last``.

    Args:
        output_policy: ``last`` | ``average`` | ``tail``.
    """

    def __init__(self, output_policy: str) -> None:
        assert output_policy in OUTPUT_POLICIES, output_policy
        super().__init__(keep_all=True)
        self.output_policy = output_policy

    def length(self, name: str) -> int:
        """Iterates that the named policy is the mean of."""
        return {"last": 1, "average": self.count, "tail": self.tail_length}[name]

    def trim(self) -> None:
        """Forget what the output policy no longer needs."""
        del self.window[: len(self.window) - self.length(self.output_policy)]

    def kept(self) -> tuple[str, ...]:
        """The policies that can be made of what is kept."""
        return tuple(name for name in OUTPUT_POLICIES if self.length(name) <= len(self.window))
