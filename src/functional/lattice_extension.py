"""Kernels known on a lattice of populations, extended to every population."""

from typing import NamedTuple

from torch import Tensor

from .extension import kirszbraun, lipschitz_constant, mcshane_whitney
from .smooth_surrogate import smooth_exact


class LatticeExtension(NamedTuple):
    """What is extended, and how. C cells, K points of m coordinates.

    Attributes:
        method: ``kirszbraun`` | ``mcshane_whitney`` (rewards; laws by Kirszbraun) | ``smooth``.
        points: shares of n agents, [K, m] float64; for ``smooth`` the whole lattice.
        n_agents: n.
        laws: P at the points, [C, K, S].
        rewards: R, [C, K].
        law_constants, reward_constants: Euclidean Lipschitz constants, of the points and the extension, [C].
    """

    method: str
    points: Tensor
    n_agents: int
    laws: Tensor
    rewards: Tensor
    law_constants: Tensor
    reward_constants: Tensor

    @classmethod
    def of(
        cls, method: str, points: Tensor, n_agents: int, laws: Tensor, rewards: Tensor
    ) -> "LatticeExtension":
        """With the Lipschitz constants of the samples."""
        steepest = lipschitz_constant(points, laws), lipschitz_constant(points, rewards.unsqueeze(-1))
        return cls(method, points, n_agents, laws, rewards, *steepest)


def extend_transition(extension: LatticeExtension, queries: Tensor) -> Tensor:
    """P at populations [Q, m]: [Q, C, S], convex combinations of the laws on the lattice."""
    queries = queries.double()
    if extension.method == "smooth":
        return _smooth(extension, extension.laws.transpose(0, 1), queries)
    found = kirszbraun(extension.points, extension.laws, extension.law_constants, queries)
    return found.values.transpose(0, 1)


def extend_reward(extension: LatticeExtension, queries: Tensor) -> Tensor:
    """R at populations [Q, m]: [Q, C], in the range of the rewards on the lattice."""
    queries = queries.double()
    if extension.method == "smooth":
        return _smooth(extension, extension.rewards.T, queries)
    points, rewards, constants = extension.points, extension.rewards, extension.reward_constants
    if extension.method == "mcshane_whitney":
        return mcshane_whitney(points, rewards, constants, queries).midpoint.T
    return kirszbraun(points, rewards.unsqueeze(-1), constants, queries).values.squeeze(-1).T


def _smooth(extension: LatticeExtension, values: Tensor, queries: Tensor) -> Tensor:
    """Of values [K, ...]; a population that misses the simplex by rounding is put back."""
    queries = queries.clamp(min=0.0)
    counts = (extension.points * extension.n_agents).round()
    return smooth_exact(values, counts, queries / queries.sum(-1, keepdim=True))
