"""Random streams of their own for test episodes, and the game's own of a run that is resumed."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

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


def continue_stream(generator: torch.Generator, state: Tensor) -> bool:
    """Let a generator go on from a state that was saved; returns whether it does.

    A state of another kind of device, of another size, is left out: its stream has no continuation here.
    """
    if state.shape != generator.get_state().shape:
        return False
    generator.set_state(state.cpu())
    return True
