"""Controllers, by the name that ``mac:`` takes."""

from .mean_action_controller import MeanActionMAC
from .mean_field_mac import mean_field_mac
from .observation_mac import ObservationMAC
from .private_table_mac import PrivateTableMAC

REGISTRY = {
    "mean_action_mac": MeanActionMAC,
    "mean_field_mac": mean_field_mac,
    "observation_mac": ObservationMAC,
    "private_table_mac": PrivateTableMAC,
}
