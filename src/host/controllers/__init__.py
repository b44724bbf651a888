"""Controllers: from a batch of episodes to actions."""

from .basic_mac import BasicMAC

REGISTRY = {
    "basic_mac": BasicMAC,
}
