"""A small environment, short runs of it, and a learner of EPyMARL's beside the same of ours."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mf_pmd
from mf_pmd.host import envs
from mf_pmd.host.envs import MultiAgentEnv
from mf_pmd.host.utils.config import HOST_CONFIG, load_config

TOY_YAML = Path(__file__).with_name("toy.yaml")
DOCS = Path(__file__).resolve().parents[2] / "docs"


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


class LargestTensor(TorchDispatchMode):
    """Keeps the number of entries of the largest tensor that any operation puts out."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(output, torch.Tensor):
                self.largest = max(self.largest, output.untyped_storage().nbytes() // output.element_size())
        return result


@pytest.fixture
def largest_tensor() -> LargestTensor:
    return LargestTensor()


@pytest.fixture
def metrics_on_page() -> Callable[[str], set[str]]:
    """The names in the table of logged metrics on an algorithm's page."""

    def names(alg: str) -> set[str]:
        page = (DOCS / f"{alg}.md").read_text(encoding="utf-8")
        table = page.partition("## Logged metrics")[2].partition("\n## ")[0]
        rows = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
        return set(re.findall(r"`(\w+)`", rows))

    return names


# How a script that imports EPyMARL begins; what follows builds the two learners, trains and compares them
BESIDE_EPYMARL = """
import sys
from types import SimpleNamespace

import torch

sys.path.insert(0, sys.argv[1])
from components.episode_buffer import EpisodeBatch as TheirBatch
from components.transforms import OneHot as TheirOneHot
from controllers.basic_controller import BasicMAC as TheirMAC

from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.host.components.transforms import OneHot
from mf_pmd.host.controllers import REGISTRY as controllers
from mf_pmd.host.learners import REGISTRY as learners

B, T, N, O, A, S = 6, 7, 3, 4, 3, 2
SETTINGS = dict(
    n_agents=N, n_actions=A, agent="rnn", obs_agent_id=True, obs_last_action=True, hidden_dim=16, lr=0.003,
    gamma=0.9, grad_norm_clip=1.0, mask_before_softmax=True, common_reward=False, standardise_returns=False,
    standardise_rewards=False, target_update_interval_or_tau=0.1, learner_log_interval=1, use_cuda=False,
    device="cpu", env="toy", env_args={"key": "toy"}, episode_limit=T,
)
TOLERANCE = dict(rtol=2e-3, atol=2e-4)
groups = {"agents": N}


def scheme(n_rewards):
    return {
        "state": {"vshape": S},
        "obs": {"vshape": O, "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "avail_actions": {"vshape": (A,), "group": "agents", "dtype": torch.int},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
        "reward": {"vshape": (n_rewards,)},
    }


def batches(seed, args, *, early, cut_off=False):
    # the same episodes twice; where they are not early, cut_off leaves every other one without an end
    torch.manual_seed(seed)
    n_rewards = 1 if args.common_reward else N
    ends = torch.randint(2, T + 1, (B,)) if early else torch.full((B,), T)
    ends[0] = T
    ours, theirs = (
        batch(scheme(n_rewards), groups, B, T + 1, preprocess={"actions": ("actions_onehot", [one_hot(A)])})
        for batch, one_hot in ((EpisodeBatch, OneHot), (TheirBatch, TheirOneHot))
    )
    for b, end in enumerate(ends.tolist()):
        for t in range(end + 1):
            mask = torch.ones(N, A, dtype=torch.int)
            mask[0, t % A] = 0
            data = {"state": torch.randn(1, S), "obs": torch.randn(1, N, O), "avail_actions": mask[None]}
            if t < end:
                open_actions = mask.float().multinomial(1).view(1, N)
                ended = torch.tensor([[t == end - 1 and (early or not cut_off or b % 2 == 0)]])
                data |= {"actions": open_actions, "reward": torch.randn(1, n_rewards), "terminated": ended}
            for batch in (ours, theirs):
                batch.update(data, bs=b, ts=t)
    return ours, theirs


def equal_macs(example, args):
    ours = controllers["basic_mac"](example[0].scheme, groups, args)
    theirs = TheirMAC(example[1].scheme, groups, args)
    ours.agent.load_state_dict(theirs.agent.state_dict())
    return ours, theirs


class Recorder(dict):
    def log_stat(self, key, value, t):
        self[key] = value
"""


@pytest.fixture
def beside_epymarl() -> Callable[[str, dict[str, Any]], None]:
    """Run a script that goes on from ``BESIDE_EPYMARL`` and prints ``equal``, in a checkout of EPyMARL.

    The script finds the variant of the settings as ``eval(sys.argv[2])``.
    """
    if "EPYMARL_HOME" not in os.environ:
        pytest.skip("EPYMARL_HOME names no checkout of EPyMARL")

    def compare(script: str, variant: dict[str, Any]) -> None:
        path = os.pathsep.join([str(Path(mf_pmd.__file__).parents[1]), *filter(None, sys.path)])
        source = str(Path(os.environ["EPYMARL_HOME"]) / "src")
        finished = subprocess.run(
            [sys.executable, "-c", BESIDE_EPYMARL + script, source, repr(variant)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.strip() == "equal"

    return compare
