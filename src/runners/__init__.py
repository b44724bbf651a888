"""Runners, by the name that ``runner:`` takes; the host's batch class is bound when they are registered."""

from .counting_runner import CountingRunner
from .population_runner import PopulationRunner

REGISTRY = {
    "counts": CountingRunner,
    "population": PopulationRunner,
}
