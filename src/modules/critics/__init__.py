"""Mean-field critics, by the name that ``critic_type:`` takes."""

import torch

from .mean_action_critic import MeanActionCritic
from .mean_field_critic import MeanFieldCritic

REGISTRY: dict[str, type[torch.nn.Module]] = {
    "mean_action_critic": MeanActionCritic,
    "mean_field_critic": MeanFieldCritic,
}

__all__ = ["REGISTRY", "MeanActionCritic", "MeanFieldCritic"]
