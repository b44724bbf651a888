"""Mixers: from the agents' values to the value of the team."""

from .qmix import QMixer
from .vdn import VDNMixer

REGISTRY = {
    "vdn": VDNMixer,
    "qmix": QMixer,
}
