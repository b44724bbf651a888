"""How agents differ, from trajectories: contrasts within a cell, where all agents meet the same population.

Agents at the same episode, step, state and action meet the same distribution of others, so that whatever
depends on the population cancels between them. What is left is the agents' own deviations and noise.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .spread_over_agents import corrected_means
from .trajectories import Play, require_few

MOST_SWEEPS = 12


class Visits(NamedTuple):
    """One step of all agents, flat [V] with V = B N; a group is the agents of one episode in one cell.

    Attributes:
        cells: s A + a.
        group: b C + cell.
        place: i C + cell.
        block_place: (k N + i) C + cell.
        half_place: (k mod 2, i, cell) likewise.
        others: how many more agents the group has, float64; 1 where there are none.
        kept: 1.0 where there are others to compare with, else 0.0.
        next_states: s'.
        rewards: float64.
    """

    cells: Tensor
    group: Tensor
    place: Tensor
    block_place: Tensor
    half_place: Tensor
    others: Tensor
    kept: Tensor
    next_states: Tensor
    rewards: Tensor

    def mean_of_others(self, values: Tensor) -> Tensor:
        """Mean of values [V] over the rest of each visit's group, [V]; meaningless where none is kept."""
        sums = torch.bincount(self.group, values)
        return (sums[self.group] - values) / self.others


class Contrasts(NamedTuple):
    """What is kept of the contrasts; X = M - 1 outcomes and the reward, C = S A cells.

    The outcomes of a cell are the next states seen to follow it; deviations of probabilities sum to zero,
    so the last of the M is told by the others.

    Attributes:
        visits: with others to compare with, [K, N, C].
        sums: of the deviations of those visits, [X, K, N, C].
        noise: sums with the agent's mean of the step taken away and scaled so that their squares have
            the expectation of the squared noise of ``sums``, [X, K, N, C].
        scatter: sums of squares that bound the noise, [2, N, C]: of 1 - the share in the reference of the
            same outcome, and of the contrasts of rewards; no fitted correction is in either.
        outcome_of: rank of the next state among the outcomes of a cell, -1 where it never followed, [C, S].
        dropped: visits with nobody fit to compare with, [C].
        everyone: whether all agents, or where types are known all types, were in the cell with others: the
            reference is else the mean of those who were, [C] bool.
        put_in: visits to groups that lack a type, whose place an additive model takes, [C]; 0 where types
            are not known.
        by_type: whether the reference is that of types (``contrasts_by_type``): it is then right for
            deviations of types that change with the population.
        sweeps: how often the composition of the groups was taken out; 0 where types are known.
    """

    visits: Tensor
    sums: Tensor
    noise: Tensor
    scatter: Tensor
    outcome_of: Tensor
    dropped: Tensor
    everyone: Tensor
    put_in: Tensor
    by_type: bool
    sweeps: int

    @property
    def n_outcomes(self) -> Tensor:
        """Outcomes of each cell, [C] int64."""
        return (self.outcome_of >= 0).sum(-1)

    def outcomes(self) -> Iterator[tuple[Tensor, Tensor]]:
        """``sums`` and ``noise`` of every outcome, [K, N, C] each; none where no cell has two."""
        if len(self.sums) > 1:
            yield from zip(self.sums[:-1], self.noise[:-1], strict=True)
            yield -self.sums[:-1].sum(0), -self.noise[:-1].sum(0)

    @property
    def reward(self) -> tuple[Tensor, Tensor]:
        """``sums`` and ``noise`` of the rewards, [K, N, C] each."""
        return self.sums[-1], self.noise[-1]


def each_step(play: Play) -> Iterator[Visits]:
    """The visits of one step after the other, at O(B N) memory."""
    n_episodes, horizon, n_agents = play.actions.shape
    n_cells, device = play.n_cells, play.states.device
    episode = torch.arange(n_episodes, device=device).unsqueeze(1)  # [B, 1]
    agent = torch.arange(n_agents, device=device)  # [N]
    block = episode * play.n_blocks // n_episodes  # [B, 1]
    states = play.states[:, 0].long()
    for h in range(horizon):
        next_states = play.states[:, h + 1].long()
        cells = states * play.n_actions + play.actions[:, h].long()  # [B, N]
        group = (episode * n_cells + cells).reshape(-1)
        others = (torch.bincount(group) - 1)[group].double()
        yield Visits(
            cells=cells.reshape(-1),
            group=group,
            place=(agent * n_cells + cells).reshape(-1),
            block_place=((block * n_agents + agent) * n_cells + cells).reshape(-1),
            half_place=((block % 2 * n_agents + agent) * n_cells + cells).reshape(-1),
            others=others.clamp(min=1),
            kept=(others > 0).double(),
            next_states=next_states.reshape(-1),
            rewards=play.rewards[:, h].reshape(-1).double(),
        )
        states = next_states


def each_channel(visits: Visits, outcome_of: Tensor, n_channels: int) -> Iterator[Tensor]:
    """The indicators of the outcomes but the last, then the reward, [V] float64 each."""
    outcomes = outcome_of[visits.cells, visits.next_states]
    for rank in range(n_channels - 1):
        yield (outcomes == rank).double()
    yield visits.rewards


