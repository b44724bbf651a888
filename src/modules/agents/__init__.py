"""Mean-field policies, by the name that ``agent:`` takes."""

from .base import MeanFieldAgent
from .mean_field_network import MeanFieldNetworkAgent
from .mean_field_table import MeanFieldTableAgent

REGISTRY: dict[str, type[MeanFieldAgent]] = {
    "mean_field_network": MeanFieldNetworkAgent,
    "mean_field_table": MeanFieldTableAgent,
}

__all__ = ["REGISTRY", "MeanFieldAgent", "MeanFieldNetworkAgent", "MeanFieldTableAgent"]
