"""The symmetry of a small game by looking at all that its agents can meet."""

import torch

from ...errors import UserError
from ...functional.extension import lipschitz_constant
from ...functional.mean_field import MeanFieldModel
from ...functional.monotonicity import Monotonicity, monotonicity
from ...functional.population_slopes import farthest_laws, lattice_slopes, population_update
from ...games import REGISTRY, PopulationGame
from ...games.induced import MOST_POINTS, InducedGame, induced_game
from ...games.joint_kernels import JointKernels
from ...games.lattice_kernels import (
    MOST,
    Farthest,
    LatticeKernels,
    joint_lattice,
    table_lattice,
)
from .record import ESTIMATE, EXACT, LOWER, UPPER, Constant, Symmetry
from .slopes import few_enough, look_over, spread_over, tables_at
from .worst import worst_of

MOST_LOOKED_OVER = 500  # points of the lattice that are looked over one by one


def enumerated_symmetry(
    game: PopulationGame | JointKernels, *, most: int = MOST, induced: MeanFieldModel | None = None
) -> Symmetry:
    """alpha and beta exactly by Def. 6 of Yardim & He (2025), and the Lipschitz constants as far as they go.

    alpha and beta are maxima over all agents, cells, populations of the others and, for kernels that are
    not anonymous, arrangements. A Lipschitz constant of an induced kernel affine in mu is exact. The
    registry's games are known to be affine where they look so; of another game, seen to be at some
    populations, it is an estimate. Where a population game is not affine, the steepest move of one agent on
    the lattice is a lower bound of what its tables do between the points. Of other kernels it is that of
    their Kirszbraun extension, whose Euclidean constant M is known: changes of mu and of a law sum to 0, so
    that L_P <= sqrt(S / 2) M, L_R <= M / sqrt(2), and
    L_pop <= L_P + max |P(s, a, mu) - P(s~, a~, mu')|_1 / 2  [ours]. That extension need not be monotone where
    its samples are, so that only a violation is told.

    Args:
        game: a population game with tables, or kernels that can be called.
        most: probabilities that may be computed at a step.
        induced: the mean-field game that is meant, such as the one a policy is scored in, whose tables take
            populations [Q, S, A] at once; None for ``induced_game(game)``.

    Raises:
        UserError: a game without tables, or too much to enumerate.
    """
    if isinstance(game, PopulationGame):
        steps = range(game.horizon if game.time_dependent else 1)
        return worst_of([_of_tables(game, h, most, induced) for h in steps])
    return _of_kernels(game, most, induced)


def _of_tables(game: PopulationGame, h: int, most: int, induced: MeanFieldModel | None) -> Symmetry:
    lattice = table_lattice(game, h=h, most=most, induced=induced)
    types = len(torch.unique(game.personal))
    met = "everyone, itself included" if game.population == "all" else "the others alone"
    looked_at = f"{types} types of agents in {_everywhere(lattice)}; an agent meets {met}"
    if game.time_dependent:
        looked_at += f"; all {game.horizon} steps"
    ours = type(game) in REGISTRY.values() and not isinstance(induced, InducedGame)
    return _on_the_simplex(game, lattice, induced or induced_game(game), h, looked_at, known=ours)


def _of_kernels(game: JointKernels, most: int, induced: MeanFieldModel | None) -> Symmetry:
    lattice = joint_lattice(game, most=most, induced=induced)
    looked_at = f"all {game.n_agents} agents in {_everywhere(lattice)}, in every arrangement"
    if induced is not None:
        return _on_the_simplex(game, lattice, induced, 0, looked_at, known=False)
    return _of_their_extension(game, lattice, looked_at)


def _everywhere(lattice: LatticeKernels) -> str:
    n_points, n_cells = lattice.counts.shape
    return f"all {n_cells} cells, all {n_points:,} populations of {int(lattice.counts[0].sum())} others"


