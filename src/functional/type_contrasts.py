"""How types of agents differ, from trajectories: each type's mean against that of all, group by group."""

from typing import NamedTuple

import torch
from torch import Tensor

from .agent_contrasts import Visits, each_channel, each_step
from .spread_over_agents import FEWEST_BLOCKS, FEWEST_VISITS, Jackknifed
from .trajectories import MOST_ENTRIES, NotTrajectoriesError, Play

MOST_TYPES = 64


class Types(NamedTuple):
    """Who is of which of G types, and which types were in which cell with others to compare with.

    Attributes:
        of: number of the type of each agent, 0 .. G - 1, [N] int64.
        sizes: agents of each type, [G] float64.
        weight: share of each type among the agents of the types that were in the cell, [G, C].
        everyone: whether all types were, and met, [C] bool.
        joined: whether the types that were there met, one by way of another at least, [C] bool.
        n_visits: with others to compare with, [N, C].
    """

    of: Tensor
    sizes: Tensor
    weight: Tensor
    everyone: Tensor
    joined: Tensor
    n_visits: Tensor


class TypeSums(NamedTuple):
    """Sums over the visits of G types to C cells, by step and block; M outcomes and the reward, X = M + 1.

    Attributes:
        visits: with others to compare with, [T, K, G, C].
        mixed_visits: of those, in groups of more than one type, [T, K, G, C].
        contrasts: sums of contrasts with the types that were there, [T, K, X, G, C].
        missing: what the types' own deviations add to that where one is not there, [T, K, C, G, G].
    """

    visits: Tensor
    mixed_visits: Tensor
    contrasts: Tensor
    missing: Tensor

    def mean(self) -> Jackknifed:
        """Mean deviations of the types over their visits, [X, G, C]; NaN where a type never was."""
        parts = [part.sum(1) for part in self]  # [T, ...]
        left_out = [
            mean_deviations(*(part - own[:, k] for part, own in zip(parts, self, strict=True)))
            for k in range(self.visits.shape[1])
        ]
        return Jackknifed(mean_deviations(*parts), torch.stack(left_out))

    def by_half(self) -> Tensor:
        """Deviations by step from even and from odd blocks, [2, T, X, G, C]."""
        halves = ([part[:, half::2].sum(1) for part in self] for half in (0, 1))
        return torch.stack([deviations_by_step(*parts) for parts in halves])

    @property
    def measured(self) -> Tensor:
        """Types and cells that met other types in blocks and visits enough for an interval, [G, C] bool."""
        mixed = self.mixed_visits.sum(0)  # [K, G, C]
        return ((mixed > 0).sum(0) >= FEWEST_BLOCKS) & (mixed.sum(0) >= FEWEST_VISITS)


def mean_deviations(visits: Tensor, mixed_visits: Tensor, contrasts: Tensor, missing: Tensor) -> Tensor:
    """Means over visits of ``deviations_by_step``, [X, G, C]; NaN where n is 0 at every step."""
    count = visits.sum(0)
    if not bool(missing.any()):
        return torch.where(count > 0, contrasts.sum(0) / count, torch.nan)
    of_step = deviations_by_step(visits, mixed_visits, contrasts, missing)
    return torch.where(count > 0, (visits.unsqueeze(1) * of_step).sum(0) / count, torch.nan)


def deviations_by_step(visits: Tensor, mixed_visits: Tensor, contrasts: Tensor, missing: Tensor) -> Tensor:
    """Deviations d that solve n_tau d_tau + sum_tau' W_tau,tau' d_tau' = P_tau at every step.

    They are solved step by step, for they vary with the population and the population with the step; for
    types that met no other at a step, those of all steps together are taken.

    Args:
        visits: n, [T, G, C].
        mixed_visits: in groups of more than one type, [T, G, C].
        contrasts: P, [T, X, G, C].
        missing: W, [T, C, G, G].

    Returns:
        [T, X, G, C].
    """
    overall = _solved(visits.sum(0), contrasts.sum(0), missing.sum(0))  # [X, G, C]
    met = mixed_visits > 0
    rows = met.transpose(1, 2).unsqueeze(-1)  # [T, C, G, 1]
    n = torch.where(met, visits, 1.0)
    return _solved(n, torch.where(met.unsqueeze(1), contrasts, overall), torch.where(rows, missing, 0.0))


def _solved(visits: Tensor, contrasts: Tensor, missing: Tensor) -> Tensor:
    """d from n [..., G, C], P [..., X, G, C] and W [..., C, G, G]; the smallest where it is not unique."""
    matrix = torch.diag_embed(visits.transpose(-1, -2)) + missing
    return torch.einsum("...cgt,...xtc->...xgc", torch.linalg.pinv(matrix, rtol=1e-12), contrasts)


