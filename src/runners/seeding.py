"""Random streams of their own for test episodes."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ..games import Game


@contextmanager
def isolated_randomness(game: Game, key: tuple[int, ...]) -> Iterator[None]:
    """Within the block, torch's global generators and the game's are seeded by ``key``; then restored.

    Args:
        game: its generator is the second stream.
        key: nonnegative integers, hashed to a seed by numpy's SeedSequence.
    """
    seeds = np.random.SeedSequence(key).generate_state(2, np.uint64)
    state = game.generator.get_state()
    devices = [game.device] if game.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(seeds[0] >> 1))
        game.generator.manual_seed(int(seeds[1] >> 1))
        try:
            yield
        finally:
            game.generator.set_state(state)
