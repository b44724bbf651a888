"""Online mirror descent on the tables of the induced game (Perolat et al. 2022)."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..functional.distributions import entropy, kl_divergence
from ..functional.online_mirror_descent import online_mirror_descent_step
from .epoch_learner import require_range
from .oracle_learner import OracleLearner


class OMDLearner(OracleLearner):
    """y_{t+1} = y_t + step Q^{pi_t} along the flow of pi_t,  pi_t = softmax(y_t),  y_0 = 0.

    Args:
        args: besides OracleLearner's, reads ``step_size``.
    """

    remedies = ("step_size",)

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        require_range(args, positive=("step_size",))

    @staticmethod
    def first_table(shape: torch.Size) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64)

    def iterate(self, table: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
        """One iteration on the logits; metrics as in docs/omd.md."""
        step = self.args.step_size
        logits, _, flow = online_mirror_descent_step(self.model, table, step_size=step)
        old, new = torch.log_softmax(table, -1), torch.log_softmax(logits, -1)
        weights = flow.mu.sum(-1) / flow.mu.shape[0]  # [H, S], sums to 1
        metrics = {
            "mean_field_exploitability": self.exploitability(flow),
            "policy_entropy": (weights * entropy(new)).sum().item(),
            "mirror_descent_kl": (weights * kl_divergence(new, old)).sum().item(),
            "step_size": step,
        }
        return logits, new, metrics
