"""How a training is laid out: who deviates, in how many episodes, from which random streams."""

from typing import NamedTuple

from ...games import Game
from .settings import FEWEST_BATCHES, TrainingSettings

AGENTS_AT_ONCE = 2**16  # of all episodes that are played side by side
NETWORKS, TRAINING, VALIDATION, MEASURING = range(2**20, 2**20 + 4)  # random streams, no verb uses the same


class Plan(NamedTuple):
    """Attributes:
    k: agents that deviate in one episode.
    batch_size: episodes of a batch.
    n_batches: of training.
    """

    k: int
    batch_size: int
    n_batches: int


def plan_of(game: Game, settings: TrainingSettings) -> Plan:
    """How many deviate together, how many episodes make a batch, and batches enough for a curve."""
    k = max(1, int(settings.learning_share * game.n_agents))
    most = max(1, AGENTS_AT_ONCE // game.n_agents)
    batch_size = min(most, max(1, settings.batch_steps // (k * game.horizon)))
    n_batches = max(FEWEST_BATCHES, settings.budget // (batch_size * k * game.horizon))
    return Plan(k, batch_size, n_batches)


def iterates_kept(n_batches: int, n_candidates: int) -> set[int]:
    """The batches after which deviators are kept, evenly spaced, the last among them."""
    return {n_batches * (c + 1) // n_candidates - 1 for c in range(n_candidates)} - {-1}
