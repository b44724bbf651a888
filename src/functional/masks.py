"""Actions that are not there to be taken, and steps of a batch that nobody took."""

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


def counted_steps(filled: Tensor, terminated: Tensor) -> Tensor:
    """The steps of a batch at which somebody acted.

    A host fills the observation that follows the last action, also of an episode cut short: that one is no
    step. So a step counts when it was filled, nothing ended before it, and it ended the episode or was
    followed by an observation.

    Args:
        filled: which observations were written, [B, T + 1].
        terminated: steps that ended an episode for good, [B, T + 1]; a truncation is none of them.

    Returns:
        [B, T] bool.
    """
    filled, terminated = filled.bool(), terminated.bool()
    ended_before = terminated.cumsum(1)[:, :-1] - terminated[:, :-1].long() > 0
    return filled[:, :-1] & ~ended_before & (filled[:, 1:] | terminated[:, :-1])
