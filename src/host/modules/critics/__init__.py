"""Networks of the critics."""

from .ac_critic import ACCritic

REGISTRY = {
    "ac_critic": ACCritic,
}
