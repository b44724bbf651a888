"""The scale-free step rule: whether it holds, and the spreads that it is made of."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from ..functional.td_targets import TDSweep, row_mean


class Spreads(torch.nn.Module):
    """The square spreads G_k^2 of Q that the scale-free step is made of: the first, and the sum."""

    first: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("first", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))

    def begin(self, square: Tensor) -> None:
        """Take the unit of the entropy's weight from the first epoch."""
        self.first.copy_(square)

    def add(self, square: Tensor) -> None:
        """Add an epoch's."""
        self.total.add_(square)

    def of_a_step(self, n_epochs: int, horizon: int) -> Tensor:
        """u = sqrt(sum of G_k^2 / (n H)): root mean square of the spreads of a step, over n epochs.

        A float32 scalar in reward units; 1 where Q never told actions apart.
        """
        unit = (self.total / (n_epochs * horizon)).sqrt().float()
        return torch.where(unit > 0, unit, 1.0)


def over_episodes(targets: TDSweep, statistics: CellStatistics) -> tuple[Tensor, Tensor]:
    """Targets of B episodes in one table, the mean over all visits of a cell, and these visits, [T, S, A]."""
    visits = statistics.visits.sum(0)
    return (statistics.visits * targets.q_values).sum(0) / visits.clamp(min=1), visits


def row_origins(table: Tensor, visits: Tensor) -> Tensor:
    """Mean of a table [T, S, A] over the visits of each row, and of the step where nobody was: [T, S]."""
    steps = (visits * table).sum((1, 2)) / visits.sum((1, 2))  # [T]
    return torch.where(visits.sum(-1) > 0, row_mean(table, visits).squeeze(-1), steps.unsqueeze(-1))


def is_scale_free(args: SimpleNamespace, *, backward: bool) -> bool:
    """What ``step_rule`` comes to for this game.

    Args:
        args: reads ``step_rule``, ``c_scale_free``, ``tau`` and ``population_info["reward_factor"]``.
        backward: whether Q is swept from the last step to the first, without which there is no such rule.

    Raises:
        UserError: a scale-free rule without what it is made of.
    """
    if args.step_rule == "scale_free" and not backward:
        raise UserError(f"step_rule=scale_free: needs td_order=backward, not {args.td_order}")
    scaled = args.population_info.get("reward_factor", 1.0) != 1.0
    chosen = args.step_rule == "scale_free" or (args.step_rule == "auto" and scaled and backward)
    if chosen and not (args.c_scale_free > 0 and args.tau * args.c_scale_free < 1):
        raise UserError(
            f"c_scale_free={args.c_scale_free}: must be positive, and its product with tau={args.tau} below 1"
        )
    return chosen
