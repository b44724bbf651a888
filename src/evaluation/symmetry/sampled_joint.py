"""Sampled symmetry of kernels that are not anonymous: bounds that need no average over arrangements."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import UserError
from ...functional.lattice import representatives
from ...functional.populations import round_to_lattice, spread_populations
from ...functional.symmetrisation import random_arrangements
from ...games.joint_kernels import JointKernels
from .record import ESTIMATE, LOWER, Constant, Symmetry

AGENTS = 16  # that are called, of however many
ARRANGEMENTS = 16  # of every population


class _Sample(NamedTuple):
    """Kernels of I agents in one cell at R arrangements of Q populations, and with one of the others moved.

    Attributes:
        values: [Q, I, R, V].
        moved: at the same tuples but for one other agent's cell, [Q, I, R, V].
    """

    values: Tensor
    moved: Tensor


def sampled_joint_symmetry(kernels: JointKernels, *, n_populations: int, seed: int) -> Symmetry:
    """Any game's kernels at random arrangements of sampled populations.

    No induced kernel is nearer than half the way between two agents, or two arrangements, that meet the same
    population: alpha >= max |P^i(s, a, rho) - P^j(s, a, rho')|_1 / 2 over sigma(rho) = sigma(rho'), a lower
    bound without the mean over all arrangements, and beta likewise  [ours].
    The slope of that mean between two neighbouring populations is estimated from the same tuples before and
    after one agent's move. The estimate is the slope of the mean over those agents and arrangements that
    were called, and says so.

    Args:
        kernels: the game; up to 16 agents are called.
        n_populations: sampled, corners first.
        seed: of populations, agents, arrangements and moves.
    """
    if kernels.n_cells < 2:
        raise UserError(f"S = {kernels.n_states}, A = {kernels.n_actions}: one cell has one population")
    generator = torch.Generator().manual_seed(seed)
    counts = round_to_lattice(
        spread_populations(n_populations, kernels.n_cells, generator=generator), kernels.n_agents - 1
    )
    before = random_arrangements(representatives(counts), n_draws=ARRANGEMENTS, generator=generator)
    after, source, target = _one_moved(before, kernels.n_cells, generator)
    agents = torch.randperm(kernels.n_agents, generator=generator)[:AGENTS].tolist()
    far, steep = [Constant(0.0, LOWER), Constant(0.0, LOWER)], [0.0, 0.0]
    mean_law, mean_moved = [], []
    for cell in range(kernels.n_cells):
        law, reward = _called(kernels, agents, cell, before, after)
        mean_law.append(law.values.mean((1, 2)))
        mean_moved.append(law.moved.mean((1, 2)))
        for k, sample in enumerate((law, reward)):
            far[k] = max(far[k], _half_apart(sample, kernels, cell), key=lambda constant: constant.value)
            slope = (sample.moved - sample.values).mean((1, 2)).abs().sum(-1).max().item()
            steep[k] = max(steep[k], slope * (kernels.n_agents - 1) / 2)
    moved_counts = counts.clone()
    rows = torch.arange(len(counts))
    moved_counts[rows, source] -= 1
    moved_counts[rows, target] += 1
    update = _update(counts, mean_law) - _update(moved_counts, mean_moved)
    steep.append(update.abs().sum(-1).max().item() * (kernels.n_agents - 1) / 2)
    slopes = [Constant(value, ESTIMATE, "between lattice points, of the agents called") for value in steep]
    return Symmetry(
        method="sampled kernels",
        alpha=far[0],
        beta=far[1],
        lipschitz_transition=slopes[0],
        lipschitz_reward=slopes[1],
        lipschitz_population=slopes[2],
        monotone=None,
        monotone_note="not told by sampled arrangements",
        looked_at=f"{len(agents)} of {kernels.n_agents} agents in all {kernels.n_cells} cells at "
        f"{n_populations} populations, {ARRANGEMENTS} arrangements each",
    )


def _one_moved(others: Tensor, n_cells: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One agent's cell changed, in all arrangements of a population the same move by a random agent there.

    Args:
        others: [Q, R, n].

    Returns:
        The tuples [Q, R, n] and the cells left and entered, [Q] each.
    """
    n_populations, _, n_others = others.shape
    pick = torch.randint(n_others, (n_populations,), generator=generator)
    source = others[:, 0].gather(1, pick.unsqueeze(1)).squeeze(1)  # [Q]
    target = (source + torch.randint(1, n_cells, source.shape, generator=generator)) % n_cells
    keys = torch.rand(others.shape, generator=generator, dtype=torch.float64)
    who = torch.where(others == source[:, None, None], keys, -1.0).argmax(-1, keepdim=True)
    return others.scatter(-1, who, target[:, None, None].expand_as(who)), source, target


def _called(
    kernels: JointKernels, agents: list[int], cell: int, before: Tensor, after: Tensor
) -> tuple[_Sample, _Sample]:
    """Laws and rewards of the agents in a cell, at tuples [Q, R, n] before and after a move."""
    shape = before.shape[:2]
    laws, rewards = [], []
    for others in (before, after):
        flat = others.flatten(0, 1)
        law = [kernels.sound_transition(i, cell, flat).reshape(*shape, -1) for i in agents]
        reward = [kernels.sound_reward(i, cell, flat).reshape(*shape, 1) for i in agents]
        laws.append(torch.stack(law, 1))
        rewards.append(torch.stack(reward, 1))
    return _Sample(*laws), _Sample(*rewards)


def _half_apart(sample: _Sample, kernels: JointKernels, cell: int) -> Constant:
    """Half the largest distance between agents or arrangements at the same population."""
    s, a = divmod(cell, kernels.n_actions)
    flat = sample.values.flatten(1, 2)  # [Q, I R, V]
    apart = torch.cdist(flat, flat, p=1.0).max().item() / 2
    return Constant(apart, LOWER, f"half the distance of two agents or arrangements in s = {s}, a = {a}")


def _update(counts: Tensor, laws: list[Tensor]) -> Tensor:
    """nu' of populations [Q, d] by laws [Q, S] of every cell: [Q, S]."""
    shares = counts.double() / counts.sum(-1, keepdim=True)
    return torch.einsum("qc,qcs->qs", shares, torch.stack(laws, 1))
