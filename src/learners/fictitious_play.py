"""Fictitious play on the tables of the induced game (Elie et al. 2020; Perrin et al. 2020)."""

import torch
from torch import Tensor

from ..functional.distributions import entropy
from ..functional.fictitious_play import fictitious_play_step
from .oracle_learner import OracleLearner

SMALLEST = torch.finfo(torch.float32).tiny  # for the logarithm of an action that nothing plays


class FictitiousPlayLearner(OracleLearner):
    """The average of best responses, each computed against the average before it, weighted by density.

    The first policy is uniform; the t-th best response enters with weight 1 / (t + 1). The table *is*
    the average, so that ``last`` is what fictitious play returns.
    """

    def remedy(self) -> str:
        return f"the tables of env_args.key={self.args.population_info['game']} are not finite"

    @staticmethod
    def first_table(shape: torch.Size) -> Tensor:
        return torch.full(shape, 1.0 / shape[-1], dtype=torch.float64)

    def iterate(self, table: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
        """One iteration on the average policy; metrics as in docs/fictitious_play.md."""
        weight = 1.0 / (self.epoch + 2)
        policy, _, flow = fictitious_play_step(self.model, table, weight=weight)
        log_policy = policy.clamp(min=SMALLEST).log()
        weights = flow.mu.sum(-1) / flow.mu.shape[0]  # [H, S], sums to 1
        metrics = {
            "mean_field_exploitability": self.exploitability(flow),
            "policy_entropy": (weights * entropy(log_policy)).sum().item(),
            "step_size": weight,
        }
        return policy, log_policy, metrics
