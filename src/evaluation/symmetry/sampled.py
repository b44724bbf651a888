"""The symmetry of a game whose kernels are called at some of the populations: lower bounds."""

import torch
from torch import Tensor

from ...errors import UserError
from ...functional.mean_field import MeanFieldModel
from ...functional.monotonicity import Monotonicity
from ...functional.populations import moves, round_to_lattice, spread_populations
from ...games import PopulationGame
from ...games.check import steps_looked_at
from ...games.induced import induced_game
from ...games.joint_kernels import JointKernels, without_tables
from ...games.lattice_kernels import counted
from ...games.sampled_kernels import distances, slopes_around
from .climb import climb, highest
from .monotonicity import monotonicity_at, of_some_steps
from .record import LOWER, Constant, Symmetry
from .sampled_joint import sampled_joint_symmetry
from .worst import worst_of

MOST_TYPES = 64  # personal parameters looked at; of more, these many from the least to the largest
PAIRS = 32  # of cells between which mass is moved, to see a slope
STEPS = 4  # of each share of mass, from a point to others around it, in a search for slopes
MOVES = 64  # likewise, in a search for distances
NUMBERS_AT_ONCE = 2**22  # of the laws that one call makes


def sampled_symmetry(
    game: PopulationGame | JointKernels,
    *,
    n_populations: int = 100,
    seed: int = 0,
    induced: MeanFieldModel | None = None,
) -> Symmetry:
    """What is seen at sampled populations: no constant is smaller, and each is called a lower bound.

    alpha and beta are looked for at points of the lattice of N - 1 others, slopes anywhere on the simplex:
    corners, the even population and random faces, then uphill from the best of them, mass of one cell moved
    to another at a time.

    Args:
        game: a population game with tables, or kernels that can be called (see ``sampled_joint_symmetry``).
        n_populations: sampled, 3 at least.
        seed: of the samples.
        induced: the mean-field game that is meant, whose tables take populations [Q, S, A] at once; None
            for ``induced_game(game)``.

    Raises:
        UserError: a game without tables, or too few populations.
    """
    if n_populations < 3:
        raise UserError(f"n_populations={n_populations}: at least 3 are needed")
    if isinstance(game, JointKernels):
        return sampled_joint_symmetry(game, n_populations=n_populations, seed=seed)
    if not game.has_tables:
        raise UserError(without_tables(game))
    model = induced_game(game) if induced is None else induced
    steps = steps_looked_at(game)
    worst = worst_of([_at_step(game, model, h, n_populations, seed) for h in steps])
    found = of_some_steps(game, Monotonicity(worst.monotone, worst.monotone_note), steps)
    return worst._replace(monotone=found.monotone, monotone_note=found.note)


def _at_step(game: PopulationGame, model: MeanFieldModel, h: int, n_populations: int, seed: int) -> Symmetry:
    generator = torch.Generator().manual_seed(seed)
    n_cells = game.n_states * game.n_actions
    populations = spread_populations(n_populations, n_cells, generator=generator).to(game.device)
    far = [_farthest(game, model, h, populations, which, generator) for which in range(2)]
    steep = _steepest(game, model, h, populations, generator)
    found = monotonicity_at(game, model, h, populations)
    types = len(_types(game))
    looked_at = f"{types} types of agents in all {n_cells} cells at {n_populations} populations, then uphill"
    if game.time_dependent:
        looked_at += f"; steps {', '.join(str(step) for step in steps_looked_at(game))}"
    return Symmetry(
        method="sampled kernels",
        alpha=far[0],
        beta=far[1],
        lipschitz_transition=steep[0],
        lipschitz_reward=steep[1],
        lipschitz_population=steep[2],
        monotone=found.monotone,
        monotone_note=found.note,
        looked_at=looked_at,
    )


def _types(game: PopulationGame) -> Tensor:
    distinct = torch.unique(game.personal)
    few = torch.linspace(0, len(distinct) - 1, min(MOST_TYPES, len(distinct))).round().long()
    return distinct[few.to(distinct.device)]


def _farthest(
    game: PopulationGame,
    model: MeanFieldModel,
    h: int,
    populations: Tensor,
    which: int,
    generator: torch.Generator,
) -> Constant:
    """alpha (0) or beta (1), uphill on the lattice."""
    n_others, types = game.n_agents - 1, _types(game)

    def apart(counts: Tensor) -> Tensor:
        return distances(game, counts, types, induced=model, h=h)[which]  # [G, Q, d]

    def neighbours(counts: Tensor) -> Tensor:
        return round_to_lattice(_moved(counts.double(), MOVES, generator) / n_others, n_others)

    def farthest(counts: Tensor) -> Tensor:
        return apart(counts).amax((0, 2))

    start = round_to_lattice(populations, n_others)
    peak = climb(farthest, highest(farthest(start), start), neighbours)
    g, _, cell = torch.unravel_index(apart(peak.point.unsqueeze(0)).argmax(), (len(types), 1, start.shape[1]))
    s, a = divmod(int(cell), game.n_actions)
    where = f"u = {types[g].item():g} in s = {s}, a = {a}, others {counted(peak.point)}"
    return Constant(peak.value, LOWER, where if peak.value > 0 else "")


def _steepest(
    game: PopulationGame,
    model: MeanFieldModel,
    h: int,
    populations: Tensor,
    generator: torch.Generator,
) -> list[Constant]:
    """L_P, L_R and L_pop, uphill on the simplex."""
    cells = (game.n_states, game.n_actions)
    n_moves = max(1, min(PAIRS, NUMBERS_AT_ONCE // (populations.shape[1] * game.n_states)))

    def slopes(points: Tensor) -> Tensor:
        far, near = (
            slopes_around(model, points, cells, h=h, n_moves=n_moves, share=share, generator=generator)
            for share in (1.0, 0.01)
        )
        return torch.maximum(far, near)

    def uphill(which: int) -> Constant:
        start = highest(seen[:, which], populations)
        peak = climb(lambda mu: slopes(mu)[:, which], start, lambda mu: _moved(mu, STEPS, generator))
        return Constant(peak.value, LOWER)

    seen = slopes(populations)  # [Q, 3]
    return [uphill(which) for which in range(3)]


def _moved(mu: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Points with all, half or a tenth of one cell's mass moved to another, [3 n, d]."""
    return torch.cat([moves(mu, n, share=share, generator=generator) for share in (1.0, 0.5, 0.1)])
