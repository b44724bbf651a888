"""Mean-field policies, by the name that ``agent:`` takes."""

import torch

from .base import MeanFieldAgent
from .deep_set_network import DeepSetNetworkAgent
from .mean_action_q import MeanActionQAgent
from .mean_field_network import MeanFieldNetworkAgent
from .mean_field_table import MeanFieldTableAgent
from .soft_q_network import SoftQNetworkAgent

REGISTRY: dict[str, type[torch.nn.Module]] = {
    "deep_set_network": DeepSetNetworkAgent,
    "mean_action_q": MeanActionQAgent,
    "mean_field_network": MeanFieldNetworkAgent,
    "mean_field_table": MeanFieldTableAgent,
    "soft_q_network": SoftQNetworkAgent,
}

__all__ = [
    "REGISTRY",
    "DeepSetNetworkAgent",
    "MeanActionQAgent",
    "MeanFieldAgent",
    "MeanFieldNetworkAgent",
    "MeanFieldTableAgent",
    "SoftQNetworkAgent",
]
