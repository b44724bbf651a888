"""Agent-steps of training a second, playing and learning together."""

import time
from collections.abc import Callable


class Speedometer:
    """Divides the agent-steps that were played and learnt from by the wall time of both.

    A runner sees no end of learning, only the next call: ``tick`` before every batch, of training
    or test, counts the time since the training batch before it. Only batches that were ticked off,
    hence learnt from, are read; a test is nobody's time.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.pending = 0
        self.steps, self.seconds = 0, 0.0
        self.last = clock()

    def tick(self) -> None:
        """Before a batch: what was played so far has been learnt from."""
        now = self.clock()
        if self.pending:
            self.seconds += now - self.last
            self.steps += self.pending
            self.pending = 0
        self.last = now

    def add(self, agent_steps: int) -> None:
        """After a training batch."""
        self.pending += agent_steps

    def read(self) -> float | None:
        """Agent-steps a second since the last reading, None if no batch was ticked off since."""
        if not self.steps:
            return None
        rate = self.steps / self.seconds if self.seconds > 0 else None
        self.steps, self.seconds = 0, 0.0
        return rate
