"""A small environment and short runs of it."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mf_pmd.host import envs
from mf_pmd.host.envs import MultiAgentEnv
from mf_pmd.host.utils.config import HOST_CONFIG, load_config

TOY_YAML = Path(__file__).with_name("toy.yaml")


class ToyEnv(MultiAgentEnv):
    """Each of `n_agents` sees a light and is paid 1 for pressing the button of its colour.

    A third of the episodes end early, after `early` steps; the others are cut off at the limit.
    """

    def __init__(
        self,
        key: str,
        n_agents: int,
        n_buttons: int,
        episode_limit: int,
        early: int,
        seed: int,
        common_reward: bool,
        reward_scalarisation: str,
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
        reward = rewards.sum() if self.common_reward else rewards
        info = {"episode_limit": truncated, "pressed": float(rewards.sum())}
        return self.get_obs(), reward, terminated, truncated, info

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


@pytest.fixture(autouse=True)
def toy_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the environment for the duration of a test."""
    monkeypatch.setitem(envs.REGISTRY, "toy", ToyEnv)


@pytest.fixture
def console(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The lines that a run prints, which do not reach the root logger."""
    logger = logging.getLogger("mf_pmd")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def toy_config(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The configuration of a short run of an algorithm on the toy; takes ``key=value`` words."""

    def load(*words: str, alg: str = "ippo") -> dict[str, Any]:
        base = [
            "seed=1",
            "use_cuda=False",
            "threads=1",
            "hidden_dim=16",
            f"local_results_path={tmp_path / 'out'}",
        ]
        return load_config(alg, str(TOY_YAML), [*base, *words], [HOST_CONFIG])

    return load
