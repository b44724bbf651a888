"""The runner of any MultiAgentEnv: copies of it in this process, in step with each other."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ...errors import UserError
from ..components.episode_batch import EpisodeBatch, Preprocess, Scheme
from ..envs import REGISTRY as ENVS
from ..utils.registries import look_up


class _Tally:
    """Returns and statistics of episodes since they were last logged.

    Attributes:
        returns: one array ``[1]`` or ``[N]`` an episode.
        stats: sums over episodes of the numbers in their last info, and of their lengths.
    """

    def __init__(self) -> None:
        self.returns: list[np.ndarray] = []
        self.stats: defaultdict[str, float] = defaultdict(float)

    def add(self, episode_return: np.ndarray, info: Mapping[str, Any], length: int) -> None:
        """Count an episode in."""
        self.returns.append(episode_return)
        self.stats["ep_length"] += length
        for key, value in info.items():
            self.stats[key] += float(value)


class EpisodeRunner:
    """Plays ``batch_size_run`` episodes at a time, each in its own copy of the environment.

    Every episode begins with a seed from torch's global generator where the environment's ``reset`` takes
    one, so that a run resumed from a checkpoint goes on as if it had not stopped.

    Args:
        args: ``env``, ``env_args``, ``batch_size_run``, ``common_reward``, ``reward_scalarisation``, ...
        logger: receives returns and statistics.
    """

    def __init__(self, args: SimpleNamespace, logger: Any):
        self.args = args
        self.logger = logger
        self.batch_size = args.batch_size_run
        self.envs = [self._make_env(index) for index in range(self.batch_size)]
        self._sizes = self.envs[0].get_env_info()
        self.episode_limit = self._sizes["episode_limit"]
        self._seedable = "seed" in inspect.signature(self.envs[0].reset).parameters
        self.t_env = 0
        self.log_train_stats_t = -args.runner_log_interval - 1
        self._tallies = {False: _Tally(), True: _Tally()}
        self._agent_steps, self._seconds = 0, 0.0
        self._last_training: float | None = None

    def setup(self, scheme: Scheme, groups: dict[str, int], preprocess: Preprocess, mac: Any) -> None:
        """Take the batches' layout and the controller."""
        self.mac = mac
        self._new_batch = partial(
            EpisodeBatch,
            scheme,
            groups,
            self.batch_size,
            self.episode_limit + 1,
            preprocess=preprocess,
            device=self.args.device,
        )

    def get_env_info(self) -> dict[str, Any]:
        """Sizes of the environment."""
        return self.envs[0].get_env_info()

    def save_replay(self) -> None:
        """Let the environment save a replay."""
        self.envs[0].save_replay()

    def close_env(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    @torch.no_grad()
    def run(self, test_mode: bool = False) -> EpisodeBatch:
        """Play an episode in every copy; ``t_env`` moves on in training only."""
        self._count_seconds(test_mode)
        batch = self._new_batch()
        tally = self._tallies[test_mode]
        self._reset_envs()
        self.mac.init_hidden(batch_size=self.batch_size)
        returns = np.zeros((self.batch_size, 1 if self.args.common_reward else self.args.n_agents))
        running = list(range(self.batch_size))
        self._write_view(batch, running, t=0)
        for t in range(self.episode_limit):
            actions = self.mac.select_actions(
                batch, t_ep=t, t_env=self.t_env, bs=running, test_mode=test_mode
            )
            rewards, terminated, done, infos = self._step(
                running, actions, render=test_mode and self.args.render
            )
            returns[running] += rewards
            batch.update({"actions": actions, "reward": rewards, "terminated": terminated}, bs=running, ts=t)
            self._write_view(batch, running, t=t + 1)
            for index, info in zip(running, infos, strict=True):
                if done[index]:
                    tally.add(returns[index], info, length=t + 1)
            if not test_mode:
                self.t_env += len(running)
                self._agent_steps += len(running) * self.args.n_agents
            running = [index for index in running if not done[index]]
            if not running:
                break
        self._log_when_due(test_mode)
        return batch

    def _make_env(self, index: int) -> Any:
        env_args = {**self.args.env_args, "seed": self.args.env_args["seed"] + index}
        return look_up(ENVS, "env", self.args.env)(
            **env_args,
            common_reward=self.args.common_reward,
            reward_scalarisation=self.args.reward_scalarisation,
        )

    def _reset_envs(self) -> None:
        seeds = torch.randint(2**31 - 1, (self.batch_size,)).tolist()
        for env, seed in zip(self.envs, seeds, strict=True):
            env.reset(seed=seed) if self._seedable else env.reset()

    def _write_view(self, batch: EpisodeBatch, running: list[int], t: int) -> None:
        sizes = self._sizes
        agents = sizes["n_agents"]
        shapes = {
            "state": tuple(np.atleast_1d(sizes["state_shape"]).tolist()),
            "obs": (agents, *np.atleast_1d(sizes["obs_shape"]).tolist()),
            "avail_actions": (agents, sizes["n_actions"]),
        }
        view = {
            key: np.stack([self._seen(self.envs[index], key, shapes[key], t) for index in running])
            for key in shapes
        }
        batch.update(view, bs=running, ts=t)

    def _seen(self, env: Any, key: str, shape: tuple[int, ...], t: int) -> np.ndarray:
        """One view of one environment, of the size that it announced."""
        rows, found = getattr(env, f"get_{key}")(), "rows of several sizes"
        with contextlib.suppress(ValueError):  # what numpy says of these
            seen = np.asarray(rows)
            if seen.size == np.prod(shape):
                return seen.reshape(shape)
            found = f"shape {seen.shape}"
        raise UserError(
            f"env={self.args.env}: get_{key} gave {found} at step {t} where get_env_info announced "
            f"{shape}; sizes must stay: pad what varies, show agents who are absent as zeros"
        )

    def _step(
        self, running: list[int], actions: torch.Tensor, render: bool
    ) -> tuple[np.ndarray, np.ndarray, dict[int, bool], list[Mapping[str, Any]]]:
        """Act in the running copies.

        Returns:
            Rewards ``[len(running), 1 or N]``, terminated ``[len(running), 1]`` (false where an episode was
            only cut off), whether each copy is done, and the infos.
        """
        rewards, terminated, done, infos = [], [], {}, []
        for index, action in zip(running, actions.cpu(), strict=True):
            _, reward, ended, truncated, info = self.envs[index].step(action)
            if render:
                self.envs[index].render()
            done[index] = bool(ended or truncated)
            rewards.append(np.atleast_1d(np.asarray(reward, dtype=np.float64)))
            terminated.append([done[index] and not info.get("episode_limit", False)])
            infos.append(info)
        return np.stack(rewards), np.array(terminated), done, infos

    def _log_when_due(self, test_mode: bool) -> None:
        tally = self._tallies[test_mode]
        if test_mode:
            if len(tally.returns) >= self.args.test_nepisode:
                self._log(tally, "test_")
                self._tallies[True] = _Tally()
        elif self.t_env - self.log_train_stats_t >= self.args.runner_log_interval:
            self._log(tally, "")
            self._tallies[False] = _Tally()
            self.log_train_stats_t = self.t_env
            self._log_speed()
            if hasattr(self.mac.action_selector, "epsilon"):
                self.logger.log_stat("epsilon", self.mac.action_selector.epsilon, self.t_env)

    def _log(self, tally: _Tally, prefix: str) -> None:
        """Returns, in reward units summed over an episode: the mean over agents, and the total of them."""
        returns = np.stack(tally.returns)  # [episodes, 1 or N]
        series = {"return": returns.mean(axis=1)}
        if not self.args.common_reward:
            series["total_return"] = returns.sum(axis=1)
        for name, values in series.items():
            self.logger.log_stat(f"{prefix}{name}_mean", values.mean(), self.t_env)
            self.logger.log_stat(f"{prefix}{name}_std", values.std(), self.t_env)
        for key, total in tally.stats.items():
            self.logger.log_stat(f"{prefix}{key}_mean", total / len(returns), self.t_env)

    def _count_seconds(self, test_mode: bool) -> None:
        """Count the time since training went on, playing and learning, and stop the clock for a test."""
        now = time.monotonic()
        if self._last_training is not None:
            self._seconds += now - self._last_training
        self._last_training = None if test_mode else now

    def _log_speed(self) -> None:
        self._count_seconds(test_mode=False)
        if self._seconds > 0:
            self.logger.log_stat("agent_steps_per_second", self._agent_steps / self._seconds, self.t_env)
        self._agent_steps, self._seconds = 0, 0.0
