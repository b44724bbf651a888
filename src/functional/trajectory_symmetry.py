"""alpha and beta of a game from trajectories alone, with confidence intervals, and what the data has seen."""

from typing import NamedTuple

import torch
from torch import Tensor

from .agent_contrasts import agent_contrasts, outcomes_of
from .asymmetry import EXACT_RESOLUTION, Asymmetry, Quantity, asymmetry, of_rewards, of_transitions
from .contrasts_by_type import contrasts_by_type
from .seen import Seen, what_was_seen
from .spread_over_agents import fairly_kept
from .trajectories import NotTrajectoriesError, require_play
from .type_contrasts import type_contrasts, types_met

BLOCKS = 20
LEVEL = 0.95
ROUNDED_OPERATIONS = 4  # that make a float32 reward; differences below their rounding count as none
TYPES_ARE_ALIKE = "agents of a type are alike; a type missing from a cell deviates as elsewhere at that step"
DEVIATIONS_ARE_FIXED = (
    "deviations do not change with the population, or who is in a cell does not depend on who they are"
)


class TrajectorySymmetry(NamedTuple):
    """What trajectories tell of the symmetry of a game (Yardim & He 2025, Def. 6).

    Every deviation is a mean over visits that the data holds, visits alone in their group left out, from the
    mean of the agents (of those who were in the cell, where some never are). Lower bounds and the lower ends
    of types and of rewards are therefore lower bounds of alpha and beta, which are maxima over all agents,
    populations, states and actions; so is ``rms_at_least``, where the rms of more than two next states itself
    is not. Upper ends bound what was visited, and nothing else. All rest on ``assumes``.

    Attributes:
        alpha: of transitions.
        beta: of rewards.
        types: labels of the G types, [G]; None where they are not known.
        level: confidence of every figure by itself.
        n_agents: N.
        n_episodes: B.
        n_blocks: K, blocks of episodes that the intervals rest on.
        seen: which populations, states and actions the data holds.
    """

    alpha: Asymmetry
    beta: Asymmetry
    types: Tensor | None
    level: float
    n_agents: int
    n_episodes: int
    n_blocks: int
    seen: Seen

    @property
    def assumes(self) -> str:
        """What the figures of agents take for granted of the game, in words."""
        return DEVIATIONS_ARE_FIXED if self.types is None else TYPES_ARE_ALIKE

    def place(self, cell: int) -> tuple[int, int]:
        """State and action of the cell that a figure names."""
        return divmod(cell, self.seen.visits.shape[1])


def symmetry_from_trajectories(
    states: Tensor,
    actions: Tensor,
    rewards: Tensor,
    *,
    n_states: int,
    n_actions: int,
    types: Tensor | None = None,
    level: float = LEVEL,
    n_blocks: int = BLOCKS,
) -> TrajectorySymmetry:
    """alpha and beta of the N-player game that trajectories were played in, from nothing else.

    Agents in the same episode, step, state and action meet the same others, so that their differences are
    their own. Where types are known, each is compared with the types' means in its group, however their
    deviations change with the population (``contrasts_by_type``); where they are not, with everybody in it,
    as if deviations did not, or as if groups were random samples (``agent_contrasts``).

    Spreads over agents come from products over different blocks of episodes (noise does not count as
    asymmetry: a symmetric game is covered, by 0), with intervals by the delete-one-block jackknife and
    Student's quantiles, shared out (Bonferroni) among the next states, cells and types of a figure.

    Args:
        states: local states, [B, T + 1, N], integers.
        actions: [B, T, N], integers.
        rewards: individual rewards in [0, 1], [B, T, N].
        n_states: S.
        n_actions: A.
        types: label of the type of each agent, [N]; None where agents cannot be told apart.
        level: confidence of each figure, .5 <= level < 1.
        n_blocks: K, at least 8; with fewer episodes, as many as there are.

    Raises:
        NotTrajectoriesError: shapes that do not fit, values out of range, too few agents or episodes, or
            more cells than are followed.
    """
    play = require_play(states, actions, rewards, n_states=n_states, n_actions=n_actions, n_blocks=n_blocks)
    if types is not None and types.shape != (play.n_agents,):
        raise NotTrajectoriesError(f"types have shape {list(types.shape)}: it takes one label an agent, [N]")
    if not 0.5 <= level < 1:
        raise NotTrajectoriesError(f"level={level}: a confidence lies between .5 and 1")
    resolution = resolution_of(rewards)
    labels, means, types_told = None, None, None
    if types is None:
        contrasts = agent_contrasts(play, tolerance=resolution)
    else:
        labels, type_of = torch.unique(types, return_inverse=True)
        known, outcome_of = types_met(play, type_of, len(labels)), outcomes_of(play)
        of_types = type_contrasts(play, outcome_of, known)
        contrasts = contrasts_by_type(play, outcome_of, known, of_types)
        means = of_types.mean()
        types_told = of_types.measured & fairly_kept(contrasts.visits, contrasts.dropped)

    def told(quantity: Quantity) -> Asymmetry:
        return asymmetry(quantity, contrasts, types_told, shape=(n_states, n_actions), level=level)

    return TrajectorySymmetry(
        alpha=told(of_transitions(contrasts, means)),
        beta=told(of_rewards(contrasts, means, resolution=resolution)),
        types=labels,
        level=level,
        n_agents=play.n_agents,
        n_episodes=len(states),
        n_blocks=play.n_blocks,
        seen=what_was_seen(play, contrasts),
    )


def resolution_of(rewards: Tensor) -> float:
    """Differences of rewards in [0, 1] that their rounding can make."""
    eps = torch.finfo(rewards.dtype).eps if rewards.is_floating_point() else 0.0
    return max(EXACT_RESOLUTION, ROUNDED_OPERATIONS * eps)
