"""What ``mf-pmd symmetry`` and ``mf-pmd exploitability`` do, from checked words to text or JSON."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import UserError
from ..functional.checks import NotAPolicyError
from ..functional.mean_field import Policy, uniform_policy
from ..games import Game, PopulationGame, solvable
from ..runners.preparing import make_game
from .exploitability_report import as_json as report_values
from .exploitability_report import as_text, report
from .playing import mean_field_policy
from .symmetry import report as symmetry_report
from .trained_game import any_game_of, changes, is_its_game, load_of_game, policy_named, trained_elsewhere


def symmetry(
    env_args: dict[str, Any],
    *,
    methods: Sequence[str] | None,
    n_episodes: int,
    policy: str | None,
    seed: int,
    as_json: bool,
) -> int:
    """Print how symmetric a game is, and what that promises.

    Args:
        env_args: of the game.
        methods: see ``symmetry.report.measure``.
        n_episodes: of the trajectories.
        policy: a checkpoint that plays them; None for the uniform policy.
        seed: of all draws.
        as_json: whether to print one JSON object instead of text.

    Raises:
        UserError: an unknown game or method, or one that the game does not allow.
    """
    torch.set_num_threads(1)  # tensors are small
    game, key = make_game(SimpleNamespace(env_args=env_args, device="cpu", seed=seed)), env_args["key"]
    if isinstance(game, PopulationGame):
        played, name = player(policy, game, key)
        found = symmetry_report.measure(
            key, game, played, played=name, methods=methods, n_episodes=n_episodes, seed=seed
        )
    elif policy is not None:
        raise UserError(
            f"--policy={policy}: it plays trajectories, for which {key} has too many local states"
        )
    else:
        found = symmetry_report.measure_packed(key, game, methods=methods)
    if as_json:
        print(json.dumps(symmetry_report.as_json(found), indent=2))
    else:
        print(symmetry_report.as_text(found))
    return 0


def player(path: str | None, game: PopulationGame, key: str) -> tuple[Policy, str]:
    """The policy that plays the trajectories, and what to call it.

    Raises:
        UserError: a checkpoint of another game or of other sizes, or of agents with tables of their own.
    """
    if path is None:
        return uniform_policy(game.n_states, game.n_actions), "the uniform policy"
    checkpoint = load_of_game(path, {"key": key})
    if not is_its_game(checkpoint, key):
        raise UserError(f"{trained_elsewhere(checkpoint, key)}; name a policy of this game")
    played = mean_field_policy(checkpoint.policy, game)
    if not checkpoint.policy.shares_policy:
        raise UserError(f"--policy={path}: agents have policies of their own; name one that all share")
    return played, f"policy {checkpoint.policy.name} of {checkpoint.path}"


def exploitability(
    path: str,
    env_args: dict[str, Any] | None,
    *,
    policy: str | None,
    n_episodes: int,
    seed: int,
    as_json: bool,
) -> int:
    """Print how far a learnt policy is from an equilibrium.

    Args:
        path: what ``load`` takes.
        env_args: of the game to judge it in; None for that of its training.
        policy: ``last``, ``average``, ``tail``; None for what the run returns.
        n_episodes: to play.
        seed: of all draws.
        as_json: whether to print one JSON object instead of text.

    Raises:
        UserError: no such checkpoint or policy, another game, a game without tables.
    """
    torch.set_num_threads(1)  # tensors are small
    checkpoint = load_of_game(path, env_args)
    chosen = policy_named(checkpoint, policy)
    changed = () if env_args is None else changes(checkpoint, env_args)
    any_game = any_game_of(checkpoint, env_args)
    assert checkpoint.game is not None  # one was made by its name
    game = require_tables(any_game, checkpoint.game)
    try:
        found = report(checkpoint, chosen, game, n_episodes=n_episodes, seed=seed, changed=changed)
    except NotAPolicyError as error:
        raise UserError(f"{checkpoint.path}: {error}") from error
    print(json.dumps(report_values(found), indent=2) if as_json else as_text(found))
    return 0


def require_tables(game: Game, key: str) -> PopulationGame:
    """Pass a game on that is solved exactly.

    Raises:
        UserError: it has no tables; says what there is instead.
    """
    if not solvable(game):
        raise UserError(
            f"env_args.key={key}: gives no tables, so that nothing is solved exactly and only a lower bound "
            "exists, by a trained best response: add --trained"
        )
    return game
