"""Actions that are not there to be taken."""

from torch import Tensor

UNAVAILABLE = -1e10  # a logit: finite, so that what it adds to an entropy, and its gradient, is 0


def mask_logits(logits: Tensor, available: Tensor) -> Tensor:
    """Logits [..., A] with those of unavailable actions at -1e10; ``available`` [..., A] bool.

    Where no action at all is available, as in the steps after an episode's end, all stay alike.
    """
    return logits.masked_fill(~available, UNAVAILABLE)


def masks_nothing(available: Tensor) -> bool:
    """Whether this is a single value seen through strides of 0, as hosts and controllers say "all"."""
    return not any(available.stride())
