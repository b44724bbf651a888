"""A deep set: what a population looks like, whoever is who in it."""

from torch import Tensor


def masked_mean(features: Tensor, present: Tensor) -> Tensor:
    """Mean over the agents that are there of a feature of each (Zaheer et al. 2017, Thm. 2).

    m = sum_i p_i x_i / max(1, sum_i p_i): invariant to any permutation of the agents.

    Args:
        features: x [..., N, E].
        present: p [..., N] bool; or shares that sum to 1, for a population that is a distribution over
            the N kinds of agent that ``features`` lists.

    Returns:
        [..., E]; 0 where nobody is present.
    """
    assert features.shape[:-1] == present.shape, (features.shape, present.shape)
    weights = present.to(features.dtype).unsqueeze(-2)  # [..., 1, N]
    return (weights @ features).squeeze(-2) / weights.sum(-1).clamp(min=1)
