"""Controllers of known policies under the population runner, for what the score is held against."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.runners import PopulationRunner


class ProfileMAC:
    """Agents who play tables, each its own.

    Args:
        profile: [N, H, S, A].
        shares_policy: what it declares.
    """

    def __init__(self, profile: Tensor, *, shares_policy: bool) -> None:
        self.profile = profile
        self.shares_policy = shares_policy
        self.action_selector = SimpleNamespace()

    def init_hidden(self, batch_size: int) -> None:
        """Tables have no memory."""

    def select_actions(
        self, batch: Any, t_ep: int, t_env: int, bs: Any = slice(None), test_mode: bool = False
    ) -> Tensor:
        """Sampled from torch's global generator, [B, N]."""
        states = batch["obs"][bs, t_ep, :, 0].long()
        rows = self.profile[torch.arange(states.shape[1]), t_ep, states]  # [B, N, A]
        return torch.multinomial(rows.flatten(0, 1), 1).reshape(states.shape)


class Keeper:
    """A logger that keeps the last value of each key."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.console_logger = SimpleNamespace(warning=lambda *words: None, info=lambda *words: None)

    def log_stat(self, key: str, value: Any, t: int, to_sacred: bool = True) -> None:
        """Keep it."""
        self.last[key] = float(value)


def score_profile(
    profile: Tensor,
    env_args: dict[str, Any],
    *,
    seed: int,
    n_episodes: int,
    shares_policy: bool,
    played: str = "always",
) -> dict[str, float]:
    """What the population runner logs of a profile [N, H, S, A] in one test.

    Args:
        profile: float64 rows that sum to 1.
        env_args: of the game, with its key.
        seed: of game and actions.
        n_episodes: of the test.
        shares_policy: what the controller declares.
        played: ``population.played``.
    """
    args = SimpleNamespace(
        env_args=env_args,
        observation="index",
        population={"threads": 0, "played": played},
        batch_size_run=n_episodes,
        test_nepisode=n_episodes,
        runner_log_interval=1,
        common_reward=False,
        reward_scalarisation="sum",
        device="cpu",
        seed=seed,
        t_max=1,
        evaluate=False,
        agent="table",
        obs_agent_id=not shares_policy,
    )
    logger = Keeper()
    runner = PopulationRunner(args, logger, episode_batch=EpisodeBatch)
    info = runner.get_env_info()
    scheme = {
        "state": {"vshape": info["state_shape"]},
        "obs": {"vshape": info["obs_shape"], "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "avail_actions": {"vshape": (info["n_actions"],), "group": "agents", "dtype": torch.int},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
        "reward": {"vshape": (info["n_agents"],)},
    }
    mac = ProfileMAC(profile, shares_policy=shares_policy)
    runner.setup(scheme, {"agents": info["n_agents"]}, {}, mac)
    runner.run(test_mode=True)
    return logger.last
