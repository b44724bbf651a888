"""N-player games whose kernels can be called agent by agent, symmetric or not."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.lattice import count_tuples
from .base import PopulationGame

ROUNDING = 1e-6  # by which a law may miss 1, and a reward [0, 1]: kernels may compute in float32


class JointKernels(ABC):
    """A finite-horizon game of N agents with kernels P^i and R^i (Yardim & He 2025, Def. 1).

    Nothing is asked of how an agent depends on the others: who stands where may matter, not only how many.
    The others' cells are numbered s A + a and come in the agents' order, agent i itself left out.

    Attributes:
        n_agents: N >= 2.
        n_states: S.
        n_actions: A.
        horizon: H, environment steps.
        initial_law: rho0 [S] float64.
    """

    n_agents: int
    n_states: int
    n_actions: int
    horizon: int
    initial_law: Tensor

    @abstractmethod
    def transition(self, i: int, s: int, a: int, others: Tensor) -> Tensor:
        """P^i(. | s, a, rho^-i).

        Args:
            i: the agent, 0 .. N - 1.
            s, a: its own state and action.
            others: rho^-i, a batch of tuples of cells, [..., N - 1] int64.

        Returns:
            [..., S]; rows sum to 1.
        """

    @abstractmethod
    def reward(self, i: int, s: int, a: int, others: Tensor) -> Tensor:
        """R^i(s, a, rho^-i) in [0, 1]: [...]; arguments as ``transition``."""

    @property
    def n_cells(self) -> int:
        """d = S A."""
        return self.n_states * self.n_actions

    def sound_transition(self, i: int, cell: int, others: Tensor) -> Tensor:
        """``transition`` of the cell s A + a at tuples [M, N - 1]: [M, S] float64, checked.

        Raises:
            UserError: a law that is no distribution, or of another shape.
        """
        s, a = divmod(cell, self.n_actions)
        law = self.transition(i, s, a, others).double()
        self._require_shape("transition", law, (len(others), self.n_states))
        wrong = (law.sum(-1) - 1).abs() > ROUNDING
        wrong |= (law < -ROUNDING).any(-1) | ~law.isfinite().all(-1)
        if wrong.any():
            row = law[wrong.nonzero()[0, 0]]
            where = f"{_whose(i, s, a)}, others in cells {others[wrong][0].tolist()}"
            raise UserError(
                f"{type(self).__name__}.transition of {where} is {_rounded(row)}, its sum "
                f"{row.sum().item():.6g}; probabilities must be at least 0 and sum to 1"
            )
        return law

    def sound_reward(self, i: int, cell: int, others: Tensor) -> Tensor:
        """``reward`` likewise, [M] float64, checked to lie in [0, 1]."""
        s, a = divmod(cell, self.n_actions)
        reward = self.reward(i, s, a, others).double()
        self._require_shape("reward", reward, (len(others),))
        wrong = ~((reward >= -ROUNDING) & (reward <= 1 + ROUNDING))
        if wrong.any():
            where = f"{_whose(i, s, a)}, others in cells {others[wrong][0].tolist()}"
            raise UserError(
                f"{type(self).__name__}.reward of {where} is {reward[wrong][0].item():.6g}; "
                "rewards must lie in [0, 1], rescale them"
            )
        return reward

    def _require_shape(self, name: str, found: Tensor, shape: tuple[int, ...]) -> None:
        if found.shape != shape:
            raise UserError(
                f"{type(self).__name__}.{name} has shape {list(found.shape)} for {shape[0]} tuples of "
                f"others; it must be {list(shape)}"
            )


class TableKernels(JointKernels):
    """A population game by its tables: P^i(. | s, a, rho^-i) = P(. | s, a, sigma(rho^-i), u_i), anonymous.

    Args:
        game: with tables.
        h: the step whose kernels are meant, where they are ``time_dependent``.

    Raises:
        UserError: a game without tables.
    """

    def __init__(self, game: PopulationGame, *, h: int = 0) -> None:
        if not game.has_tables:
            raise UserError(without_tables(game))
        self.game = game
        self.n_agents, self.horizon = game.n_agents, game.horizon
        self.n_states, self.n_actions = game.n_states, game.n_actions
        self.initial_law = game.initial_law
        self._steps = torch.tensor(h, device=game.device)

    def transition(self, i: int, s: int, a: int, others: Tensor) -> Tensor:
        mu = self._met(s, a, others)
        law = self.game.transition_at(self._steps, mu, self.game.personal[i].double())[..., s, a, :]
        return law.expand(*others.shape[:-1], self.n_states)

    def reward(self, i: int, s: int, a: int, others: Tensor) -> Tensor:
        mu = self._met(s, a, others)
        reward = self.game.reward_at(self._steps, mu, self.game.personal[i].double())[..., s, a]
        return reward.expand(others.shape[:-1])

    def _met(self, s: int, a: int, others: Tensor) -> Tensor:
        """What the agent meets, the others or everyone, [..., S, A] float64."""
        counts = count_tuples(others, self.n_cells).double()
        if self.game.population == "all":
            counts[..., s * self.n_actions + a] += 1
        mu = counts / counts.sum(-1, keepdim=True)
        return mu.reshape(*others.shape[:-1], self.n_states, self.n_actions)


def without_tables(game: PopulationGame) -> str:
    """What to say of a game whose kernels cannot be called."""
    return (
        f"A game without tables cannot be asked for its kernels: give {type(game).__name__} transition_table "
        "and reward_table, or measure it from trajectories"
    )


def _whose(i: int, s: int, a: int) -> str:
    return f"agent {i} in s = {s}, a = {a}"


def _rounded(row: Tensor) -> str:
    return "(" + ", ".join(f"{x:.4g}" for x in row.tolist()) + ")"
