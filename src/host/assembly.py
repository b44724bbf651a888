"""Builds the pieces of a run from its configuration; writes nothing to disk."""

from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import UserError
from .components.episode_batch import Preprocess, Scheme, complete_scheme
from .components.replay_buffer import ReplayBuffer
from .components.transforms import OneHot
from .controllers import REGISTRY as CONTROLLERS
from .learners import REGISTRY as LEARNERS
from .runners import REGISTRY as RUNNERS
from .utils.logger import Logger, require_tensorboard
from .utils.registries import look_up

AT_LEAST_ONE = (
    "t_max",
    "batch_size_run",
    "batch_size",
    "buffer_size",
    "test_nepisode",
    "test_interval",
    "log_interval",
    "save_model_interval",
    "learner_log_interval",
    "runner_log_interval",
    "hidden_dim",
)
THREADS_A_CPU = 4  # more of them than this is a slip, and many more crash torch


@dataclass
class Pieces:
    """Everything that takes part in a run.

    Attributes:
        args: the settings, with ``device``, the sizes of the environment and the run's token.
        buffer: None for an on-policy run, whose batches go to the learner as they are.
    """

    args: SimpleNamespace
    logger: Logger
    runner: Any
    learner: Any
    buffer: ReplayBuffer | None


def check_config(config: dict[str, Any]) -> None:
    """Raise a UserError for settings that no run can serve."""
    for key in AT_LEAST_ONE:
        if key in config and config[key] < 1:
            raise UserError(f"{key}={config[key]}: at least 1 is needed")
    largest = {"threads": THREADS_A_CPU * (os.cpu_count() or 1), "gamma": 1, "load_step": math.inf}
    for key, upper in largest.items():
        if not 0 <= config[key] <= upper:
            needed = "0 or more" if upper == math.inf else f"a value from 0 to {upper}"
            raise UserError(f"{key}={config[key]}: {needed} is needed")
    if not config["local_results_path"]:
        raise UserError("local_results_path is empty: name the folder of everything a run writes")
    for key in ("batch_size", "batch_size_run"):
        if config[key] > config["buffer_size"]:
            raise UserError(
                f"{key}={config[key]}: no more than buffer_size={config['buffer_size']} episodes are kept"
            )
    for key in ("evaluate", "save_replay"):
        if config[key] and not config["checkpoint_path"]:
            raise UserError(f"{key}=True: checkpoint_path is empty; name the checkpoint to evaluate")
    for key in ("env", "name", "learner"):
        if not config.get(key):
            raise UserError(f"{key} is missing: the yaml of the algorithm or of the environment must set it")
    if config["use_tensorboard"]:
        require_tensorboard()


def game_name(config: dict[str, Any]) -> str:
    """What the environment calls the game.

    Raises:
        UserError: ``env_args`` names none.
    """
    name = config["env_args"].get("map_name") or config["env_args"].get("key")
    if not name:
        raise UserError("env_args.key is missing: the yaml of the environment must name its game")
    return str(name)


def make_args(config: dict[str, Any], token: str) -> SimpleNamespace:
    """The settings as the pieces read them; a GPU that is not there is none that is used."""
    args = SimpleNamespace(**copy.deepcopy(config))
    args.unique_token = token
    args.use_cuda = args.use_cuda and torch.cuda.is_available()
    args.device = "cuda" if args.use_cuda else "cpu"
    args.test_nepisode = max(args.test_nepisode // args.batch_size_run, 1) * args.batch_size_run
    args.env_args["seed"] = args.seed
    return args


def assemble(args: SimpleNamespace, logger: Logger) -> Pieces:
    """Runner, controller, learner and buffer, wired to each other.

    Raises:
        UserError: a name is in no registry, or a piece refuses the settings.
    """
    runner = look_up(RUNNERS, "runner", args.runner)(args=args, logger=logger)
    env_info = runner.get_env_info()
    for key in ("n_agents", "n_actions", "state_shape", "episode_limit"):
        setattr(args, key, env_info[key])
    types = runner.column_types() if hasattr(runner, "column_types") else {}
    scheme = _scheme(env_info, common_reward=args.common_reward, types=types)
    groups = {"agents": args.n_agents}
    preprocess: Preprocess = {"actions": ("actions_onehot", [OneHot(out_dim=args.n_actions)])}
    complete = complete_scheme(scheme, preprocess)
    make_mac = look_up(CONTROLLERS, "mac", args.mac)
    if hasattr(runner, "require_controller"):  # before anything of the size of the population is made
        runner.require_controller(make_mac)
    mac = make_mac(complete, groups, args)
    runner.setup(scheme=scheme, groups=groups, preprocess=preprocess, mac=mac)
    learner = look_up(LEARNERS, "learner", args.learner)(mac, complete, logger, args)
    if hasattr(runner, "require_learner"):
        runner.require_learner(learner)
    if args.use_cuda:
        learner.cuda()
    buffer = None
    if not args.batch_size_run == args.batch_size == args.buffer_size:
        device = "cpu" if args.buffer_cpu_only else args.device
        buffer = ReplayBuffer(
            scheme, groups, args.buffer_size, args.episode_limit + 1, preprocess=preprocess, device=device
        )
    return Pieces(args, logger, runner, learner, buffer)


def _scheme(env_info: dict[str, Any], *, common_reward: bool, types: dict[str, torch.dtype]) -> Scheme:
    """The columns of a batch; ``types`` are the small ones of a runner whose agents see a number alone."""
    return {
        "state": {"vshape": env_info["state_shape"]},
        "obs": {"vshape": env_info["obs_shape"], "group": "agents", "dtype": types.get("obs", torch.float32)},
        "actions": {"vshape": (1,), "group": "agents", "dtype": types.get("actions", torch.long)},
        "avail_actions": {"vshape": (env_info["n_actions"],), "group": "agents", "dtype": torch.int},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
        "reward": {"vshape": (1 if common_reward else env_info["n_agents"],)},
    }
