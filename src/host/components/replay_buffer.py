"""The replay buffer: a ring of episodes for off-policy learners."""

from typing import Any

import numpy as np
import torch

from ...errors import UserError
from .episode_batch import AVAIL_ACTIONS, EpisodeBatch, Preprocess, Scheme


class ReplayBuffer(EpisodeBatch):
    """A ring of the last ``buffer_size`` episodes, sampled uniformly without replacement."""

    def __init__(
        self,
        scheme: Scheme,
        groups: dict[str, int],
        buffer_size: int,
        max_seq_length: int,
        preprocess: Preprocess | None = None,
        device: str | torch.device = "cpu",
    ):
        super().__init__(scheme, groups, buffer_size, max_seq_length, preprocess=preprocess, device=device)
        self.buffer_size = buffer_size
        self.buffer_index = 0
        self.episodes_in_buffer = 0

    def insert_episode_batch(self, batch: EpisodeBatch) -> None:
        """Copy `batch` into the ring, over the oldest episodes when it is full.

        Raises:
            ValueError: the batch has another length, or more episodes than the ring.
        """
        if batch.max_seq_length != self.max_seq_length or batch.batch_size > self.buffer_size:
            raise ValueError(f"{batch} does not fit into {self}")
        room = min(batch.batch_size, self.buffer_size - self.buffer_index)
        self._copy(batch[:room])
        if room < batch.batch_size:
            self._copy(batch[room:])

    def can_sample(self, batch_size: int) -> bool:
        """Whether `batch_size` different episodes are there."""
        return self.episodes_in_buffer >= batch_size

    def sample(self, batch_size: int) -> EpisodeBatch:
        """`batch_size` episodes drawn with numpy's global generator.

        When exactly as many are there, the result is a view of the buffer: never write into it.
        """
        if not self.can_sample(batch_size):
            raise ValueError(f"{batch_size} episodes asked for, {self.episodes_in_buffer} there")
        if self.episodes_in_buffer == batch_size:
            return self[:batch_size]
        episodes = np.random.choice(self.episodes_in_buffer, batch_size, replace=False)  # noqa: NPY002
        return self[episodes]

    def state_dict(self) -> dict[str, Any]:
        """The episodes in the ring and its position."""
        filled = self.data.map(lambda tensor: tensor[: self.episodes_in_buffer].cpu().clone())
        return {
            "stored": filled.stored,
            "written": filled.written,
            "buffer_index": self.buffer_index,
            "episodes_in_buffer": self.episodes_in_buffer,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave.

        Episodes of another form (other agents, one reward instead of many) are of no use here: the ring
        stays empty.

        Raises:
            UserError: there are more of them than this ring holds.
        """
        count = state["episodes_in_buffer"]
        if any(value.shape[1:] != self._read(key).shape[1:] for key, value in state["stored"].items()):
            return
        if count > self.buffer_size:
            raise UserError(
                f"buffer_size={self.buffer_size}: the checkpoint holds {count} episodes; "
                f"at least {count} are needed"
            )
        for key, value in state["stored"].items():
            self._write(key, value, (slice(0, count), slice(None)))
        for key, value in state["written"].items():
            self.data.written[key][:count] = value.to(self.device)
        self.buffer_index = state["buffer_index"]
        self.episodes_in_buffer = count

    def _copy(self, batch: EpisodeBatch) -> None:
        """Copy a batch that fits in front of the end of the ring."""
        end = self.buffer_index + batch.batch_size
        index = (slice(self.buffer_index, end), slice(None))
        keys = set(batch.data.stored)
        if AVAIL_ACTIONS in self.data.stored:
            keys.add(AVAIL_ACTIONS)
        for key in keys:
            self._write(key, batch[key], index)
        for key, written in batch.data.written.items():
            self.data.written[key][index] = written.to(self.device)
        self.episodes_in_buffer = max(self.episodes_in_buffer, end)
        self.buffer_index = end % self.buffer_size
