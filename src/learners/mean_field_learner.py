"""What the mean-field learners share: from the host's batch to cell statistics, logging, checkpoints."""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import DivergenceError, UserError
from ..functional.cells import CellStatistics, cell_statistics
from ..functional.mirror_descent import mixing_weight, step_size

LEARNER_FILE = "learner.th"
LARGEST_TABLE = 2**28  # entries of the transition counts of one batch, 1 GiB


class MeanFieldLearner(ABC):
    """One epoch of policy mirror descent a batch (Yardim & He 2025, Alg. 2).

    ``train`` counts the batch into cells; ``update`` learns from the cells alone, at a cost that
    does not depend on N.

    Args:
        mac: a mean-field controller.
        scheme: the host's batch scheme (not read).
        logger: the host's logger.
        args: reads ``tau``, ``c_xi``, ``c_mix``, ``mix_offset``, ``td_agents``, ``td_target``, the
            batch sizes, ``common_reward`` and ``learner_log_interval``.

    Raises:
        UserError: a setting that the algorithm cannot serve.
    """

    supports_individual_rewards = True
    supports_common_reward = False

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        check_settings(args)
        self.mac = mac
        self.logger = logger
        self.args = args
        self.n_states: int = args.state_shape
        self.n_actions: int = args.n_actions
        self.epoch = 0
        self.log_stats_t = -args.learner_log_interval - 1

    def train(self, batch: Any, t_env: int, episode_num: int) -> None:
        """Learn from one batch of on-policy episodes.

        Raises:
            DivergenceError: a loss, a value or the policy became NaN or infinite.
        """
        statistics = self.count(batch)
        metrics = self.update(statistics)
        for key, value in metrics.items():
            if not math.isfinite(value):
                raise DivergenceError(
                    f"{key}={value} at t_env={t_env}: training diverged; "
                    f"lower c_xi={self.args.c_xi} or lr={self.args.lr}"
                )
        self.mac.record_iterate()
        self.epoch += 1
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            for key, value in metrics.items():
                self.logger.log_stat(key, value, t_env)
            self.log_stats_t = t_env

    def count(self, batch: Any) -> CellStatistics:
        """Count the host's batch into cells."""
        return cell_statistics(
            batch["obs"][..., 0],
            batch["actions"][..., 0],
            batch["reward"][:, :-1],
            n_states=self.n_states,
            n_actions=self.n_actions,
            first_agent_only=self.args.td_agents == "one",
            count_next_cells=self.args.td_target == "sarsa",
        )

    @abstractmethod
    def update(self, statistics: CellStatistics) -> dict[str, float]:
        """TD learning, then one mirror-descent step; returns the metrics to log."""

    @property
    def xi(self) -> float:
        """Step size of this epoch."""
        return step_size(self.epoch, self.args.c_xi)

    @property
    def mixing(self) -> float:
        """Weight of the uniform policy in this epoch."""
        return mixing_weight(self.epoch, self.args.c_mix, self.args.mix_offset)

    def modules(self) -> dict[str, torch.nn.Module | torch.optim.Optimizer]:
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
        for name, module in self.modules().items():
            module.load_state_dict(state[name])
        self.epoch = state["epoch"]
        self.log_stats_t = state["log_stats_t"]


def check_settings(args: SimpleNamespace) -> None:
    """Refuse what policy mirror descent cannot serve; the message names key, value and remedy.

    Raises:
        UserError
    """
    if args.common_reward:
        raise UserError(
            f"common_reward=True: {args.name} learns from individual rewards, set common_reward=False"
        )
    if args.gamma != 1:
        raise UserError(f"gamma={args.gamma}: {args.name} sums rewards over the horizon, set gamma=1.0")
    for key in ("add_value_last_step", "obs_agent_id", "obs_last_action"):
        if getattr(args, key):
            raise UserError(f"{key}=True: {args.name} cannot use it, set {key}=False")
    sizes = (args.batch_size_run, args.batch_size, args.buffer_size)
    if len(set(sizes)) > 1:
        raise UserError(
            "batch_size_run={}, batch_size={}, buffer_size={}: {} learns on policy and must not mix epochs, "
            "set all three to one value".format(*sizes, args.name)
        )
    choices = {"td_agents": ("all", "one"), "td_target": ("expected_sarsa", "sarsa")}
    for key, allowed in choices.items():
        if getattr(args, key) not in allowed:
            raise UserError(f"{key}={getattr(args, key)}: choose one of {', '.join(allowed)}")
    for key in ("c_xi", "mix_offset"):
        if not getattr(args, key) > 0:
            raise UserError(f"{key}={getattr(args, key)}: must be positive")
    for key in ("tau", "c_mix"):
        if not getattr(args, key) >= 0:
            raise UserError(f"{key}={getattr(args, key)}: must not be negative")
    n_states, horizon = args.state_shape, args.population_info["horizon"]
    entries = args.batch_size_run * horizon * n_states**2 * args.n_actions
    entries *= args.n_actions if args.td_target == "sarsa" else 1
    if entries > LARGEST_TABLE:
        raise UserError(
            f"batch_size_run={args.batch_size_run}: with {n_states} states and {horizon} steps the counts of "
            f"transitions fill {entries:.1e} entries (at most {LARGEST_TABLE:.1e}), lower one of them"
        )
    if not args.tau * args.c_xi < 1:
        raise UserError(f"tau={args.tau}, c_xi={args.c_xi}: their product must be below 1, lower one of them")
