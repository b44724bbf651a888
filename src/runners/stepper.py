"""One environment step of all agents, in the smallest types and with no count made twice."""

import torch
from torch import Tensor

from ..games import Game, Step, advances


class Stepper:
    """Steps a game as ``game.reset`` and ``game.step_at`` do: same draws, same trajectory, bit for bit.

    A game that ``advances`` is stepped by ``advance``: its states are kept in a small integer type and it is
    told the counts of the places. Any other gets its int64 and counts for itself.

    Args:
        game: a population's.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self.advances = advances(game)
        self.state_type = game.state_type if self.advances else torch.int64

    def reset(self, batch_size: int) -> Tensor:
        """Initial local states, [B, N] ``state_type``."""
        return self.game.reset(batch_size).to(self.state_type)

    def step(self, h: int, states: Tensor, actions: Tensor, counts: Tensor) -> Step:
        """The next states, in ``state_type``, and everyone's reward.

        Args:
            h: which step it is.
            states: [B, N] ``state_type``.
            actions: [B, N], any integer type.
            counts: of the agents over the places, [B, K] int64.
        """
        if not self.advances:
            return self.game.step_at(h, states, actions.long())
        draws = self.game.draws(len(states))
        return self.game.advance(states, actions.to(self.state_type), counts, draws, h)
