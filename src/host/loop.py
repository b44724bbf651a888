"""The loop: play, learn, test, log, save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from .assembly import Pieces
from .components.episode_batch import EpisodeBatch
from .utils.checkpoints import save_checkpoint
from .utils.progress import Progress
from .utils.random_states import isolated_randomness, random_states, restore_random_states

NEVER = -1


class Loop:
    """Training of assembled pieces, with the clocks of tests, logs and checkpoints.

    Tests run on random generators of their own and leave the global ones as they were, so that training does
    not depend on when tests happen, and a resumed run equals one that was not interrupted.

    Args:
        pieces: what takes part.
        config: the plain settings, which every checkpoint repeats.
        models_dir: folder of the checkpoints, made by the first one.
    """

    def __init__(self, pieces: Pieces, config: dict[str, Any], models_dir: Path):
        self.args, self.logger = pieces.args, pieces.logger
        self.runner, self.learner, self.buffer = pieces.runner, pieces.learner, pieces.buffer
        self.config = config
        self.models_dir = models_dir
        self.checkpoint: Path | None = None
        self.episode = 0
        self.last_test_t = self.last_save_t = NEVER
        self.last_log_t = 0

    def train(self) -> None:
        """Until ``t_max``: a test and a checkpoint at the start, at every interval, and at the end.

        Raises:
            DivergenceError: a learner met a value that is not finite.
            UserError: a checkpoint cannot be written. Both name the last good checkpoint.
        """
        args = self.args
        progress = Progress(args.progress, self.logger, start=self.runner.t_env, total=args.t_max)
        try:
            self._test_when_due()
            self._save_when_due()
            if self.runner.t_env == 0:  # where the run starts from, beside which the rest is read
                self._log_when_due(progress, force=True)
            while self.runner.t_env < args.t_max:
                self._epoch()
                finished = self.runner.t_env >= args.t_max
                self._test_when_due(force=finished)
                self._save_when_due(force=finished)
                self._log_when_due(progress, force=finished)
                progress.update(self.runner.t_env)
        except UserError as error:
            raise type(error)(f"{error}; {self.describe_checkpoint()}") from error
        finally:
            progress.close()
        progress.summarise()

    def evaluate(self) -> None:
        """Tests alone, of what was loaded."""
        self._test()
        if self.args.save_replay:
            self.runner.save_replay()
        self.logger.log_stat("episode", self.episode, self.runner.t_env)
        self.logger.print_recent_stats()

    def describe_checkpoint(self) -> str:
        """A clause that names the newest checkpoint."""
        if self.checkpoint is None:
            return "there is no checkpoint"
        return f"the last good checkpoint is {self.checkpoint}"

    def state_dict(self) -> dict[str, Any]:
        """Everything but the learner's part of a checkpoint."""
        runner = self.runner
        return {
            "t_env": runner.t_env,
            "episode": self.episode,
            "last_test_t": self.last_test_t,
            "last_log_t": self.last_log_t,
            "log_train_stats_t": runner.log_train_stats_t,
            "random_states": random_states(),
            "runner": runner.state_dict() if hasattr(runner, "state_dict") else None,
            "buffer": self.buffer.state_dict() if self.buffer is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; the random states last, for restoring may draw."""
        self.runner.t_env = state["t_env"]
        self.runner.log_train_stats_t = state["log_train_stats_t"]
        self.episode = state["episode"]
        self.last_test_t = state["last_test_t"]
        self.last_save_t = state["t_env"]
        self.last_log_t = state["last_log_t"]
        if state["runner"] is not None and hasattr(self.runner, "load_state_dict"):
            self.runner.load_state_dict(state["runner"])
        if state["buffer"] is not None and self.buffer is not None:
            self.buffer.load_state_dict(state["buffer"])
        restore_random_states(state["random_states"])

    def _epoch(self) -> None:
        """Play a batch and learn from it, or from a sample of the buffer."""
        batch = self.runner.run(test_mode=False)
        if self.buffer is not None:
            self.buffer.insert_episode_batch(batch)
        if self.buffer is None or self.buffer.can_sample(self.args.batch_size):
            sample = batch if self.buffer is None else self.buffer.sample(self.args.batch_size)
            self.learner.train(self._trimmed(sample), self.runner.t_env, self.episode)
        self.episode += self.args.batch_size_run

    def _trimmed(self, batch: EpisodeBatch) -> EpisodeBatch:
        """The steps that any episode fills, on the learner's device."""
        longest = int(batch.max_t_filled())
        if longest < batch.max_seq_length:
            batch = batch[:, :longest]
        if str(batch.device) != self.args.device:
            batch = batch[:, :]
            batch.to(self.args.device)
        return batch

    def _test_when_due(self, force: bool = False) -> None:
        t_env = self.runner.t_env
        due = self.last_test_t == NEVER or t_env - self.last_test_t >= self.args.test_interval
        if due or (force and t_env != self.last_test_t):
            self._test()
            self.last_test_t = t_env

    def _test(self) -> None:
        with isolated_randomness(self.args.seed, self.runner.t_env):
            for _ in range(max(1, self.args.test_nepisode // self.runner.batch_size)):
                self.runner.run(test_mode=True)
        self.logger.log_test(self.runner, self.runner.t_env)

    def _save_when_due(self, force: bool = False) -> None:
        t_env = self.runner.t_env
        due = self.last_save_t == NEVER or t_env - self.last_save_t >= self.args.save_model_interval
        if not self.args.save_model or not (due or (force and t_env != self.last_save_t)):
            return
        self.last_save_t = t_env
        folder = self.models_dir / str(t_env)
        save_checkpoint(
            folder,
            save_models=self.learner.save_models,
            host_state=self.state_dict(),
            config=self.config,
        )
        self.checkpoint = folder
        if self.args.wandb_save_model:
            self.logger.log_model(folder, t_env)

    def _log_when_due(self, progress: Progress, force: bool) -> None:
        t_env = self.runner.t_env
        if force or t_env - self.last_log_t >= self.args.log_interval:
            self.logger.log_stat("episode", self.episode, t_env)
            self.logger.flush()
            progress.report(t_env)
            self.last_log_t = t_env
