"""The iterates of a network, as vectors of its parameters."""

import torch

from .policy_history import OUTPUT_POLICIES, PolicyHistory


class ParameterHistory(PolicyHistory):
    """Keeps the parameter vectors [P] whose networks one output policy is the mean of, and no others.

    The mean policy is the mean of what the networks put out, not of their parameters: all are kept for
    ``average``, the last half for ``tail``. ``last`` is the network itself, and none is kept for it.

    Args:
        output_policy: ``last`` | ``average`` | ``tail``.
    """

    def __init__(self, output_policy: str) -> None:
        assert output_policy in OUTPUT_POLICIES, output_policy
        super().__init__(keep_all=True)
        self.output_policy = output_policy

    @torch.no_grad()
    def record(self, module: torch.nn.Module) -> None:
        """Add the parameters that a module has now, if any are kept at all."""
        if self.output_policy != "last":
            self.append(torch.nn.utils.parameters_to_vector(module.parameters()))
            self.trim()

    def length(self, name: str) -> int:
        """Iterates that the named policy is the mean of."""
        return {"last": 1, "average": self.count, "tail": self.tail_length}[name]

    def trim(self) -> None:
        """Forget what the output policy does not need."""
        del self.window[: len(self.window) - self.length(self.output_policy)]

    def kept(self) -> tuple[str, ...]:
        """The policies that can be made of what is kept."""
        return tuple(name for name in OUTPUT_POLICIES if 0 < self.length(name) <= len(self.window))


def most_kept(output_policy: str, n_iterates: int) -> int:
    """How many of the parameter vectors of a run are kept at its end."""
    return {"last": 0, "average": n_iterates, "tail": n_iterates - n_iterates // 2}[output_policy]
