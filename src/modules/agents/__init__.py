"""Mean-field policies, by the name that ``agent:`` takes."""

from .mean_field_network import MeanFieldNetworkAgent
from .mean_field_table import MeanFieldTableAgent

REGISTRY = {
    "mean_field_network": MeanFieldNetworkAgent,
    "mean_field_table": MeanFieldTableAgent,
}

__all__ = ["REGISTRY", "MeanFieldNetworkAgent", "MeanFieldTableAgent"]
