"""Mean-field policies under one name: of numbered local states, or of what agents observe."""

from types import SimpleNamespace

from ..modules.agents.choose import OF_OBSERVATIONS, chosen_agent
from .mean_field_controller import MeanFieldMAC
from .observation_mac import ObservationMAC


def mean_field_mac(scheme: dict, groups: dict, args: SimpleNamespace) -> MeanFieldMAC | ObservationMAC:
    """The controller that plays ``agent``; ``agent=auto`` leaves it to the game (``chosen_agent``)."""
    if chosen_agent(args) == OF_OBSERVATIONS:
        return ObservationMAC(scheme, groups, args)
    return MeanFieldMAC(scheme, groups, args)