def agent_contrasts(play: Play, *, tolerance: float) -> Contrasts:
    """Deviations of agents from the mean over all N agents, visit by visit, summed over blocks of episodes.

    Of agent i in the group g, with y the reward or the indicator of an outcome,

        r_ig = (N - 1) / N [ y_ig - mean_{j in g, j != i} (y_jg - a_j) ] + a_i / N.

    With a = 0 this is the contrast with the others of the group, scaled because the reference is the mean
    over all N agents, i included: unbiased where a group is a random sample of the others. Agents sort
    themselves, though (who catches the epidemic more easily is found among the infected), and a takes out
    how the group is composed. It is the mean of r_ig over i's visits, sum_i a_i = 0, shrunk by
    V / (V + sigma^2 / n_i), V the variance of deviations over agents and sigma^2 that of r_ig over visits:
    what is all noise corrects nothing, and without noise deviations of an additive model of agents and groups
    are exact, whatever the groups. The equations of a are solved by sweeps; with groups of n agents one
    shrinks the error about n-fold. Even and odd blocks have an a of their own, so that neither half knows the
    other; its noise is in no standard error.

    This assumes that deviations do not change with the population, or that who is in a cell does not depend
    on who they are: one a_i stands for all populations, and deviations that follow the population are wrong
    by the covariance of that with the composition, which no interval knows of. ``contrasts_by_type`` does
    without the assumption, where types are known.

    Args:
        play: what ``require_play`` passed.
        tolerance: sweeps end when no a_i moves by more, or after 12.

    Raises:
        NotTrajectoriesError: too many next states for the agents and cells that there are.
    """
    outcome_of = outcomes_of(play)
    n_channels = int(outcome_of.max()) + 1  # the outcomes but the last, and the reward
    require_few(play, n_channels)
    scatter, count, dropped = _scatter(play, outcome_of, n_channels)
    effects = count.new_zeros(n_channels, 2, *count.shape[1:])
    sweeps = 0
    while True:
        mean, squares = _sweep(play, outcome_of, effects, count)
        effects, before = _shrunk(mean, squares, by_half(count)), effects
        sweeps += 1
        if sweeps == MOST_SWEEPS or float((effects - before).abs().max()) <= tolerance:
            break

    def deviations(_: int, visits: Visits) -> Iterator[Tensor]:
        for channel, values in enumerate(each_channel(visits, outcome_of, n_channels)):
            yield _deviations(play, visits, values, effects[channel])

    visits, sums, noise = block_sums(play, count.sum(0), n_channels, deviations)
    return Contrasts(
        visits=visits,
        sums=_centred(sums, visits),
        noise=noise,
        scatter=scatter,
        outcome_of=outcome_of,
        dropped=dropped,
        everyone=(visits.sum(0) > 0).all(0),
        put_in=torch.zeros_like(dropped),
        by_type=False,
        sweeps=sweeps,
    )


def by_half(parts: Tensor) -> Tensor:
    """Sums over even and over odd blocks, [..., K, N, C] -> [..., 2, N, C]."""
    return torch.stack([parts[..., half::2, :, :].sum(-3) for half in (0, 1)], -3)


def _deviations(play: Play, visits: Visits, values: Tensor, effects: Tensor) -> Tensor:
    """r_ig of every kept visit and 0 of the others, from y and the a [2, N, C] of one channel; [V]."""
    own = effects.flatten()[visits.half_place]
    contrast = values - visits.mean_of_others(values - own)
    return visits.kept * (contrast * (1 - 1 / play.n_agents) + own / play.n_agents)


def outcomes_of(play: Play) -> Tensor:
    """Rank of every next state among those seen to follow a cell, -1 where it never did, [C, S]."""
    size = play.n_cells * play.n_states
    followed = torch.zeros(size, dtype=torch.bool, device=play.states.device)
    for visits in each_step(play):
        followed[visits.cells * play.n_states + visits.next_states] = True
    followed = followed.reshape(play.n_cells, play.n_states)
    return torch.where(followed, followed.cumsum(-1) - 1, -1)


