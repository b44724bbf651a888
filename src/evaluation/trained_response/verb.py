"""``mf-pmd exploitability ... --trained``, from checked words to text or JSON, and two files."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from ...errors import UserError
from ...functional.checks import NotAPolicyError
from ...games import Game
from ...runners.preparing import make_game
from ..checkpoint import AnyPolicy
from ..playing import act_by
from ..report import require_writable
from ..trained_game import any_game_of, changes, load_of_game, policy_named
from . import as_json, as_text, trained_report, training_settings, write_files
from .measuring import FEWEST_EPISODES

UNIFORM = "uniform"  # said in the place of a checkpoint


class Judged(NamedTuple):
    """Attributes:
    key, game: name of the game, and the game.
    policy: what the others play; None for the uniform policy.
    called: what to call it.
    out: where the files go unless another folder is named.
    changed: settings of the game that are not those of training, in words.
    """

    key: str
    game: Game
    policy: AnyPolicy | None
    called: str
    out: Path
    changed: tuple[str, ...]


def trained_exploitability(
    path: str,
    env_args: dict[str, Any] | None,
    *,
    policy: str | None,
    n_episodes: int,
    seed: int,
    budget: int | None,
    start: str | None,
    sees: str | None,
    out: Path | None,
    print_json: bool,
) -> int:
    """Print what a trained best response gains against a policy, and leave its learning curve.

    Args:
        path: what ``load`` takes, or ``uniform`` for the policy that takes every action alike.
        env_args: of the game to judge it in; None for that of its training.
        policy: ``last``, ``average``, ``tail``; None for what the run returns.
        n_episodes: that measure the gain.
        seed: of all draws.
        budget, start, sees: see config/trained_response.yaml, where None takes them from.
        out: where the files go; None for the checkpoint's folder, or ``results`` for the uniform policy.
        print_json: whether to print one JSON object instead of text.

    Raises:
        UserError: no such checkpoint, policy, start or sight, another game, too few episodes or steps, a
            folder that cannot be written to; before anything is played.
    """
    torch.set_num_threads(1)  # tensors are small
    settings = training_settings(budget=budget, start=start, sees=sees)
    if n_episodes < FEWEST_EPISODES:
        raise UserError(f"--episodes={n_episodes}: at least {FEWEST_EPISODES} are needed")
    judged = uniform_in(env_args) if path == UNIFORM else learnt_in(path, policy, env_args)
    folder = judged.out if out is None else out
    require_writable(folder, "--out")
    try:
        report = trained_report(
            judged.key,
            judged.game,
            judged.policy,
            settings,
            called=judged.called,
            n_episodes=n_episodes,
            seed=seed,
            changed=judged.changed,
        )
    except NotAPolicyError as error:
        raise UserError(f"{path}: {error}") from error
    written = write_files(report, folder)
    if print_json:
        print(json.dumps(as_json(report), indent=2))
    else:
        print("\n".join([as_text(report), "", *map(str, written)]))
    return 0


def uniform_in(env_args: dict[str, Any] | None) -> Judged:
    """The uniform policy in a game that was named.

    Raises:
        UserError: none was.
    """
    if env_args is None:
        raise UserError("uniform: name the game that this policy is to be judged in, --env-config=ENV")
    game = make_game(SimpleNamespace(env_args=env_args, device="cpu", seed=0))
    return Judged(env_args["key"], game, None, "the uniform policy", Path("results"), ())


def learnt_in(path: str, name: str | None, env_args: dict[str, Any] | None) -> Judged:
    """A checkpoint's policy in the game that was named, or in its own.

    Raises:
        UserError: see ``load`` and ``any_game_of``; or it holds no policy of that name.
    """
    checkpoint = load_of_game(path, env_args)
    policy = policy_named(checkpoint, name)
    changed = () if env_args is None else changes(checkpoint, env_args)
    game = any_game_of(checkpoint, env_args)
    assert checkpoint.game is not None  # one was made by its name
    act_by(policy, game)  # refuses other sizes before anything is written
    called = f"policy {policy.name} of {checkpoint.path}"
    return Judged(checkpoint.game, game, policy, called, checkpoint.path, changed)
