"""A model looked over on the simplex: whether it is affine in mu, how steep it then is, whether monotone."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...functional.lattice import lattice
from ...functional.mean_field import MeanFieldModel
from ...functional.monotonicity import Monotonicity, monotonicity
from ...functional.population_slopes import affine_gap, affine_population_slope, lattice_slopes
from ...functional.populations import spread_populations
from ...games import PopulationGame
from ...games.joint_kernels import JointKernels

TRIED = 200  # populations at which a model is compared with its affine interpolation
AFFINE = 1e-6  # largest distance from it, of tables that may be computed in float32
ENTRIES_AT_ONCE = 2**20  # of the laws that one call makes
MOST_ENTRIES = 2**24  # of laws at all corners, and of distances between them


class Slopes(NamedTuple):
    """Attributes:
    transition: L_P on the simplex, exact; None where P is not affine in mu.
    transition_cell: s A + a at which it is met.
    reward: L_R likewise.
    reward_cell: likewise.
    population: L_pop, exact; None where P is not affine.
    monotonicity: whether the model is monotone.
    """

    transition: float | None
    transition_cell: int
    reward: float | None
    reward_cell: int
    population: float | None
    monotonicity: Monotonicity


def few_enough(game: PopulationGame | JointKernels) -> bool:
    """Whether the tables at all corners are few enough to be looked over."""
    n_cells = game.n_states * game.n_actions
    return (n_cells + TRIED) * n_cells * max(n_cells, game.n_states) <= MOST_ENTRIES


def spread_over(game: PopulationGame | JointKernels, *more: Tensor) -> Tensor:
    """Populations [Q, d]: all corners in order, then some of every kind, then those given."""
    n_cells = game.n_states * game.n_actions
    spread = spread_populations(TRIED, n_cells, generator=torch.Generator().manual_seed(0))
    device = game.initial_law.device
    return torch.cat([torch.eye(n_cells, dtype=torch.float64), spread, *more]).to(device)


def tables_at(
    model: MeanFieldModel, populations: Tensor, cells: tuple[int, int], *, h: int
) -> tuple[Tensor, Tensor]:
    """A model's tables at populations [Q, d]: [Q, d, S] and [Q, d], whatever is shared written out."""
    n_cells, n_states = populations.shape[1], cells[0]
    laws, rewards = [], []
    for part in populations.split(max(1, ENTRIES_AT_ONCE // (n_cells * n_states))):
        mu = part.reshape(-1, *cells)
        law = model.transition_at(h, mu).expand(len(mu), *cells, n_states)
        laws.append(law.reshape(-1, n_cells, n_states))
        rewards.append(model.reward_at(h, mu).expand(mu.shape).reshape(-1, n_cells))
    return torch.cat(laws), torch.cat(rewards)


def look_over(
    model: MeanFieldModel,
    populations: Tensor,
    cells: tuple[int, int],
    *,
    h: int,
    with_corners: bool = True,
) -> Slopes:
    """The constants of a model that is affine in mu, exact on the simplex, and whether it is monotone.

    Args:
        model: whose tables take populations [Q, S, A] at once.
        populations: at which it is seen whether it is affine, [Q, d].
        cells: S and A.
        h: the step.
        with_corners: whether the first d populations are the corners; without, nothing is called affine.
    """
    laws, rewards = tables_at(model, populations, cells, h=h)
    if not with_corners:
        return Slopes(None, 0, None, 0, None, monotonicity(populations, laws, rewards, with_corners=False))
    return judge(populations, laws, rewards)


def judge(populations: Tensor, laws: Tensor, rewards: Tensor) -> Slopes:
    """``look_over`` of tables [Q, d, S] and [Q, d] at populations [Q, d], corners first."""
    n_cells = populations.shape[1]
    corner_laws, corner_rewards = laws[:n_cells], rewards[:n_cells]
    transition, transition_cell = _on_corners(corner_laws)
    reward, reward_cell = _on_corners(corner_rewards.unsqueeze(-1))
    law_is_affine = affine_gap(laws, populations, corner_laws).item() <= AFFINE
    reward_is_affine = affine_gap(rewards, populations, corner_rewards).item() <= AFFINE
    return Slopes(
        transition=transition if law_is_affine else None,
        transition_cell=transition_cell,
        reward=reward if reward_is_affine else None,
        reward_cell=reward_cell,
        population=affine_population_slope(corner_laws).item() if law_is_affine else None,
        monotonicity=monotonicity(populations, laws, rewards),
    )


def _on_corners(values: Tensor) -> tuple[float, int]:
    """The slope of affine functions [d, d, V], largest over cells, and its cell."""
    n_cells = len(values)
    corners = lattice(1, n_cells).argmax(1).to(values.device)
    steepest = lattice_slopes(values[corners], n_agents=1, n_cells=n_cells)
    return steepest.max().item(), int(steepest.argmax())
