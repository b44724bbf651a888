"""A deep set: what a population looks like, whoever is who in it."""

from torch import Tensor


def masked_mean(features: Tensor, present: Tensor) -> Tensor:
    """Mean over the agents that are there of a feature of each (Zaheer et al. 2017, Thm. 2).

    m = sum_i p_i x_i / max(1, sum_i p_i): invariant to any permutation of the agents.

    Args:
        features: x [..., N, E].
        present: p [..., N] bool; a stride of 0 throughout tells that it is one value for all, read once.

    Returns:
        [..., E]; 0 where nobody is present.
    """
    assert features.shape[:-1] == present.shape, (features.shape, present.shape)
    weights = present.to(features.dtype).unsqueeze(-1)  # [..., N, 1]
    return (features * weights).sum(-2) / weights.sum(-2).clamp(min=1)
