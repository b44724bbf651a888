"""What the oracles share: they compute on the tables of the induced game and read no sample."""

from abc import abstractmethod
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.best_response import best_response
from ..functional.mean_field import Flow, MeanFieldModel, expected_return
from .epoch_learner import EpochLearner, require_mean_field_agent, require_undiscounted


class OracleLearner(EpochLearner):
    """One iteration on the tables of the induced mean-field game (u = 0) for every batch played.

    The batch itself is not read: an oracle costs no samples, and its ``t_env`` counts episodes that
    were played and ignored. It is there to be compared with, not to compete.

    Args:
        mac: a mean-field controller of a tabular agent.
        scheme, logger: see EpochLearner.
        args: besides EpochLearner's, reads ``gamma``, ``agent`` and ``population_info["model"]``, set by the
            population runner.

    Raises:
        UserError: a game without tables, or an agent that is no table.
    """

    learns_from = "nothing"

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        require_undiscounted(args)
        self.model = require_model(args)
        require_mean_field_agent(mac, args)
        if not mac.agent.tabular:
            raise UserError(f"agent={args.agent}: {args.name} needs agent=mean_field_table")
        shape = mac.agent.log_table.shape  # [H, S, A]
        self.table = torch.nn.Module()
        self.table.register_buffer("values", self.first_table(shape))

    @staticmethod
    @abstractmethod
    def first_table(shape: torch.Size) -> Tensor:
        """What is iterated on, at first: [H, S, A] float64."""

    @abstractmethod
    def iterate(self, table: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
        """One iteration: table [H, S, A] -> the next one, its log-policy [H, S, A], the metrics to log."""

    @torch.no_grad()
    def learn(self, batch: Any) -> dict[str, float]:
        """One iteration, whatever was played."""
        values: Tensor = self.table.get_buffer("values")
        new, log_policy, metrics = self.iterate(values)
        values.copy_(new)
        self.mac.agent.log_table.copy_(log_policy)
        return metrics

    def modules(self) -> dict[str, Any]:
        return {"table": self.table}

    def cuda(self) -> None:
        super().cuda()
        self.table.cuda()

    def exploitability(self, flow: Flow) -> float:
        """Exact mean-field exploitability of the policy whose flow this is (Yardim & He 2025, Def. 5)."""
        response = best_response(flow.transition, flow.reward)
        return (response.value @ self.model.initial_law - expected_return(flow)).item()


def require_model(args: SimpleNamespace) -> MeanFieldModel:
    """The tables of the induced game.

    Raises:
        UserError: the game gives none.
    """
    model = args.population_info.get("model")
    if model is None:
        raise UserError(
            f"env_args.key={args.population_info['game']}: a game without tables, and {args.name} computes "
            "on tables; take an algorithm that learns from samples, such as mf_pmd, or a game with tables"
        )
    return model
