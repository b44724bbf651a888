"""Is a mean-field game monotone: P free of mu, and more of a cell never makes it better paid."""

from typing import NamedTuple

import torch
from torch import Tensor

from .population_slopes import affine_gap

WRITTEN = 6  # entries of a population that are told
TOLERANCE = 1e-6  # of sums of products of probabilities and rewards that may come in float32


class Monotonicity(NamedTuple):
    """Attributes:
    monotone: None where no violation was found and none can be excluded.
    note: how that is known.
    """

    monotone: bool | None
    note: str


def monotonicity(
    populations: Tensor, laws: Tensor, rewards: Tensor, *, with_corners: bool = True
) -> Monotonicity:
    """Whether P is free of mu and sum_c (R(c, mu) - R(c, mu')) (mu - mu')(c) <= 0 (Yardim & He 2025).

    A violation is certain. Its absence is told by the form v^T R v on changes v that sum to 0, where R is
    affine in mu; otherwise it is not told. That P is free of mu and R affine is seen at these populations.

    Args:
        populations: mu, [Q, d] float64.
        laws: P at each, [Q, d, S].
        rewards: R at each, [Q, d].
        with_corners: whether the d corners e_j are the first d of them, in order; without them a game is
            never called monotone.
    """
    corners = rewards[: populations.shape[1]]
    moved = (laws - laws[:1]).abs().sum(-1).max().item()
    if moved > TOLERANCE:
        return Monotonicity(False, f"P depends on mu, a law moves by {moved:.3g}")
    seen = f"at {len(populations)} populations P is free of mu"
    if with_corners and affine_gap(rewards, populations, corners).item() <= TOLERANCE:
        steepest, direction = largest_on_changes(corners)
        form = f"{seen} and R affine in it, v R v is at most"
        if steepest <= TOLERANCE:
            return Monotonicity(True, f"{form} 0")
        return Monotonicity(False, f"{form} {steepest:.3g} |v|^2, along v = {_written(direction)}")
    worst, first, second = largest_gain(populations, rewards)
    if worst > TOLERANCE:
        pair = f"mu = {_written(populations[first])} and mu' = {_written(populations[second])}"
        return Monotonicity(False, f"sum (R(mu) - R(mu')) (mu - mu') is {worst:.3g} at {pair}")
    return Monotonicity(None, f"{seen}, and no pair of them violates it, which leaves it open")


def largest_on_changes(corner_rewards: Tensor) -> tuple[float, Tensor]:
    """Largest eigenvalue of the symmetric part of v -> sum_c v_c R(c, v) on changes v that sum to 0.

    Args:
        corner_rewards: R(c, e_j), [d (j), d (c)].

    Returns:
        The eigenvalue (0 at least, that of changes that there are none of) and its direction [d].
    """
    n_cells = len(corner_rewards)
    tangent = torch.eye(n_cells).to(corner_rewards) - 1 / n_cells
    form = tangent @ ((corner_rewards + corner_rewards.T) / 2) @ tangent
    values, vectors = torch.linalg.eigh(form)
    return values[-1].item(), vectors[:, -1]


def largest_gain(populations: Tensor, rewards: Tensor) -> tuple[float, int, int]:
    """The largest sum_c (R(c, mu) - R(c, mu')) (mu - mu')(c) among pairs, and the pair.

    Args:
        populations: [Q, d].
        rewards: [Q, d].
    """
    pays = rewards @ populations.T  # [Q, Q]: R at the first, weighed by the second
    own = pays.diagonal()
    gains = own.unsqueeze(1) + own - pays - pays.T
    worst = int(gains.argmax())
    first, second = divmod(worst, len(populations))
    return gains.flatten()[worst].item(), first, second


def _written(vector: Tensor) -> str:
    """Its largest entries, by cell."""
    cells = vector.abs().topk(min(WRITTEN, len(vector))).indices.sort().values.tolist()
    told = ", ".join(f"{vector[c].item():.3g} at {c}" for c in cells if vector[c] != 0)
    return f"({told}{', ...' if len(vector) > WRITTEN else ''})"
