"""Draws from many laws at once, each from a row of a table, by inverting their sums."""

import torch
from torch import Tensor

from .parts import in_parts


def row_thresholds(laws: Tensor) -> Tensor:
    """The sums of K laws laid end to end: row k runs from k to k + 1.

    Entry (k, s) is k + sum_{s' <= s} p_k(s'). From the last state of positive probability on it is k + 1
    exactly, so that rounding neither draws a state of probability zero nor runs into the next row.

    Args:
        laws: [K, S] float64, nonnegative, rows sum to 1 but for rounding.

    Returns:
        [K S] float64, non-decreasing.
    """
    possible_later = laws.flip(-1).cumsum(-1).flip(-1)[:, 1:] > 0  # [K, S - 1]
    sums = torch.where(possible_later, laws.cumsum(-1)[:, :-1].clamp(max=1.0), 1.0)
    sums = torch.cat([sums, sums.new_ones(len(laws), 1)], 1)
    rows = torch.arange(len(laws), dtype=laws.dtype, device=laws.device)
    return (rows.unsqueeze(1) + sums).flatten()


def draw_from_rows(thresholds: Tensor, rows: Tensor, draws: Tensor, n_values: int) -> Tensor:
    """A value from each chosen row: the first whose threshold exceeds row + draw.

    One binary search a draw, whatever the number of values. Two thresholds that are equal enclose
    nothing, so that a value of probability zero is never drawn.

    Args:
        thresholds: ``row_thresholds`` of K laws over S values, [K S].
        rows: which law, any shape, int64.
        draws: uniform in [0, 1), the same shape; multiples of 2^-24, as float32 draws are, add to a row
            number below 2^28 without rounding.
        n_values: S.

    Returns:
        Values 0 .. S - 1, the shape of ``rows``, int64.
    """
    found = torch.searchsorted(thresholds, rows + draws.to(thresholds.dtype), right=True)
    return found - rows * n_values


def inverse_cdf_thresholds(policy: Tensor) -> Tensor:
    """Thresholds [..., A - 1] of rows pi [..., A]: the action is how many of them a uniform draw reaches."""
    # rounding may leave the sum below 1: from the last possible action on, no draw goes further
    possible_later = policy.flip(-1).cumsum(-1).flip(-1)[..., 1:] > 0
    return torch.where(possible_later, policy.cumsum(-1)[..., :-1], torch.inf)


def actions_drawn(thresholds: Tensor, rows: Tensor, draws: Tensor, *, dtype: torch.dtype) -> Tensor:
    """How many thresholds of its row every agent's draw reaches: one gather an action, no [B, N, A].

    Args:
        thresholds: ``inverse_cdf_thresholds`` of R rows, [B or 1, R, A - 1].
        rows: of every agent, [B, N], any integer type.
        draws: uniform in [0, 1), [B, N].
        dtype: of the actions, one that holds A - 1.

    Returns:
        [B, N].
    """

    def reached(rows: Tensor, draws: Tensor, thresholds: Tensor) -> tuple[Tensor]:
        index, actions = rows.long(), torch.zeros(rows.shape, dtype=dtype, device=rows.device)
        for k in range(thresholds.shape[-1]):
            actions += draws >= torch.gather(thresholds[..., k], 1, index)
        return (actions,)

    (actions,) = in_parts(reached, (rows, draws), (thresholds.expand(len(rows), -1, -1),))
    return actions
