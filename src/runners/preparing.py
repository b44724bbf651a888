"""What comes before a run's first episode: threads, memory, the game and what others are told of it."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import UserError
from ..games import Game, make, solvable

BYTES_AN_AGENT_STEP = 6  # observation, action and reward, where they are smallest
BYTES_AN_AGENT = 40  # of what one step works with: draws, indices, rewards, returns
MOST_BYTES = 2**40  # on a device whose memory is not asked for
SCALED = (
    "rewards are %.6g times the game's own plus %.6g, in [0, 1]: divide returns' differences and "
    "exploitabilities by %.6g for its own units"
)


def require_choice(key: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise a UserError unless the value is one of the choices."""
    if value not in choices:
        raise UserError(f"{key}={value}: choose one of {', '.join(choices)}")


def set_threads(threads: int) -> None:
    """Set torch's CPU threads; 0 leaves them as they are.

    Raises:
        UserError: a negative number.
    """
    if threads < 0:
        raise UserError(f"population.threads={threads}: must be 0 (as the host has it) or more")
    if threads:
        torch.set_num_threads(threads)


def require_memory(args: SimpleNamespace, agents: int, steps: int) -> None:
    """Refuse a batch that no machine of this size holds, before anything of it is made.

    Raises:
        UserError: naming what to lower.
    """
    an_agent = BYTES_AN_AGENT + BYTES_AN_AGENT_STEP * (steps + 1)
    needed = an_agent * args.batch_size_run * agents
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if args.device == "cpu" else MOST_BYTES
    if needed > there:
        sizes = f"env_args.n_agents={agents}, {steps} steps, batch_size_run={args.batch_size_run}"
        raise UserError(
            f"{sizes}: a batch needs {needed / 2**30:.0f} GiB of {there / 2**30:.0f}, lower one of them"
        )


def make_game(args: SimpleNamespace, maker: Callable[..., Game] = make) -> Game:
    """The game that ``env_args`` describe, on ``args.device``, its generator seeded by ``args.seed``."""
    env_args = {k: v for k, v in args.env_args.items() if k not in ("seed", "map_name")}
    if "key" not in env_args:
        raise UserError("env_args.key: missing; name a population game, such as a_sis")
    return maker(**env_args, device=args.device, seed=args.seed)


def population_info(game: Game, key: str) -> dict[str, Any]:
    """What the population's controllers and learners are told of the game they play.

    Returns:
        "game", its name; "n_states", None where local states are too many to be numbered; "features", F and
        ``Game.features``; "horizon"; "model", the induced game, which oracles solve, None for a game without
        tables; "reward_factor", by which learners know whether rewards were scaled into [0, 1] by bounds that
        play may not come near.
    """
    return {
        "game": key,
        "n_states": game.n_states,
        "features": (game.n_features, game.features),
        "horizon": game.horizon,
        "model": game.mean_field_model() if solvable(game) else None,
        "reward_factor": game.reward_factor,
    }


def tell_scale(game: Game, logger: Any) -> None:
    """Say once how rewards were brought into [0, 1], so that scores can be read in the game's own units."""
    if game.reward_factor != 1 or game.reward_offset != 0:
        logger.console_logger.info(SCALED, game.reward_factor, game.reward_offset, game.reward_factor)
