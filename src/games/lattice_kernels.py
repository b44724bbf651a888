"""A game on the lattice: Sym-bar of its kernels, the mean over agents, and how far each agent is from it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.lattice import arrangements, lattice, lattice_size, representatives
from ..functional.mean_field import MeanFieldModel
from ..functional.symmetrisation import group_means, mean_of_draws, random_arrangements
from .base import PopulationGame
from .joint_kernels import JointKernels, without_tables

MOST = 30_000_000  # probabilities that are asked for: 2 GB and half a minute
ENTRIES_AT_ONCE = 2**22  # of the tables that one call makes
MANY = 10**18  # beyond it nobody needs the figure


class Farthest(NamedTuple):
    """The largest distance of an agent's kernel from the induced one, and where it was met.

    Attributes:
        value: l1 for laws.
        agent: i, the first of its type.
        cell: s A + a.
        others: their cells, in order where order matters.
    """

    value: float
    agent: int
    cell: int
    others: tuple[int, ...]

    def told(self, n_actions: int, *, in_order: bool) -> str:
        """In words; the others one by one where their order matters, else counted."""
        s, a = divmod(self.cell, n_actions)
        where = f"in cells {list(self.others)}" if in_order else counted(torch.tensor(self.others).bincount())
        return f"agent {self.agent} in s = {s}, a = {a}, others {where}"


NOWHERE = Farthest(0.0, 0, 0, ())


class LatticeKernels(NamedTuple):
    """The induced kernels on the lattice of N - 1 others, K points of d = S A cells.

    Attributes:
        counts: the points, [K, d] int64.
        laws: P, the mean over agents of Sym-bar(P^i), [K, d, S] float64.
        rewards: R likewise, [K, d].
        law_error, reward_error: standard errors of the same shapes where arrangements were drawn; else None.
        alpha: farthest law of an agent, over all arrangements; None where they were drawn.
        beta: farthest reward likewise.
    """

    counts: Tensor
    laws: Tensor
    rewards: Tensor
    law_error: Tensor | None
    reward_error: Tensor | None
    alpha: Farthest | None
    beta: Farthest | None


def table_lattice(
    game: PopulationGame, *, h: int = 0, most: int = MOST, induced: MeanFieldModel | None = None
) -> LatticeKernels:
    """A population game's kernels on its lattice, from its tables.

    They depend on rho^-i through its counts alone, so that Sym-bar is a look-up, and on i through u_i alone.

    Args:
        game: with tables.
        h: the step, where they are ``time_dependent``.
        most: probabilities that may be computed: types x lattice points x cells x S.
        induced: what distances are taken to, tables that take populations [Q, S, A] at once; None for the
            mean over agents.

    Raises:
        UserError: a game without tables, or too many probabilities.
    """
    if not game.has_tables:
        raise UserError(without_tables(game))
    n_cells, n = game.n_states * game.n_actions, game.n_agents - 1
    types, type_of = torch.unique(game.personal, return_inverse=True)  # [G], [N]
    n_asked = len(types) * lattice_size(n, n_cells) * n_cells * game.n_states
    require_few(game, n_asked, most, f"{len(types)} types in every cell at every population of the others")
    counts = lattice(n, n_cells).to(game.device)
    share = torch.bincount(type_of).double() / game.n_agents  # [G]
    at_once = max(1, ENTRIES_AT_ONCE // (len(types) * n_cells * game.n_states))
    agents = [int((type_of == g).nonzero()[0]) for g in range(len(types))]
    laws, rewards, alpha, beta = [], [], NOWHERE, NOWHERE
    for part in counts.split(at_once):
        own_laws, own_rewards = _own_tables(game, part, types.double(), h)  # [G, k, d, S], [G, k, d]
        law, reward = (torch.tensordot(share, own, dims=1) for own in (own_laws, own_rewards))
        laws.append(law)
        rewards.append(reward)
        if induced is not None:
            law, reward = model_at(induced, part, (game.n_states, game.n_actions), h)
        others = representatives(part)
        alpha = _farther(alpha, (own_laws - law).abs().sum(-1), agents, others)
        beta = _farther(beta, (own_rewards - reward).abs(), agents, others)
    return LatticeKernels(counts, torch.cat(laws), torch.cat(rewards), None, None, alpha, beta)


def joint_lattice(
    kernels: JointKernels,
    *,
    n_arrangements_drawn: int | None = None,
    seed: int = 0,
    most: int = MOST,
    induced: MeanFieldModel | None = None,
) -> LatticeKernels:
    """Any N-player game's kernels on its lattice, by calling them.

    Args:
        kernels: the game; it is called at N agents x d cells x all d^(N - 1) tuples of the others, or at as
            many random arrangements of every lattice point.
        n_arrangements_drawn: random arrangements a point, 2 at least; None for all of them.
        seed: of the arrangements drawn.
        most: probabilities that may be computed.
        induced: what distances are taken to, likewise; None for the mean over agents and arrangements.

    Raises:
        UserError: too many probabilities, or a kernel that is none.
    """
    n_cells, n = kernels.n_cells, kernels.n_agents - 1
    draws = n_arrangements_drawn
    per_cell = n_tuples(n, n_cells) if draws is None else lattice_size(n, n_cells) * draws
    n_asked = kernels.n_agents * n_cells * per_cell * kernels.n_states
    what = "every arrangement of the others" if draws is None else f"{draws} arrangements of every population"
    require_few(kernels, n_asked, most, f"{kernels.n_agents} agents in every cell at {what}")
    if draws is not None and draws < 2:
        raise UserError(f"n_arrangements_drawn={draws}: at least 2, or nothing tells their error")
    counts = lattice(n, n_cells)
    if draws is None:
        return _all_arrangements(kernels, counts, induced)
    return _drawn_arrangements(kernels, counts, draws, seed)


def model_at(model: MeanFieldModel, counts: Tensor, cells: tuple[int, int], h: int) -> tuple[Tensor, Tensor]:
    """A model's tables at points of the lattice [K, d]: [K, d, S] and [K, d]."""
    mu = (counts.double() / counts.sum(-1, keepdim=True)).reshape(-1, *cells)
    law = model.transition_at(h, mu).expand(len(mu), *cells, cells[0])
    return law.flatten(1, 2), model.reward_at(h, mu).expand(mu.shape).flatten(1)


