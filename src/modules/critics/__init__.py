"""Mean-field critics, by the name that ``critic_type:`` takes."""

from .mean_field_critic import MeanFieldCritic

REGISTRY = {
    "mean_field_critic": MeanFieldCritic,
}
