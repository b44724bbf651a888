"""Trajectories of N agents as arrays, and what must be true of them."""

from typing import NamedTuple

from torch import Tensor

MOST_ENTRIES = 2**26  # of one tensor of block sums, 512 MiB
FEWEST_EPISODES = 8
FEWEST_AGENTS = 3
ROUNDING = 1e-6  # by which a float32 reward may leave [0, 1]


class NotTrajectoriesError(ValueError):
    """Arrays that are no trajectories of a population game, or too few to say anything."""


class Play(NamedTuple):
    """Trajectories of N agents.

    Attributes:
        states: [B, T + 1, N] integers in 0 .. S - 1.
        actions: [B, T, N] integers in 0 .. A - 1.
        rewards: [B, T, N] in [0, 1].
        n_states: S.
        n_actions: A.
        n_blocks: K, equal parts (up to one episode) that the episodes are cut into, in their order.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    n_states: int
    n_actions: int
    n_blocks: int

    @property
    def n_agents(self) -> int:
        return self.actions.shape[2]

    @property
    def n_cells(self) -> int:
        return self.n_states * self.n_actions


def require_play(
    states: Tensor, actions: Tensor, rewards: Tensor, *, n_states: int, n_actions: int, n_blocks: int
) -> Play:
    """Trajectories, unless they are none.

    Raises:
        NotTrajectoriesError: shapes that do not fit, fewer than 3 agents or 8 episodes, states or actions
            out of range, rewards that are NaN or outside [0, 1], or more cells and agents than are followed.
    """
    _require_shapes(states, actions, rewards)
    if n_blocks < FEWEST_EPISODES:
        raise NotTrajectoriesError(f"n_blocks={n_blocks}: take {FEWEST_EPISODES} blocks at least")
    for name, values, size in (("states", states, n_states), ("actions", actions, n_actions)):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= size:
            raise NotTrajectoriesError(f"{name} range from {low} to {high}, not within 0 to {size - 1}")
    if not bool(rewards.isfinite().all()):
        raise NotTrajectoriesError("rewards hold NaN or infinite values: nothing can be said of them")
    least, most = float(rewards.min()), float(rewards.max())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise NotTrajectoriesError(f"rewards range from {least:g} to {most:g}: they must lie in [0, 1]")
    play = Play(states, actions, rewards, n_states, n_actions, min(n_blocks, len(actions)))
    require_few(play, 1)
    return play


def _require_shapes(states: Tensor, actions: Tensor, rewards: Tensor) -> None:
    """Refuse what is not [B, T + 1, N], [B, T, N] and [B, T, N], or too small."""
    shape = tuple(actions.shape)
    if len(shape) != 3 or rewards.shape != shape or states.shape != (shape[0], shape[1] + 1, shape[2]):
        told = f"states {list(states.shape)}, actions {list(shape)}, rewards {list(rewards.shape)}"
        raise NotTrajectoriesError(f"{told}: they must be [B, T + 1, N], [B, T, N] and [B, T, N]")
    if shape[1] == 0:
        raise NotTrajectoriesError("the trajectories have no step")
    if shape[2] < FEWEST_AGENTS:
        raise NotTrajectoriesError(f"{shape[2]} agents: a spread over agents needs {FEWEST_AGENTS} at least")
    if shape[0] < FEWEST_EPISODES:
        raise NotTrajectoriesError(
            f"{shape[0]} episodes: intervals rest on {FEWEST_EPISODES} blocks of episodes at least"
        )


def require_few(play: Play, n_channels: int) -> None:
    """Refuse what would not fit the memory of a machine."""
    per_cell = max(n_channels * play.n_blocks * play.n_agents, n_channels * len(play.actions), play.n_states)
    if play.n_cells * per_cell > MOST_ENTRIES:
        raise NotTrajectoriesError(
            f"{play.n_states} states, {play.n_actions} actions and {play.n_agents} agents are more than is "
            f"followed ({MOST_ENTRIES:,} sums): measure some of the agents, or tell fewer states apart"
        )
