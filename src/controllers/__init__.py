"""Controllers, by the name that ``mac:`` takes."""

from .mean_field_controller import MeanFieldMAC

REGISTRY = {
    "mean_field_mac": MeanFieldMAC,
}
