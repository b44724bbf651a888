"""Which game a checkpoint was trained in, and the game and the policy of it that a verb is to look at."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..errors import UserError
from ..games import Game
from ..runners.preparing import make_game
from .checkpoint import AnyPolicy, Checkpoint, load

CONFIG_FILE = "config.json"


def load_of_game(path: str | Path, env_args: dict[str, Any] | None) -> Checkpoint:
    """``load``; a checkpoint that knows no game is of that in its settings, else of the one that was named.

    Args:
        path: see ``load``.
        env_args: of the game that was named, if one was.
    """
    checkpoint = load(path)
    if checkpoint.game is not None:
        return checkpoint
    settings = trained_in(checkpoint) or env_args or {}
    return replace(checkpoint, game=settings.get("key"))


def policy_named(checkpoint: Checkpoint, name: str | None) -> AnyPolicy:
    """The policy of that name, or the one that the run returns if none is named.

    Raises:
        UserError: the checkpoint holds none of that name.
    """
    if name is None:
        return checkpoint.policy
    if name not in checkpoint.policies:
        raise UserError(f"--policy={name}: choose one of {', '.join(checkpoint.policies)}")
    return checkpoint.policies[name]


def any_game_of(checkpoint: Checkpoint, env_args: dict[str, Any] | None) -> Game:
    """The game to play a checkpoint in, on the CPU.

    Args:
        checkpoint: of a mean-field run.
        env_args: of a game that was named; None for the game of the training run.

    Raises:
        UserError: the game named is not the checkpoint's, or none is known.
    """
    if env_args is None:
        env_args = trained_in(checkpoint)
        require_still_there(checkpoint, env_args)
    if env_args is None:
        raise UserError(
            f"{checkpoint.path}: holds no {CONFIG_FILE} that says which game it was trained in; name it, "
            f"--env-config={checkpoint.game or 'ENV'} with env_args.n_agents=..."
        )
    if "key" not in env_args:
        raise UserError("env_args.key: missing, it names the game")
    if not is_its_game(checkpoint, env_args["key"]):
        raise UserError(f"{trained_elsewhere(checkpoint, env_args['key'])}; name that game, or none")
    return make_game(SimpleNamespace(env_args=env_args, device="cpu", seed=0))


def require_still_there(checkpoint: Checkpoint, env_args: dict[str, Any] | None) -> None:
    """Refuse the settings of a checkpoint whose game was a file of one's own that has moved.

    Raises:
        UserError: saying how to name it.
    """
    place, _, _ = str((env_args or {}).get("key", "")).rpartition(":")
    if place.endswith(".py") and not Path(place).is_file():
        raise UserError(
            f"{checkpoint.path}: was trained on the game in {place}, which is no longer there; name the yaml "
            "that names it where it is now, --env-config=FILE.yaml"
        )


def is_its_game(checkpoint: Checkpoint, key: str) -> bool:
    """Whether a game is the one a checkpoint was trained on; a file of one's own may have moved."""
    return checkpoint.game is None or Path(key).name == Path(checkpoint.game).name


def trained_elsewhere(checkpoint: Checkpoint, key: str) -> str:
    """The complaint about a game that is not a checkpoint's."""
    return f"env_args.key={key}: {checkpoint.path} was trained on {checkpoint.game}"


def changes(checkpoint: Checkpoint, env_args: dict[str, Any]) -> tuple[str, ...]:
    """What is not as in the checkpoint's training, such as 'n_agents=50 (trained with 1000)'."""
    before = trained_in(checkpoint)
    if before is None:
        return ()
    shared = [name for name in env_args if name in before and env_args[name] != before[name]]
    return tuple(f"{name}={env_args[name]} (trained with {before[name]})" for name in shared)


def trained_in(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The ``env_args`` that a checkpoint was trained with; None where its host kept none, as EPyMARL.

    Raises:
        UserError: what it kept cannot be read.
    """
    file = checkpoint.path / CONFIG_FILE
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))["env_args"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged; take another checkpoint") from error
