"""Runners, by the name that ``runner:`` takes; the host's batch class is bound when they are registered."""

from .population_runner import PopulationRunner

REGISTRY = {
    "population": PopulationRunner,
}
