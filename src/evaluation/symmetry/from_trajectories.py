"""Symmetry from trajectories alone: play a game, tables or none, and measure how its agents differ."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import UserError
from ...functional.checks import NotAPolicyError, require_policy
from ...functional.distributions import count_values
from ...functional.mean_field import Policy
from ...functional.sampling import actions_drawn, inverse_cdf_thresholds
from ...functional.trajectories import NotTrajectoriesError
from ...functional.trajectory_symmetry import LEVEL, TrajectorySymmetry, symmetry_from_trajectories
from ...games.base import PopulationGame
from .. import playing

MOST_TYPES = 16  # distinct personal parameters; beyond, types are taken as not known


class Trajectories(NamedTuple):
    """What ``symmetry_from_trajectories`` takes.

    Attributes:
        states: local states, [B, T + 1, N] integers.
        actions: [B, T, N] integers.
        rewards: in [0, 1], [B, T, N].
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor


def play_and_measure(
    game: PopulationGame, policy: Policy, *, n_episodes: int, seed: int, level: float = LEVEL
) -> TrajectorySymmetry:
    """alpha and beta of a game from episodes in which all agents play one policy; its tables are not used.

    Types are the values of the personal parameter where they are few, else not known. Cells that the policy
    does not visit are not measured, so it should mix.

    Args:
        game: its stream starts anew.
        policy: (h, nu [S]) -> pi_h(a | s) [S, A]; a table [H, S, A] as ``tabular_policy`` reads it.
        n_episodes: B, at least 8; a benchmark game takes 200 for useful intervals.
        seed: of the game and of the actions.
        level: confidence of each figure.

    Raises:
        UserError: too few agents or episodes, rewards that are NaN or outside [0, 1], too many states, or a
            policy whose rows are no probabilities.
    """
    played = play(game, policy, n_episodes=n_episodes, seed=seed)
    return measure(
        played,
        n_states=game.n_states,
        n_actions=game.n_actions,
        types=known_types(game),
        level=level,
    )


def measure(
    played: Trajectories,
    *,
    n_states: int,
    n_actions: int,
    types: Tensor | None = None,
    level: float = LEVEL,
) -> TrajectorySymmetry:
    """alpha and beta of the game that these trajectories were played in, wherever they come from.

    Args:
        played: tensors, or arrays that torch can read.
        n_states: S.
        n_actions: A.
        types: label of each agent's type, [N]; None where they are not known.
        level: confidence of each figure.

    Raises:
        UserError: what is said in ``symmetry_from_trajectories``.
    """
    arrays = [torch.as_tensor(part) for part in played]
    labels = None if types is None else torch.as_tensor(types)
    try:
        return symmetry_from_trajectories(
            *arrays, n_states=n_states, n_actions=n_actions, types=labels, level=level
        )
    except NotTrajectoriesError as error:
        raise UserError(f"symmetry from trajectories: {error}") from error


def known_types(game: PopulationGame) -> Tensor | None:
    """The personal parameters [N], where they take few values; None where hardly two agents are alike."""
    return game.personal if len(game.personal.unique()) <= MOST_TYPES else None


@torch.no_grad()
def play(game: PopulationGame, policy: Policy, *, n_episodes: int, seed: int) -> Trajectories:
    """Episodes in which all N agents play one policy of their state, the step and the population.

    Raises:
        UserError: rows of the policy that are no probabilities, or of another size.
    """
    if n_episodes < 1:
        raise UserError(f"n_episodes={n_episodes}: play at least one")
    game.reseed(seed)
    drawn = torch.Generator(device=game.device).manual_seed(seed)  # apart from the game's own: see ``reseed``

    def choose(h: int, states: Tensor) -> Tensor:
        nu = count_values(states, game.n_states).float() / game.n_agents  # [B, S]
        rows = torch.stack([policy(h, each) for each in nu])
        rows = _sound(rows, (n_episodes, game.n_states, game.n_actions))
        draws = torch.rand(states.shape, generator=drawn, device=game.device)
        return actions_drawn(inverse_cdf_thresholds(rows), states, draws, dtype=states.dtype)

    states, actions, rewards = [], [], []
    for step in playing.play(game, choose, batch_size=n_episodes):
        states.append(step.states.int())
        actions.append(step.actions.int())
        rewards.append(step.rewards)
    states.append(step.next_states.int())
    return Trajectories(torch.stack(states, 1), torch.stack(actions, 1), torch.stack(rewards, 1))


def _sound(rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Rows pi(a | s) that are probabilities, [B, S, A] float64."""
    if tuple(rows.shape) != shape:
        raise UserError(f"the policy gives rows {list(rows.shape[1:])}: the game has {list(shape[1:])}")
    try:
        return require_policy(rows).double()
    except NotAPolicyError as error:
        raise UserError(str(error)) from error
