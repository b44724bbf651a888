"""What is refused before a number is made of it."""

from torch import Tensor

ROUNDING = 1e-4  # by which a row of float32 probabilities may miss 1


class NotAPolicyError(ValueError):
    """Rows that are no probabilities."""


def require_policy(rows: Tensor, *, name: str = "the policy") -> Tensor:
    """Pass rows of probabilities on, unless they are none.

    Args:
        rows: pi(a | .), [..., A].
        name: what to call them.

    Returns:
        ``rows``, untouched: nothing is renormalised.

    Raises:
        NotAPolicyError: an entry is NaN, infinite or negative, or a row does not sum to 1.
    """
    if not rows.numel():
        return rows
    low, high = (bound.item() for bound in rows.sum(-1).aminmax())  # NaN if a sum is
    if rows.min().item() >= 0 and low >= 1 - ROUNDING and high <= 1 + ROUNDING:
        return rows
    if not bool(rows.isfinite().all()):
        raise NotAPolicyError(
            f"{name} holds NaN or infinite probabilities: nothing can be said of what it would do"
        )
    if rows.min().item() < 0:
        raise NotAPolicyError(f"{name} holds a negative probability, {rows.min().item():.3g}")
    worst = max(low, high, key=lambda total: abs(total - 1))
    raise NotAPolicyError(f"{name} has a row that sums to {worst:.6g}: probabilities must sum to 1")
