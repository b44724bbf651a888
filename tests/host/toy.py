"""A small environment for the host's tests: agents learn to press the button that their light shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mf_pmd.host.envs import MultiAgentEnv


class ToyEnv(MultiAgentEnv):
    """Each of `n_agents` sees a light and is paid 1 for pressing the button of its colour.

    A third of the episodes end early, after `early` steps; the others are cut off at the limit.
    """

    def __init__(
        self,
        key: str = "toy",
        n_agents: int = 3,
        n_buttons: int = 2,
        episode_limit: int = 6,
        early: int = 3,
        seed: int = 0,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
    ):
        self.n_agents, self.n_buttons = n_agents, n_buttons
        self.episode_limit, self.early = episode_limit, early
        self.common_reward = common_reward
        self.random = np.random.default_rng(seed)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.random = np.random.default_rng(seed) if seed is not None else self.random
        self.t = 0
        self.ends_early = self.random.random() < 1 / 3
        self.lights = self.random.integers(self.n_buttons, size=self.n_agents)
        return self.get_obs(), {}

    def step(self, actions: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        rewards = (np.asarray(actions) == self.lights).astype(float)
        self.t += 1
        self.lights = self.random.integers(self.n_buttons, size=self.n_agents)
        terminated = self.ends_early and self.t >= self.early
        truncated = not terminated and self.t >= self.episode_limit
        info = {"episode_limit": truncated, "pressed": float(rewards.sum())}
        return self.get_obs(), rewards.sum() if self.common_reward else rewards, terminated, truncated, info

    def get_obs(self) -> list[np.ndarray]:
        return list(np.eye(self.n_buttons, dtype=np.float32)[self.lights])

    def get_state(self) -> np.ndarray:
        return np.concatenate(self.get_obs())

    def get_avail_actions(self) -> list[list[int]]:
        return [[1] * self.n_buttons] * self.n_agents

    def get_obs_size(self) -> int:
        return self.n_buttons

    def get_state_size(self) -> int:
        return self.n_buttons * self.n_agents

    def get_total_actions(self) -> int:
        return self.n_buttons