def types_met(play: Play, type_of: Tensor, n_types: int) -> Types:
    """Which types were in which cell.

    Args:
        play: the trajectories.
        type_of: number of the type of each agent, 0 .. G - 1, [N] int64.
        n_types: G.

    Raises:
        NotTrajectoriesError: more types than are told apart.
    """
    n_episodes, horizon, n_agents = play.actions.shape
    entries = horizon * play.n_blocks * play.n_cells * n_types**2
    if n_types > MOST_TYPES or entries > MOST_ENTRIES:
        raise NotTrajectoriesError(
            f"{n_types} types: fewer must be told apart, at most {MOST_TYPES}; leave them out"
        )
    types = type_of.repeat(n_episodes)  # [V]
    sizes = torch.bincount(type_of, minlength=n_types).double()
    count = sizes.new_zeros(n_agents * play.n_cells)
    met = sizes.new_zeros(play.n_cells, n_types, n_types)
    for visits in each_step(play):
        count += torch.bincount(visits.place, visits.kept, len(count))
        here = sums_by_type(visits, types, None, n_types, n_episodes * play.n_cells) > 0
        present = by_episode(here.double(), play.n_cells)  # [B, G, C]
        met += torch.einsum("bgc,btc->cgt", present, present)
    linked = met > 0  # [C, G, G]
    there = linked.any(-1)  # [C, G]
    for _ in range(n_types.bit_length()):  # paths twice as long each time
        linked = linked.double() @ linked.double() > 0
    joined = (linked | ~there.unsqueeze(1) | ~there.unsqueeze(2)).flatten(1).all(1)
    weight = sizes.unsqueeze(1) * there.T
    return Types(
        of=type_of,
        sizes=sizes,
        weight=weight / weight.sum(0).clamp(min=1),
        everyone=joined & there.all(1),
        joined=joined,
        n_visits=count.reshape(n_agents, play.n_cells),
    )


def type_contrasts(play: Play, outcome_of: Tensor, known: Types) -> TypeSums:
    """Deviations of types from the mean over all agents, P^tau - P, each over the type's own visits.

    In every group g a type's mean is compared with sum_tau w_tau mean of type tau in g, w_tau = N_tau / N
    (of the agents of types that ever were in the cell). While every type is in the group that is right
    whatever the group is made of and however deviations depend on the population, where agents of a type are
    alike. A type that is not there is put in as an additive model has it, as the mean over g of
    y_j - d(type of j), plus its own d at that step: the sums are linear in the deviations d, which solve
    them. That holds for deviations that do not change among the populations of one step.

    Args:
        play: the trajectories.
        outcome_of: ranks of next states, as in ``Contrasts``, [C, S].
        known: types of the agents, as ``types_met`` has them.
    """
    n_episodes, horizon, _ = play.actions.shape
    n_types, n_channels = len(known.sizes), int(outcome_of.max()) + 1
    types = known.of.repeat(n_episodes)  # [V]
    block = torch.arange(n_episodes, device=types.device) * play.n_blocks // n_episodes
    weight = known.weight.repeat(1, n_episodes)  # [G, B C]
    shape = (horizon, play.n_blocks, n_types, play.n_cells)
    visited, mixed = weight.new_zeros(shape), weight.new_zeros(shape)
    sums = weight.new_zeros(n_channels, *shape)
    missing = weight.new_zeros(horizon, play.n_blocks, play.n_cells, n_types, n_types)
    for h, visits in enumerate(each_step(play)):
        count = sums_by_type(visits, types, None, *weight.shape)  # [G, B C]
        shares = shares_in(count, weight)
        visited[h].index_add_(0, block, by_episode(count, play.n_cells))
        mixed[h].index_add_(0, block, by_episode(count * ((count > 0).sum(0) > 1), play.n_cells))
        for channel, values in enumerate(each_channel(visits, outcome_of, n_channels)):
            mean = sums_by_type(visits, types, values, *weight.shape) / count.clamp(min=1)
            reference = (shares.of_types * mean).sum(0)
            sums[channel, h].index_add_(0, block, by_episode(count * (mean - reference), play.n_cells))
        pairs = (count.unsqueeze(1) * shares.owed).reshape(n_types, n_types, n_episodes, play.n_cells)
        missing[h].index_add_(0, block, pairs.permute(2, 3, 0, 1))
    last = -sums[:-1].sum(0, keepdim=True)  # of the outcome that the others tell
    contrasts = torch.cat([sums[:-1], last, sums[-1:]])
    return TypeSums(visited, mixed, contrasts.permute(1, 2, 0, 3, 4), missing)


class Shares(NamedTuple):
    """What the reference of a group is made of.

    Attributes:
        of_types: share of each type's mean, [G, B C]; 0 of types that are not there.
        owed: share of each type's deviation d that is to be added, [G, B C]; 0 where all are there.
    """

    of_types: Tensor
    owed: Tensor


def shares_in(count: Tensor, weight: Tensor) -> Shares:
    """Shares from how many of each type a group has [G, B C], and from the weights of types [G, B C]."""
    absent = (count == 0) * weight
    put_in = absent.sum(0)
    share = count / count.sum(0).clamp(min=1)
    return Shares((count > 0) * weight + put_in * share, absent - put_in * share)


def by_episode(groups: Tensor, n_cells: int) -> Tensor:
    """[G, B C] -> [B, G, C]."""
    return groups.unflatten(1, (-1, n_cells)).transpose(0, 1)


def sums_by_type(visits: Visits, types: Tensor, values: Tensor | None, n_types: int, n_groups: int) -> Tensor:
    """Sums of values [V], or numbers, of the kept visits of each type to each group, [G, B C]."""
    weights = visits.kept if values is None else visits.kept * values
    rows = types * n_groups + visits.group
    return torch.bincount(rows, weights, n_types * n_groups).reshape(n_types, n_groups)
