"""Mean-field critics, by the name that ``critic_type:`` takes."""

import torch

from .deep_set_critic import DeepSetQ, DeepSetValue
from .mean_action_critic import MeanActionCritic
from .mean_field_critic import MeanFieldCritic

REGISTRY: dict[str, type[torch.nn.Module]] = {
    "deep_set_q": DeepSetQ,
    "deep_set_value": DeepSetValue,
    "mean_action_critic": MeanActionCritic,
    "mean_field_critic": MeanFieldCritic,
}

__all__ = ["REGISTRY", "DeepSetQ", "DeepSetValue", "MeanActionCritic", "MeanFieldCritic"]