def _own_tables(game: PopulationGame, counts: Tensor, types: Tensor, h: int) -> tuple[Tensor, Tensor]:
    """Tables of G types at what an agent meets among others of counts [k, d]: [G, k, d, S], [G, k, d]."""
    mu = (counts.double() / (game.n_agents - 1)).reshape(-1, game.n_states, game.n_actions)
    steps = torch.tensor(h, device=game.device)
    law, reward = game.tables_met(mu, types.unsqueeze(1), steps)
    law = law.expand(len(types), len(mu), -1, -1, -1)  # a law free of mu comes once
    return law.flatten(2, 3), reward.flatten(2)


def _all_arrangements(
    kernels: JointKernels, counts: Tensor, induced: MeanFieldModel | None
) -> LatticeKernels:
    point, others = arrangements(counts)
    laws = torch.empty(len(counts), kernels.n_cells, kernels.n_states, dtype=torch.float64)
    rewards = laws.new_empty(laws.shape[:2])
    told = model_at(induced, counts, (kernels.n_states, kernels.n_actions), 0) if induced else None
    agents, alpha, beta = list(range(kernels.n_agents)), NOWHERE, NOWHERE
    for c in range(kernels.n_cells):
        own_laws = torch.stack([kernels.sound_transition(i, c, others) for i in agents])  # [N, M, S]
        own_rewards = torch.stack([kernels.sound_reward(i, c, others) for i in agents])  # [N, M]
        laws[:, c] = group_means(own_laws.mean(0), point, len(counts))
        rewards[:, c] = group_means(own_rewards.mean(0), point, len(counts))
        law, reward = (laws[:, c], rewards[:, c]) if told is None else (told[0][:, c], told[1][:, c])
        off_law = (own_laws - law[point]).abs().sum(-1).unsqueeze(-1)  # [N, M, 1]
        alpha = _farther(alpha, off_law, agents, others, first_cell=c)
        off_reward = (own_rewards - reward[point]).abs().unsqueeze(-1)
        beta = _farther(beta, off_reward, agents, others, first_cell=c)
    return LatticeKernels(counts, laws, rewards, None, None, alpha, beta)


def _drawn_arrangements(kernels: JointKernels, counts: Tensor, draws: int, seed: int) -> LatticeKernels:
    """Agents share the arrangements of a point, whose errors are those of the mean over agents."""
    generator = torch.Generator().manual_seed(seed)
    others = random_arrangements(representatives(counts), n_draws=draws, generator=generator)  # [K, M, n]
    flat, agents = others.flatten(0, 1), range(kernels.n_agents)
    laws, rewards = [], []
    for c in range(kernels.n_cells):
        law = torch.stack([kernels.sound_transition(i, c, flat) for i in agents]).mean(0)
        reward = torch.stack([kernels.sound_reward(i, c, flat) for i in agents]).mean(0)
        laws.append(mean_of_draws(law.reshape(len(counts), draws, -1), dim=1))
        rewards.append(mean_of_draws(reward.reshape(len(counts), draws), dim=1))
    stacked = [torch.stack(parts, 1) for part in (laws, rewards) for parts in zip(*part, strict=True)]
    return LatticeKernels(counts, stacked[0], stacked[2], stacked[1], stacked[3], None, None)


def _farther(
    so_far: Farthest, distances: Tensor, agents: list[int], others: Tensor, *, first_cell: int = 0
) -> Farthest:
    """The farther of what was met and the largest of distances [G, M, C], at tuples of others [M, n]."""
    worst = distances.max().item()
    if worst <= so_far.value:
        return so_far
    g, m, c = (int(x) for x in torch.unravel_index(distances.argmax(), distances.shape))
    return Farthest(worst, agents[g], first_cell + c, tuple(others[m].tolist()))


def counted(counts: Tensor) -> str:
    """'12 in cell 0, 3 in cell 4', the fullest cells of counts [d]."""
    fullest = counts.topk(min(4, len(counts)))
    told = [
        f"{int(n)} in cell {int(c)}" for n, c in zip(fullest.values, fullest.indices, strict=True) if n > 0
    ]
    return ", ".join(told) + (", ..." if (counts > 0).sum() > len(told) else "")


def n_tuples(n_others: int, n_cells: int) -> int:
    """d^n, or MANY where it is more."""
    return n_cells**n_others if n_others * math.log10(n_cells) < math.log10(MANY) else MANY


def require_few(game: PopulationGame | JointKernels, count: int, most: int, what: str) -> None:
    """Raise a UserError that names the sizes, the count and the remedy if there is too much to compute."""
    if count > most:
        number = f"{count:,}" if count < MANY else "more than 10^18"
        sizes = f"N = {game.n_agents}, S = {game.n_states}, A = {game.n_actions}"
        raise UserError(
            f"{sizes}: {what} takes {number} probabilities, at most {most:,} are enumerated; "
            "take fewer agents, or sample"
        )
