"""Controllers, by the name that ``mac:`` takes."""

from .mean_field_controller import MeanFieldMAC
from .private_table_mac import PrivateTableMAC

REGISTRY = {
    "mean_field_mac": MeanFieldMAC,
    "private_table_mac": PrivateTableMAC,
}
