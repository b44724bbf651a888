"""Empirical distributions of a population, with and without the agent that looks at it."""

import torch
from torch import Tensor

from .integers import paired, tally


def count_values(values: Tensor, n_values: int) -> Tensor:
    """Count how many agents hold each value, episode by episode.

    Args:
        values: integers in 0 .. n_values - 1, [B, N], any integer type; small ones are counted as they are.
        n_values: K, the number of distinct values.

    Returns:
        Counts [B, K], int64; each row sums to N.
    """
    assert values.dim() == 2, values.shape
    batch_size = values.shape[0]
    episodes = torch.arange(batch_size, device=values.device).unsqueeze(1)  # [B, 1]
    labels = paired(episodes, values, batch_size, n_values).reshape(-1)  # [B * N]
    return tally(labels, batch_size * n_values).reshape(batch_size, n_values)


def others_distribution(counts: Tensor) -> Tensor:
    """Distribution of the other agents, as met by an agent of each value.

    sigma(rho^-i) = (counts - e_x) / (N - 1) for an agent whose own value is x (Yardim & He 2025,
    Sec. 2): it depends on i through x alone, so K rows serve all N agents.

    Args:
        counts: [..., K], the counts of all N >= 2 agents.

    Returns:
        [..., K, K]; row x is the distribution met by an agent at x. A row whose value nobody
        holds has a negative entry and is never looked up.
    """
    n_values = counts.shape[-1]
    total = counts.sum(-1, keepdim=True).unsqueeze(-1)  # [..., 1, 1]
    own = torch.eye(n_values, dtype=counts.dtype, device=counts.device)
    return (counts.unsqueeze(-2) - own) / (total - 1)


def entropy(log_policy: Tensor) -> Tensor:
    """Shannon entropy in nats, -sum_a pi(a) log pi(a), of log-probabilities [..., A]; returns [...].

    An action of probability zero (log-probability -inf) contributes 0.
    """
    probabilities = log_policy.exp()
    return -torch.where(probabilities > 0, probabilities * log_policy, 0.0).sum(-1)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p | q) = sum_a p(a) (log p(a) - log q(a)) in nats, of log-probabilities [..., A]; returns [...]."""
    probabilities = log_p.exp()
    return torch.where(probabilities > 0, probabilities * (log_p - log_q), 0.0).sum(-1)
