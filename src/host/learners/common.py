"""What learners share: checks of settings, gradient steps, targets that follow, identity of checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...errors import DivergenceError, UserError
from ..components.action_selectors import REGISTRY as SELECTORS
from ..components.episode_batch import EpisodeBatch
from ..utils.registries import look_up


def require_at_least_one(args: SimpleNamespace, keys: Iterable[str]) -> None:
    """Raise a UserError for a setting below 1."""
    for key in keys:
        if not getattr(args, key) >= 1:
            raise UserError(f"{key}={getattr(args, key)}: at least 1 is needed")


def require_positive(args: SimpleNamespace, keys: Iterable[str]) -> None:
    """Raise a UserError for a setting that is not above 0."""
    for key in keys:
        if not getattr(args, key) > 0:
            raise UserError(f"{key}={getattr(args, key)}: must be positive")


def require_share(args: SimpleNamespace, keys: Iterable[str]) -> None:
    """Raise a UserError for a setting outside of [0, 1]."""
    for key in keys:
        if not 0 <= getattr(args, key) <= 1:
            raise UserError(f"{key}={getattr(args, key)}: a value from 0 to 1 is needed")


def require_selector(mac: Any, args: SimpleNamespace, *, given: str) -> None:
    """Refuse a controller whose selector of actions reads something else than what is learnt.

    Args:
        mac: the controller; one without ``action_selector`` draws actions in its own way.
        args: ``action_selector``, ``learner``.
        given: what is learnt: ``policies`` or ``action values``.

    Raises:
        UserError: naming the selectors that fit.
    """
    if hasattr(mac, "action_selector"):
        look_up(SELECTORS, "action_selector", args.action_selector, given=given, by=args.learner)


def steps_that_count(batch: EpisodeBatch) -> Tensor:
    """``[B, T, 1]``: 1 on the steps of an episode, 0 after its end."""
    ended = batch["terminated"][:, :-1].float()
    filled = batch["filled"][:, :-1].float()
    return torch.cat([filled[:, :1], filled[:, 1:] * (1 - ended[:, :-1])], dim=1)


def descend(
    loss: Tensor, optimiser: Optimizer, parameters: list[nn.Parameter], *, name: str, args: SimpleNamespace
) -> Tensor:
    """One clipped gradient step; the norm of the gradient before clipping.

    Args:
        loss: a scalar.
        optimiser: of `parameters`.
        parameters: whose gradient is clipped.
        name: of the loss, for the message.
        args: ``grad_norm_clip``, ``lr``.

    Raises:
        DivergenceError: the loss or its gradient is not finite; the parameters keep their values.
    """
    optimiser.zero_grad()
    loss.backward()
    grad_norm = nn.utils.clip_grad_norm_(parameters, args.grad_norm_clip)
    if not bool(torch.isfinite(loss.detach() + grad_norm)):
        raise DivergenceError(
            f"{name}={loss.item()} with a gradient of norm {grad_norm.item()}; lr={args.lr} may be too large"
        )
    optimiser.step()
    return grad_norm


@torch.no_grad()
def follow(targets: list[nn.Parameter], parameters: list[nn.Parameter], *, setting: float, age: int) -> bool:
    """Move targets towards parameters; returns whether they were copied.

    Args:
        targets: moved in place.
        parameters: what they follow.
        setting: above 1, the steps between copies; else the weight of a step of exponential averaging.
        age: steps since the last copy, this one included.
    """
    if setting > 1 and age < setting:
        return False
    for target, parameter in zip(targets, parameters, strict=True):
        target.lerp_(parameter, min(setting, 1.0))
    return setting > 1


def identity(args: SimpleNamespace, *, obs_size: int, settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What two runs must share for networks to carry over; the number of agents may differ.

    Args:
        args: the settings of the run.
        obs_size: length of an observation.
        settings: keys that shape the networks.
    """
    env_args = args.env_args
    game = {
        "game": env_args.get("map_name") or env_args.get("key") or args.env,
        "obs_shape": obs_size,
        "n_actions": args.n_actions,
        "episode_limit": args.episode_limit,
    }
    return {"game": game, "settings": {key: getattr(args, key) for key in settings}}


def require_same(here: dict[str, dict[str, Any]], there: dict[str, dict[str, Any]], path: str) -> None:
    """Refuse a checkpoint of another :func:`identity`.

    Raises:
        UserError: naming what differs.
    """
    remedies = {
        "game": "take a checkpoint of the same game",
        "settings": "take the same setting, or another checkpoint",
    }
    for part, remedy in remedies.items():
        for key, value in here[part].items():
            other = there[part].get(key)
            if other != value:
                raise UserError(f"checkpoint_path={path}: {key} is {other} there and {value} here; {remedy}")


COUNTERS = ("training_steps", "last_target_update", "log_stats_t")
STATISTICS = ("reward_stats", "return_stats")


def progress_of(learner: Any) -> dict[str, Any]:
    """How far a learner is: its counters and its running statistics."""
    counters = {name: getattr(learner, name) for name in COUNTERS}
    return counters | {name: getattr(learner, name).state_dict() for name in STATISTICS}


def restore_progress(learner: Any, state: dict[str, Any]) -> None:
    """Restore :func:`progress_of`."""
    for name in COUNTERS:
        setattr(learner, name, state[name])
    for name in STATISTICS:
        getattr(learner, name).load_state_dict(state[name])


def load_file(path: str, name: str) -> Any:
    """The tensors and plain values of ``NAME.th``."""
    return torch.load(f"{path}/{name}.th", map_location="cpu", weights_only=True)


def save_parts(learner: Any, path: str, parts: dict[str, Any]) -> None:
    """Write the controller, each part as ``NAME.th``, identity and progress as ``learner.th``."""
    learner.mac.save_models(path)
    for name, part in parts.items():
        torch.save(part.state_dict(), f"{path}/{name}.th")
    torch.save({**learner.identity(), **progress_of(learner)}, f"{path}/learner.th")


def load_parts(learner: Any, path: str, parts: dict[str, Any]) -> None:
    """Restore what :func:`save_parts` wrote.

    Raises:
        UserError: the checkpoint is of another game, or of networks of another form.
    """
    state = load_file(path, "learner")
    require_same(learner.identity(), state, path)
    learner.mac.load_models(path)
    for name, part in parts.items():
        part.load_state_dict(load_file(path, name))
    restore_progress(learner, state)
