"""What ``mf-pmd render`` does: play a learnt policy beside the uniform one, and draw where the agents are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..games import Game
from .checkpoint import Checkpoint
from .density import watch
from .density_pictures import draw_animation, draw_panels
from .maps import shown_steps
from .playing import Choose, act_by, at_random
from .report import require_writable
from .trained_game import any_game_of, load_of_game, policy_named

PICTURE, ANIMATION = "density.png", "density.gif"


def render(
    path: str,
    env_args: dict[str, Any] | None,
    *,
    policy: str | None,
    n_episodes: int,
    seed: int,
    steps: Sequence[int] | None,
    out: Path | None,
) -> int:
    """Draw the agents' density over the game's map by time, as a picture and as an animation.

    Args:
        path: what ``load`` takes.
        env_args: of the game to play in; None for that of the policy's training.
        policy: ``last``, ``average``, ``tail``; None for what the run returns.
        n_episodes: to play; densities are means over them.
        seed: of all draws; both policies are played with the same.
        steps: that the picture shows; None for a few, the first ones closer together.
        out: where the two files go; None for the checkpoint's folder.

    Raises:
        UserError: no such checkpoint, policy or step, another game, a game without a map, a folder that
            cannot be written to; before anything is written.
    """
    torch.set_num_threads(1)  # tensors are small
    if n_episodes < 1:
        raise UserError(f"--episodes={n_episodes}: at least 1 is needed")
    checkpoint = load_of_game(path, env_args)
    game = any_game_of(checkpoint, env_args)
    players = {"uniform policy": at_random(game), **learnt(checkpoint, policy, game)}
    steps = shown_steps(game.horizon) if steps is None else require_steps(steps, game.horizon)
    require_map(game)
    out = checkpoint.path if out is None else out
    require_writable(out, "--out")
    crowds = [
        watch(game, choose, label=label, n_episodes=n_episodes, seed=seed)
        for label, choose in players.items()
    ]
    title = f"{checkpoint.game}, N = {game.n_agents}, {count(n_episodes, 'episode')}"
    for drawn in (
        draw_panels(crowds, steps, title, out / PICTURE, regions=game.map_regions),
        draw_animation(crowds, title, out / ANIMATION, regions=game.map_regions),
    ):
        print(drawn)
    return 0


def count(number: int, what: str) -> str:
    """'1 episode', '8 episodes'."""
    return f"{number} {what}{'s' * (number != 1)}"


def require_steps(steps: Sequence[int], horizon: int) -> list[int]:
    """The steps in order, each once.

    Raises:
        UserError: one is not a step of the game.
    """
    for step in steps:
        if not 0 <= step <= horizon:
            raise UserError(f"--steps={step}: this game has steps 0 to {horizon}")
    return sorted(set(steps))


def require_map(game: Game) -> None:
    """Refuse a game whose places form no map.

    Raises:
        UserError: naming the picture that shows its population.
    """
    game.on_map(torch.zeros(game.n_places))


def learnt(checkpoint: Checkpoint, name: str | None, game: Game) -> dict[str, Choose]:
    """One of a checkpoint's policies, by what to call it.

    Raises:
        UserError: it holds none of that name, or one of other sizes.
    """
    chosen = policy_named(checkpoint, name)
    return {f"learnt policy ({chosen.name})": act_by(chosen, game)}
