"""Controllers, by the name that ``mac:`` takes."""

from .mean_action_controller import MeanActionMAC
from .mean_field_controller import MeanFieldMAC
from .private_table_mac import PrivateTableMAC

REGISTRY = {
    "mean_action_mac": MeanActionMAC,
    "mean_field_mac": MeanFieldMAC,
    "private_table_mac": PrivateTableMAC,
}
