"""What learners of population games share: epochs, logging, divergence, checkpoints, refusals."""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import DivergenceError, UserError

LEARNER_FILE = "learner.th"


class EpochLearner(ABC):
    """One batch of on-policy episodes is one epoch; what is learnt from it is ``learn``.

    Args:
        mac: a controller of local states, with ``record_iterate``.
        scheme: the host's batch scheme (not read).
        logger: the host's logger.
        args: reads the batch sizes, ``common_reward``, ``add_value_last_step``, ``obs_agent_id``,
            ``obs_last_action`` and ``learner_log_interval``.

    Attributes:
        logs: whether what ``learn`` returns now is logged; it may leave out what nobody will see.

    Raises:
        UserError: a setting that no such learner can serve.
    """

    supports_individual_rewards = True
    supports_common_reward = False
    learns_from = "trajectories"  # or cells, or nothing; what a runner must offer
    remedies: tuple[str, ...] = ("lr",)  # settings to lower when training diverged

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        check_epoch_settings(args)
        self.mac = mac
        self.logger = logger
        self.args = args
        self.n_states: int = args.state_shape
        self.n_actions: int = args.n_actions
        self.epoch = 0
        self.log_stats_t = -args.learner_log_interval - 1
        self.logs = True

    def train(self, batch: Any, t_env: int, episode_num: int) -> None:
        """Learn from one batch of on-policy episodes.

        Raises:
            DivergenceError: a loss, a value or the policy became NaN or infinite.
        """
        self.logs = t_env - self.log_stats_t >= self.args.learner_log_interval
        metrics = self.learn(batch)
        for key, value in metrics.items():
            if not math.isfinite(value):
                raise DivergenceError(f"{key}={value} at t_env={t_env}: training diverged; {self.remedy()}")
        self.mac.record_iterate()
        self.epoch += 1
        if self.logs:
            for key, value in metrics.items():
                self.logger.log_stat(key, value, t_env)
            self.log_stats_t = t_env

    @abstractmethod
    def learn(self, batch: Any) -> dict[str, float]:
        """Learn from one batch; returns the metrics to log."""

    def remedy(self) -> str:
        """What to change when training diverged."""
        return "lower " + " or ".join(f"{name}={getattr(self.args, name)}" for name in self.remedies)

    def modules(self) -> dict[str, Any]:
        """Everything with a state_dict that a checkpoint must hold, besides the controller."""
        return {}

    def cuda(self) -> None:
        """Move to the GPU."""
        self.mac.cuda()

    def save_models(self, path: str) -> None:
        """Write everything that a resumed run needs."""
        self.mac.save_models(path)
        state = {name: module.state_dict() for name, module in self.modules().items()}
        torch.save(state | {"epoch": self.epoch, "log_stats_t": self.log_stats_t}, Path(path) / LEARNER_FILE)

    def load_models(self, path: str) -> None:
        """Restore what ``save_models`` wrote.

        Raises:
            UserError: a checkpoint of another game, of other sizes, or of another algorithm.
        """
        self.mac.load_models(path)
        state = torch.load(Path(path) / LEARNER_FILE, map_location=self.args.device, weights_only=True)
        self.check_state(path, state)
        for name, module in self.modules().items():
            module.load_state_dict(state[name])
        self.epoch = state["epoch"]
        self.log_stats_t = state["log_stats_t"]

    def check_state(self, path: str, state: dict[str, Any]) -> None:
        """Refuse what ``save_models`` wrote under settings that these cannot go on from.

        Raises:
            UserError: naming what is missing, or the remedy.
        """
        missing = self.modules().keys() - state.keys()
        if missing:
            raise UserError(
                f"checkpoint_path={path}: its learner has no {', '.join(sorted(missing))}; "
                "take a checkpoint of these settings"
            )


def check_epoch_settings(args: SimpleNamespace) -> None:
    """Refuse what on-policy learning from individual rewards cannot serve.

    Raises:
        UserError: naming key, value and remedy.
    """
    if args.common_reward:
        raise UserError(
            f"common_reward=True: {args.name} learns from individual rewards, set common_reward=False"
        )
    for key in ("add_value_last_step", "obs_agent_id", "obs_last_action"):
        if getattr(args, key):
            raise UserError(f"{key}=True: {args.name} cannot use it, set {key}=False")
    sizes = (args.batch_size_run, args.batch_size, args.buffer_size)
    if len(set(sizes)) > 1:
        raise UserError(
            "batch_size_run={}, batch_size={}, buffer_size={}: {} learns on policy and must not mix epochs, "
            "set all three to one value".format(*sizes, args.name)
        )


def require_mean_field_agent(mac: Any, args: SimpleNamespace) -> None:
    """Refuse a controller without one mean-field agent for all, such as that of private tables.

    Raises:
        UserError
    """
    if not hasattr(getattr(mac, "agent", None), "tabular"):
        raise UserError(f"mac={args.mac}: {args.name} needs mac=mean_field_mac")


def require_undiscounted(args: SimpleNamespace) -> None:
    """Refuse a discount.

    Raises:
        UserError
    """
    if args.gamma != 1:
        raise UserError(f"gamma={args.gamma}: {args.name} sums rewards over the horizon, set gamma=1.0")


def require_choices(args: SimpleNamespace, choices: dict[str, tuple[str, ...]]) -> None:
    """Refuse a word that is not one of those offered for its key.

    Raises:
        UserError
    """
    for key, allowed in choices.items():
        if getattr(args, key) not in allowed:
            raise UserError(f"{key}={getattr(args, key)}: choose one of {', '.join(allowed)}")


def require_range(
    args: SimpleNamespace,
    *,
    positive: tuple[str, ...] = (),
    at_least_one: tuple[str, ...] = (),
    shares: tuple[str, ...] = (),
) -> None:
    """Refuse settings out of range; NaN is always out of range.

    Args:
        args: the settings.
        positive: keys above 0.
        at_least_one: keys of 1 or more.
        shares: keys between 0 and 1.

    Raises:
        UserError: naming the key, its value and its range.
    """
    for key in positive:
        if not getattr(args, key) > 0:
            raise UserError(f"{key}={getattr(args, key)}: must be positive")
    for key in at_least_one:
        if not getattr(args, key) >= 1:
            raise UserError(f"{key}={getattr(args, key)}: must be at least 1")
    for key in shares:
        if not 0 <= getattr(args, key) <= 1:
            raise UserError(f"{key}={getattr(args, key)}: must lie between 0 and 1")