def _scatter(play: Play, outcome_of: Tensor, n_channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """``scatter`` of Contrasts [2, N, C], kept visits [K, N, C] and ``dropped`` [C]."""
    n_places = play.n_agents * play.n_cells
    scatter = torch.zeros(2, n_places, dtype=torch.float64, device=play.states.device)
    count, dropped = scatter.new_zeros(play.n_blocks * n_places), scatter.new_zeros(play.n_cells)
    for visits in each_step(play):
        place, kept = visits.place, visits.kept
        count += torch.bincount(visits.block_place, kept, len(count))
        dropped += torch.bincount(visits.cells, 1 - kept, play.n_cells)
        outcome = visits.group * n_channels + outcome_of[visits.cells, visits.next_states]
        same = torch.bincount(outcome)[outcome] - 1
        scatter[0] += torch.bincount(place, kept * (1 - same / visits.others) ** 2, n_places)
        contrast = visits.rewards - visits.mean_of_others(visits.rewards)
        scatter[1] += torch.bincount(place, kept * contrast**2, n_places)
    shape = (play.n_agents, play.n_cells)
    return scatter.reshape(2, *shape), count.reshape(play.n_blocks, *shape), dropped


def _sweep(play: Play, outcome_of: Tensor, effects: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Means of r_ig over the visits of an agent and sums of squares about them, [X, 2, N, C] each.

    Args:
        play: the trajectories.
        outcome_of: [C, S].
        effects: a, [X, 2, N, C].
        count: kept visits, [K, N, C].
    """
    totals = effects.new_zeros(len(effects), count.numel())
    squares = torch.zeros_like(effects).flatten(1)
    for visits in each_step(play):
        for channel, values in enumerate(each_channel(visits, outcome_of, len(effects))):
            deviation = _deviations(play, visits, values, effects[channel])
            totals[channel] += torch.bincount(visits.block_place, deviation, count.numel())
            squares[channel] += torch.bincount(visits.half_place, deviation**2, squares.shape[1])
    sums = totals.reshape(-1, *count.shape)
    mean = _means_by_half(sums, count)
    of_halves = by_half(sums) ** 2 / by_half(count).clamp(min=1)
    return mean, (squares.reshape(effects.shape) - of_halves).clamp(min=0)


def _means_by_half(sums: Tensor, count: Tensor) -> Tensor:
    """Jackknifed means of agents in even and in odd blocks, [X, K, N, C] and [K, N, C] -> [X, 2, N, C]."""
    return torch.stack([corrected_means(sums[:, half::2], count[half::2]) for half in (0, 1)], 1)


def _shrunk(mean: Tensor, squares: Tensor, count: Tensor) -> Tensor:
    """a from the means and squares of a sweep, [X, 2, N, C]; 0 of agents that were not in the cell."""
    there = (count > 0).to(mean)  # [2, N, C]
    n_agents = there.sum(1, keepdim=True).clamp(min=1)
    mean = (mean - (mean * there).sum(2, keepdim=True) / n_agents) * there
    degrees = (count - 1).clamp(min=0).sum(1, keepdim=True).clamp(min=1)
    noise = squares.sum(2, keepdim=True) / degrees  # sigma^2
    of_mean = noise / count.clamp(min=1) * there
    variance = ((mean**2 - of_mean).sum(2, keepdim=True) / n_agents).clamp(min=0)
    return mean * torch.nan_to_num(variance / (variance + of_mean))  # 0 / 0 where all are alike


def _centred(sums: Tensor, visits: Tensor) -> Tensor:
    """Sums whose mean over the agents that were in a cell, each by its own mean, is 0 in either half.

    How often an agent comes back may depend on its own noise, and its mean is then biased; alike for all
    agents of a type, so that no number of agents averages it out. Hence the jackknife.
    """
    there = (by_half(visits) > 0).to(sums)  # [2, N, C]
    common = (_means_by_half(sums, visits) * there).sum(2) / there.sum(1).clamp(min=1)  # [X, 2, C]
    half = torch.arange(len(visits), device=visits.device) % 2
    return sums - common[:, half].unsqueeze(2) * visits


def block_sums(
    play: Play, count: Tensor, n_channels: int, deviations: Callable[[int, Visits], Iterator[Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """``visits``, ``sums`` and ``noise`` of Contrasts.

    Of the visits of an agent to a cell at one step, n_k of n in block k, the noise is
    (sum_k - n_k mean) sqrt(n / (n - n_k)), whose square has the expectation n_k sigma^2. Where all are in
    one block, the mean is that over all steps.

    Args:
        play: the trajectories.
        count: kept visits, [N, C].
        n_channels: X.
        deviations: those of the visits of step h, [V] for each channel, 0 where they are not kept.
    """
    shape = (play.n_blocks, play.n_agents, play.n_cells)
    size = play.n_blocks * play.n_agents * play.n_cells
    sums = count.new_zeros(n_channels, *shape)
    noise, all_visits, lonely = torch.zeros_like(sums), count.new_zeros(shape), count.new_zeros(shape)
    for h, visits in enumerate(each_step(play)):
        there = torch.bincount(visits.block_place, visits.kept, size).reshape(shape)
        all_visits += there
        at_step = there.sum(0)  # [N, C]
        alone = there >= at_step  # also where nobody was
        of_all = torch.where(alone, count, at_step)  # visits that the mean is over
        widen = (of_all / (of_all - there).clamp(min=1)).sqrt()
        lonely += torch.where(alone, there * widen, 0.0)
        for channel, deviation in enumerate(deviations(h, visits)):
            block = torch.bincount(visits.block_place, deviation, size).reshape(shape)
            of_step = torch.where(alone, 0.0, block.sum(0) / at_step.clamp(min=1))
            sums[channel] += block
            noise[channel] += (block - there * of_step) * widen
    mean = sums.sum(1, keepdim=True) / count.clamp(min=1)
    return all_visits, sums, noise - mean * lonely
