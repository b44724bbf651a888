"""Variance components: how far agents' mean deviations spread, noise not counted, by blocks of episodes."""

from typing import NamedTuple

import torch
from torch import Tensor

FEWEST_AGENTS = 3  # that were in a cell in two blocks each
FEWEST_BLOCKS = 8  # in which a cell was visited
MOST_DROPPED = 0.25  # of the visits to a cell: those that had company are else no fair sample of them
FEWEST_VISITS = 100  # by those agents; with fewer than 50 a jackknife finds spreads in symmetric games


class Jackknifed(NamedTuple):
    """An estimate and what it is without one of the K blocks.

    Attributes:
        value: [...].
        left_out: [K, ...].
    """

    value: Tensor
    left_out: Tensor

    @property
    def error(self) -> Tensor:
        """Standard error, sqrt((K - 1) / K sum_k (v_k - mean v)^2) (Tukey 1958), [...]."""
        n_blocks = len(self.left_out)
        squares = (self.left_out - self.left_out.mean(0)) ** 2
        return (squares.mean(0) * (n_blocks - 1)).sqrt()

    @property
    def corrected(self) -> Tensor:
        """K v - (K - 1) mean_k v_k, free of bias in 1 / K (Quenouille 1956), [...].

        Means over visits are ratios, biased where how often one comes back depends on what one met.
        """
        return self.value + (len(self.left_out) - 1) * (self.value - self.left_out.mean(0))


def corrected_means(sums: Tensor, visits: Tensor) -> Tensor:
    """Means over visits by the jackknife, sums [..., K, N, C] over visits [K, N, C]: [..., N, C].

    A block that holds all visits is not left out; 0 of who has no visit.
    """
    total, count = sums.sum(-3), visits.sum(0)
    mean = total / count.clamp(min=1)
    shift = torch.zeros_like(mean)
    for k in range(len(visits)):
        rest = count - visits[k]
        shift += torch.where(rest > 0, mean - (total - sums[..., k, :, :]) / rest.clamp(min=1), 0.0)
    return mean + shift * (len(visits) - 1) / len(visits)


def eligible(visits: Tensor) -> Tensor:
    """Agents whose variance can be told from noise: visits [K, N, C] in at least two blocks; [N, C] bool."""
    return (visits > 0).sum(0) >= 2


def measured(visits: Tensor, dropped: Tensor) -> Tensor:
    """Cells that an interval can be given of: agents, blocks and visits enough, and few dropped, [C] bool.

    Args:
        visits: [K, N, C].
        dropped: visits to the same cells with nobody to compare with, [C].
    """
    chosen, fair = eligible(visits), fairly_kept(visits, dropped)
    visits = visits * chosen
    enough_blocks = (visits.sum(1) > 0).sum(0) >= FEWEST_BLOCKS
    return fair & enough_blocks & (chosen.sum(0) >= FEWEST_AGENTS) & (visits.sum((0, 1)) >= FEWEST_VISITS)


def fairly_kept(visits: Tensor, dropped: Tensor) -> Tensor:
    """Cells of whose visits a quarter at most was dropped, [C] bool: [K, N, C] and [C]."""
    return dropped <= MOST_DROPPED * (visits.sum((0, 1)) + dropped)


def variance_over_agents(sums: Tensor, noise: Tensor, visits: Tensor) -> Jackknifed:
    """Var_i dev_i, dev_i an agent's mean deviation over its visits, estimated without bias.

    dev_i^2 is (T_i^2 - sum_k e_ik^2) / n_i^2 with T_i = sum_k t_ik and e_ik the noise of block k: no law of
    the noise is supposed, only that it does not depend from one block on another. The square of the mean
    over agents is taken off in the same way. Means over visits are ratios, biased where how often one comes
    back depends on what one met: b_i, the shift of their jackknife (``corrected_means``), adds
    2 mean_i (dev_i - mean dev) b_i. It does not correlate with noise of equal size in all visits, and leaves
    in what agents' visits themselves differ by, which a jackknife of the variance would take for bias.
    Agents seen in fewer than two blocks are left out. What the populations of a step change in a deviation
    from one episode to another counts as noise.

    Args:
        sums: t, [K, N, C].
        noise: e, [K, N, C].
        visits: n, [K, N, C].

    Returns:
        Variances [C], which may be negative; NaN where no agent is left.
    """
    n_blocks, chosen = len(visits), eligible(visits).to(sums)
    n_agents, count, total = chosen.sum(0), visits.sum(0), sums.sum(0)
    squares = (noise**2).sum(0)  # [N, C]
    noise_of_mean = (noise * (chosen / count.clamp(min=1))).sum(1) / n_agents  # [K, C]

    def variance(total: Tensor, squares: Tensor, count: Tensor, of_mean: Tensor) -> Tensor:
        share = chosen / count.clamp(min=1)
        mean = (total * share).sum(0) / n_agents
        return ((total**2 - squares) * share**2).sum(0) / n_agents - (mean**2 - of_mean)

    of_mean = (noise_of_mean**2).sum(0)
    mean = total / count.clamp(min=1)
    shift = (corrected_means(sums, visits) - mean) * chosen
    about = mean - (mean * chosen).sum(0) / n_agents
    value = variance(total, squares, count, of_mean) + 2 * (about * shift).sum(0) / n_agents
    grown = (n_blocks / (n_blocks - 1)) ** 2  # of 1 / n_i^2 without a block
    left_out = [
        variance(
            total - sums[k],
            squares - noise[k] ** 2,
            count - visits[k],
            (of_mean - noise_of_mean[k] ** 2) * grown,
        )
        for k in range(n_blocks)
    ]
    return Jackknifed(value, torch.stack(left_out))
