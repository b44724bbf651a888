"""Kernels known on a lattice of populations, extended to every population."""

from typing import NamedTuple

from torch import Tensor

from .extension import Lifted, extend, lift, lipschitz_constant, mcshane_whitney
from .smooth_surrogate import smooth_exact


class LatticeExtension(NamedTuple):
    """What is extended, and how. C cells, K points of m coordinates.

    Attributes:
        method: ``kirszbraun`` | ``mcshane_whitney`` (rewards; laws by Kirszbraun) | ``smooth``.
        points: shares of n agents, [K, m] float64; for ``smooth`` the whole lattice.
        n_agents: n.
        laws: P at the points, [C, K, S].
        rewards: R, [C, K].
        reward_constants: Euclidean Lipschitz constants, of the points and the extension, [C].
        lifted_laws, lifted_rewards: what Kirszbraun's extension needs of them, looked at once; None where it
            is not asked for.
    """

    method: str
    points: Tensor
    n_agents: int
    laws: Tensor
    rewards: Tensor
    reward_constants: Tensor
    lifted_laws: Lifted | None
    lifted_rewards: Lifted | None

    @classmethod
    def of(
        cls, method: str, points: Tensor, n_agents: int, laws: Tensor, rewards: Tensor
    ) -> "LatticeExtension":
        """With the Lipschitz constants of the samples.

        Raises:
            ExtensionError: samples that no extension can be made of.
        """
        scalars = rewards.unsqueeze(-1)
        law_constants, constants = lipschitz_constant(points, laws), lipschitz_constant(points, scalars)
        lifted_laws = None if method == "smooth" else lift(points, laws, law_constants)
        lifted_rewards = lift(points, scalars, constants) if method == "kirszbraun" else None
        return cls(method, points, n_agents, laws, rewards, constants, lifted_laws, lifted_rewards)


def extend_transition(extension: LatticeExtension, queries: Tensor) -> Tensor:
    """P at populations [Q, m]: [Q, C, S], convex combinations of the laws on the lattice."""
    queries = queries.double()
    if extension.lifted_laws is None:
        return _smooth(extension, extension.laws.transpose(0, 1), queries)
    return extend(extension.lifted_laws, queries).values.transpose(0, 1)


def extend_reward(extension: LatticeExtension, queries: Tensor) -> Tensor:
    """R at populations [Q, m]: [Q, C], in the range of the rewards on the lattice."""
    queries = queries.double()
    if extension.method == "smooth":
        return _smooth(extension, extension.rewards.T, queries)
    if extension.lifted_rewards is not None:
        return extend(extension.lifted_rewards, queries).values.squeeze(-1).T
    found = mcshane_whitney(extension.points, extension.rewards, extension.reward_constants, queries)
    return found.midpoint.T


def _smooth(extension: LatticeExtension, values: Tensor, queries: Tensor) -> Tensor:
    """Of values [K, ...]; a population that misses the simplex by rounding is put back."""
    queries = queries.clamp(min=0.0)
    counts = (extension.points * extension.n_agents).round()
    return smooth_exact(values, counts, queries / queries.sum(-1, keepdim=True))
