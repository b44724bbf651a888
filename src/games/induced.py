"""The mean-field game that an N-player game induces (Yardim & He 2025, Def. 5)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.extension import ExtensionError, NotAFunctionError, on_coordinates
from ..functional.lattice_extension import LatticeExtension, extend_reward, extend_transition
from ..functional.mean_field import MeanFieldModel
from .base import PopulationGame
from .joint_kernels import JointKernels, without_tables
from .lattice_kernels import ENTRIES_AT_ONCE, MOST, LatticeKernels, joint_lattice, table_lattice

EXTENSIONS = ("kirszbraun", "mcshane_whitney", "smooth")
COORDINATES = ("cells", "states")
MOST_POINTS = 2_000  # of a lattice that a quadratic programme runs over


class InducedGame(MeanFieldModel):
    """A mean-field model that knows which game it is of; every function of ``MeanFieldModel`` takes it.

    Attributes:
        n_actions: A.
    """

    n_actions: int

    def _replace(self, **changes: Any) -> "InducedGame":  # a tuple's own forgets what is no field
        changed = super()._replace(**changes)
        changed.n_actions = self.n_actions
        return changed

    def to_mfglib(self, *, dtype: torch.dtype | None = None) -> Any:
        """The same game as an ``Environment`` of MFGLib, for its solvers and its exploitability_score.

        MFGLib numbers steps 0 .. T, so T = H - 1, puts next states first, and computes in torch's default
        type throughout: it is handed tables in the type of the populations it asks at, made in float64.

        Args:
            dtype: of the initial law; None for torch's default type, which must still be it when solving.

        Raises:
            UserError: MFGLib is not installed.
        """
        try:
            from mfglib.env import Environment
        except ImportError as error:
            raise UserError(
                f"to_mfglib: {error}; MFGLib comes with the extra mfglib, pip install 'mf-pmd[mfglib]'"
            ) from error
        return Environment(
            T=self.horizon - 1,
            S=(len(self.initial_law),),
            A=(self.n_actions,),
            mu0=self.initial_law.to(dtype or torch.get_default_dtype()),
            r_max=1.0,
            reward_fn=lambda env, t, mu: self.reward_at(t, mu.double()).to(mu.dtype),
            transition_fn=lambda env, t, mu: (
                self.transition_at(t, mu.double()).permute(2, 0, 1).contiguous().to(mu.dtype)
            ),
        )


def induced_game(
    game: PopulationGame | JointKernels,
    *,
    extension: str | None = None,
    depends_on: str = "cells",
    n_arrangements: int | None = None,
    seed: int = 0,
    most: int = MOST,
) -> InducedGame:
    """The mean-field game P(s, a, mu) = 1/N sum_i Ext(Sym-bar(P^i(s, a, .)))(mu), and R likewise (Def. 5).

    A population game with tables extends itself, since its tables take every mu: P is their mean over the
    agents' u_i, at what an agent in the cell meets when the others are mu. This is the declared game of u = 0
    (``game.mean_field_model()``) where the tables are affine in u and u averages to 0. It is not where
    probabilities are clipped (a_sis with eps_recovery > 1) nor, by O(1/N), with ``population="all"``.

    Any other game is averaged over agents and arrangements on the lattice of N - 1 others, once, and
    extended. The mean over agents is taken before the extension, so that this has the mean's constant.

    Args:
        game: a population game with tables, or kernels that can be called.
        extension: ``kirszbraun`` | ``mcshane_whitney`` (for rewards; laws, being vectors, by Kirszbraun) |
            ``smooth`` (does not interpolate, see ``functional.smooth_surrogate``); None for the tables' own,
            or else ``kirszbraun``.
        depends_on: ``cells`` | ``states``: what the kernels see of the others. Extended over more than that,
            a function comes to depend on it.
        n_arrangements: random arrangements a lattice point, where all are too many; None for all. The
            values are then estimates, and so is the constant with which they are extended.
        seed: of the arrangements drawn.
        most: probabilities that may be computed at a step.

    Raises:
        UserError: a game without tables, too many kernels to call, a kernel that is none, a lattice too large
            to extend from, values that no extension can be made of, ``states`` where actions matter, or an
            unknown word.
    """
    _require_word("extension", extension, (None, *EXTENSIONS))
    _require_word("depends_on", depends_on, COORDINATES)
    if isinstance(game, PopulationGame) and not game.has_tables:
        raise UserError(without_tables(game))
    if isinstance(game, PopulationGame) and extension is None:
        transition, reward = _tables(game, 0), _tables(game, 1)
    else:
        parts = [
            _lattice_extension(game, lattice, extension or "kirszbraun", depends_on)
            for lattice in _lattices(game, n_arrangements, seed, most)
        ]
        transition, reward = _extended(game, parts, extend_transition), _extended(game, parts, extend_reward)
    induced = InducedGame(
        initial_law=game.initial_law,
        horizon=game.horizon,
        transition=transition,
        reward=reward,
        time_dependent=isinstance(game, PopulationGame) and game.time_dependent,
    )
    induced.n_actions = game.n_actions
    return induced


def _tables(game: PopulationGame, which: int) -> Callable[..., Tensor]:
    """The mean over agents of one of the two tables that they meet, as a function of (mu, h)."""
    types, type_of = torch.unique(game.personal, return_inverse=True)  # [G], [N]
    share = torch.bincount(type_of).double() / game.n_agents  # [G]
    met = _met_by_others if game.population == "others" else _met_by_all
    entries = game.n_states * game.n_actions * game.n_states
    if game.population == "all":
        entries *= game.n_states * game.n_actions

    def table(mu: Tensor, h: int = 0) -> Tensor:
        at_once = max(1, ENTRIES_AT_ONCE // (entries * max(1, mu[..., 0, 0].numel())))
        parts = torch.arange(len(types), device=game.device).split(at_once)
        means = [
            torch.tensordot(share[part].to(mu.dtype), met(game, which, types[part].double(), mu, h), dims=1)
            for part in parts
        ]
        return torch.stack(means).sum(0)

    return table


def _met_by_others(game: PopulationGame, which: int, types: Tensor, mu: Tensor, h: int) -> Tensor:
    """A table (0 of laws, 1 of rewards) for each type, [G, *mu.shape, ...]."""
    personal = types.reshape(-1, *(1,) * (mu.dim() - 2))
    return _table(game, which, h, mu.expand(len(types), *mu.shape), personal)


def _met_by_all(game: PopulationGame, which: int, types: Tensor, mu: Tensor, h: int) -> Tensor:
    """The same for agents that count themselves in: from cell c they meet ((N - 1) mu + e_c) / N."""
    *batch, n_states, n_actions = mu.shape
    n_cells, n = n_states * n_actions, game.n_agents
    own = torch.eye(n_cells).to(mu).reshape(n_cells, *(1,) * len(batch), n_states, n_actions)
    everyone = (mu * (n - 1) + own) / n  # [d, ..., S, A]
    personal = types.reshape(-1, 1, *(1,) * len(batch))
    found = _table(game, which, h, everyone.expand(len(types), *everyone.shape), personal)
    cells = found.flatten(len(batch) + 2, len(batch) + 3)  # [G, d, ..., d, *]
    rows = cells.diagonal(dim1=1, dim2=len(batch) + 2)  # [G, ..., *, d]
    return rows.movedim(-1, len(batch) + 1).unflatten(len(batch) + 1, (n_states, n_actions))


def _table(game: PopulationGame, which: int, h: int, mu: Tensor, personal: Tensor) -> Tensor:
    steps = torch.tensor(h, device=game.device)
    if which == 0:
        return game.transition_at(steps, mu, personal).expand(*mu.shape, game.n_states)
    return game.reward_at(steps, mu, personal).expand(mu.shape)


def _lattices(
    game: PopulationGame | JointKernels, n_arrangements: int | None, seed: int, most: int
) -> list[LatticeKernels]:
    """The game on its lattice, at every step where steps differ."""
    if isinstance(game, PopulationGame):
        steps = range(game.horizon if game.time_dependent else 1)
        return [table_lattice(game, h=h, most=most) for h in steps]
    return [joint_lattice(game, n_arrangements_drawn=n_arrangements, seed=seed, most=most)]


def _lattice_extension(
    game: PopulationGame | JointKernels, lattice: LatticeKernels, method: str, depends_on: str
) -> LatticeExtension:
    """The samples to extend from, in the coordinates that matter."""
    shares = lattice.counts.double() / (game.n_agents - 1)  # [K, d]
    both = torch.cat([lattice.laws, lattice.rewards.unsqueeze(-1)], -1).transpose(0, 1)  # [d, K, S + 1]
    if depends_on == "states":
        shares = shares.reshape(-1, game.n_states, game.n_actions).sum(-1)
        try:
            shares, both = on_coordinates(shares, both, list(range(game.n_states)))
        except NotAFunctionError as error:
            raise UserError(f"depends_on=states: {error}; say cells") from error
    if method != "smooth" and len(shares) > MOST_POINTS:
        raise UserError(
            f"N = {game.n_agents}, S = {game.n_states}, A = {game.n_actions}: the lattice has "
            f"{len(shares):,} points, at most {MOST_POINTS:,} are extended from; take fewer agents, "
            "extension=smooth, or depends_on=states where actions of others do not matter"
        )
    try:
        return LatticeExtension.of(method, shares, game.n_agents - 1, both[..., :-1], both[..., -1])
    except ExtensionError as error:
        raise UserError(
            f"extension={method}: {error}; look at the kernels of {type(game).__name__}"
        ) from error


def _extended(
    game: PopulationGame | JointKernels,
    parts: list[LatticeExtension],
    extend: Callable[[LatticeExtension, Tensor], Tensor],
) -> Callable[..., Tensor]:
    """An extension as a function of (mu [..., S, A], h)."""
    n_states, n_actions = game.n_states, game.n_actions

    def table(mu: Tensor, h: int = 0) -> Tensor:
        part = parts[h if len(parts) > 1 else 0]
        *batch, _, _ = mu.shape
        asked = mu.reshape(-1, n_states, n_actions)
        of_states = part.points.shape[1] != n_states * n_actions
        try:
            rows = extend(part, asked.sum(-1) if of_states else asked.flatten(1))  # [Q, d, ...]
        except ExtensionError as error:
            raise UserError(f"extension={part.method}: at populations {list(mu.shape)}: {error}") from error
        return rows.to(mu.dtype).reshape(*batch, n_states, n_actions, *rows.shape[2:])

    return table


def _require_word(key: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        words = ", ".join(str(word) for word in known)
        raise UserError(f"{key}={value}: there is no such, choose one of {words}")
