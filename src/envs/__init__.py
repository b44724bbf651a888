"""Population games as the host's MultiAgentEnv, by the name that ``env:`` takes."""

from .population_env import PopulationEnv

REGISTRY = {
    "population": PopulationEnv,
}
