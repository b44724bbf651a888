"""Networks of the critics."""

from .ac_critic import ACCritic
from .cv_critic import CentralVCritic

REGISTRY = {
    "ac_critic": ACCritic,
    "cv_critic": CentralVCritic,
}