def _on_the_simplex(
    game: PopulationGame | JointKernels,
    lattice: LatticeKernels,
    model: MeanFieldModel,
    h: int,
    looked_at: str,
    *,
    known: bool,
) -> Symmetry:
    """By the corners of a model that looks affine in mu; else lower bounds from the lattice.

    Args:
        game, lattice, model, h, looked_at: see above.
        known: whether a model that looks affine is known to be.
    """
    cells, shares = (game.n_states, game.n_actions), lattice.counts.double() / (game.n_agents - 1)
    apart = max(1, len(shares) // MOST_LOOKED_OVER)
    with_corners = few_enough(game)
    tried = spread_over(game, shares[::apart]) if with_corners else shares[::apart]
    slopes = look_over(model, tried, cells, h=h, with_corners=with_corners)
    laws, rewards = tables_at(model, shares, cells, h=h)
    least = _steepest(game, lattice._replace(laws=laws, rewards=rewards))
    affine = slopes.transition, slopes.reward, slopes.population
    where = _cell(game, slopes.transition_cell), _cell(game, slopes.reward_cell), ""
    kind, seen = (EXACT, "") if known else (ESTIMATE, f" as far as seen at {len(tried)} populations")
    constants = [
        Constant(low, LOWER, "between points of the lattice")
        if corners is None
        else Constant(corners, kind, f"affine in mu{seen}{place}" if corners > 0 else f"free of mu{seen}")
        for corners, low, place in zip(affine, least, where, strict=True)
    ]
    return _symmetry(game, lattice, constants, slopes.monotonicity, looked_at)


def _of_their_extension(game: JointKernels, lattice: LatticeKernels, looked_at: str) -> Symmetry:
    """The Kirszbraun extension's constants, from above by its own M, from below by the lattice."""
    shares = lattice.counts.double() / (game.n_agents - 1)
    if len(shares) > MOST_POINTS:
        raise UserError(
            f"N = {game.n_agents}, S = {game.n_states}, A = {game.n_actions}: all pairs of {len(shares):,} "
            f"populations, at most {MOST_POINTS:,} are paired; take fewer agents, or sample"
        )
    steep_law = lipschitz_constant(shares, lattice.laws.transpose(0, 1)).max().item()
    steep_reward = lipschitz_constant(shares, lattice.rewards.T.unsqueeze(-1)).max().item()
    law = (game.n_states / 2) ** 0.5 * steep_law
    spread = farthest_laws(lattice.laws).item() / 2
    above = law, steep_reward / 2**0.5, law + spread
    constants = [
        Constant(most, EXACT if most <= least * (1 + 1e-9) else UPPER, f"{least:.4g} on the lattice")
        for most, least in zip(above, _steepest(game, lattice), strict=True)
    ]
    # an extension of monotone samples need not be monotone: a violation is all that can be told
    found = monotonicity(shares, lattice.laws, lattice.rewards, with_corners=False)
    on_lattice = found._replace(note=f"on the lattice: {found.note}")
    return _symmetry(game, lattice, constants, on_lattice, looked_at)


def _steepest(game: PopulationGame | JointKernels, lattice: LatticeKernels) -> tuple[float, float, float]:
    """L_P, L_R and L_pop between points of the lattice."""
    n_others, n_cells = game.n_agents - 1, game.n_states * game.n_actions
    moved = population_update(lattice.laws, lattice.counts.double() / n_others)
    kernels = lattice.laws, lattice.rewards.unsqueeze(-1), moved.unsqueeze(1)
    law, reward, population = (
        lattice_slopes(values, n_agents=n_others, n_cells=n_cells).max().item() for values in kernels
    )
    return law, reward, population


def _symmetry(
    game: PopulationGame | JointKernels,
    lattice: LatticeKernels,
    constants: list[Constant],
    found: Monotonicity,
    looked_at: str,
) -> Symmetry:
    assert lattice.alpha is not None
    assert lattice.beta is not None
    transition, reward, population = constants
    return Symmetry(
        method="enumeration",
        alpha=_farthest(game, lattice.alpha),
        beta=_farthest(game, lattice.beta),
        lipschitz_transition=transition,
        lipschitz_reward=reward,
        lipschitz_population=population,
        monotone=found.monotone,
        monotone_note=found.note,
        looked_at=looked_at,
    )


def _farthest(game: PopulationGame | JointKernels, far: Farthest) -> Constant:
    told = far.told(game.n_actions, in_order=isinstance(game, JointKernels)) if far.value > 0 else ""
    return Constant(far.value, EXACT, told)


def _cell(game: PopulationGame | JointKernels, cell: int) -> str:
    s, a = divmod(cell, game.n_actions)
    return f", steepest at s = {s}, a = {a}"
