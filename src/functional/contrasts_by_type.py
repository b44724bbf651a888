"""How agents of known types differ, from trajectories: each visit against the types' means in its group."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .agent_contrasts import Contrasts, Visits, block_sums, each_channel, each_step
from .trajectories import Play, require_few
from .type_contrasts import Types, TypeSums, by_episode, shares_in, sums_by_type


def contrasts_by_type(play: Play, outcome_of: Tensor, known: Types, sums: TypeSums) -> Contrasts:
    """Deviations of agents from the mean over all agents, visit by visit, summed over blocks of episodes.

    Of agent i of type tau in the group g, with y the reward or the indicator of an outcome,

        r_ig = y_ig - sum_{tau' != tau} w_tau' mean_{j in g of tau'} y_jg
                    - w_tau [ y_ig / N_tau + (1 - 1 / N_tau) mean_{j in g of tau, j != i} y_jg ],

    with w_tau = N_tau / N, of the types that ever were in the cell; y_ig stands for its type where it is
    the only one. The expectation is the deviation of i at that population whenever agents of a type are
    alike, however their deviations change with the population and whoever is in the group; where agents of
    a type differ, whenever a group is a random sample of those of each type. Types that a group lacks are
    put in as ``type_contrasts`` does, by deviations of the same step, fitted to even and to odd blocks, so
    that neither half knows the other; their noise is in no standard error. Cells in which types never met
    are left out.

    Args:
        play: what ``require_play`` passed.
        outcome_of: ranks of next states, [C, S].
        known: types of the agents.
        sums: what ``type_contrasts`` says of them.

    Raises:
        NotTrajectoriesError: too many next states for the agents and cells that there are.
    """
    n_channels = int(outcome_of.max()) + 1
    require_few(play, n_channels)
    fitted = sums.by_half() if bool(sums.missing.any()) else None
    references = References(play, outcome_of, known, fitted)
    visits, found, noise = block_sums(play, known.n_visits, n_channels, references.deviations)
    joined = known.joined.double()
    dropped = sum((torch.bincount(v.cells, 1 - v.kept, play.n_cells) for v in each_step(play)), 0 * joined)
    return Contrasts(
        visits=visits * joined,
        sums=found * joined,
        noise=noise * joined,
        scatter=references.scatter.reshape(2, play.n_agents, play.n_cells) * joined,
        outcome_of=outcome_of,
        dropped=dropped + visits.sum((0, 1)) * (1 - joined),
        everyone=known.everyone,
        put_in=references.put_in * joined,
        by_type=True,
        sweeps=0,
    )


class References:
    """The contrasts of one step after the other, and what is counted on the way.

    Attributes:
        scatter: as of Contrasts, [2, N C].
        put_in: visits to groups that lack a type, [C].
    """

    def __init__(self, play: Play, outcome_of: Tensor, known: Types, fitted: Tensor | None) -> None:
        """``fitted`` are deviations of types, [2, T, M + 1, G, C]; None where no group lacks any."""
        self.play, self.outcome_of, self.known, self.fitted = play, outcome_of, known, fitted
        n_episodes = len(play.actions)
        self.types = known.of.repeat(n_episodes)  # [V]
        self.weight = known.weight.repeat(1, n_episodes)  # [G, B C]
        block = torch.arange(n_episodes, device=self.types.device) * play.n_blocks // n_episodes
        self.half = block % 2  # [B]
        self.scatter = known.weight.new_zeros(2, play.n_agents * play.n_cells)
        self.put_in = known.weight.new_zeros(play.n_cells)

    def deviations(self, h: int, visits: Visits) -> Iterator[Tensor]:
        """r_ig of the visits of step h, 0 of those not kept, a channel after the other; [V]."""
        play, weight, own, place = self.play, self.weight, self.types, visits.place
        count = sums_by_type(visits, own, None, *weight.shape)  # [G, B C]
        shares = shares_in(count, weight)
        lacks = (shares.owed != 0).any(0)  # [B C]
        self.put_in += (count.sum(0) * lacks).reshape(-1, play.n_cells).sum(0)
        of_own, others = shares.of_types[own, visits.group], (count[own, visits.group] - 1).clamp(min=0)
        inside = 1 / self.known.sizes[own]  # share of an agent among those of its type
        n_channels = int(self.outcome_of.max()) + 1
        unlike = torch.zeros_like(visits.rewards)  # 1 - share of the same outcome in the reference
        told = torch.zeros_like(visits.rewards)  # whether one of the outcomes but the last
        ends = torch.zeros_like(visits.rewards)
        for channel, values in enumerate(each_channel(visits, self.outcome_of, n_channels)):
            total = sums_by_type(visits, own, values, *weight.shape)
            mean = total / count.clamp(min=1)
            rest = (total[own, visits.group] - values) / others.clamp(min=1)
            mine = torch.where(others > 0, inside * values + (1 - inside) * rest, values)
            of_all = (shares.of_types * mean).sum(0)[visits.group]
            reference = of_all + of_own * (mine - mean[own, visits.group])
            contrast = values - reference
            if channel < n_channels - 1:
                told, ends, unlike = told + values, ends + reference, unlike + values * contrast
            else:
                unlike = visits.kept * (unlike + (1 - told) * ends)
                squares = torch.stack([unlike, visits.kept * contrast]) ** 2
                for row, square in zip(self.scatter, squares, strict=True):
                    row += torch.bincount(place, square, len(row))
            if self.fitted is not None and bool(lacks.any()):
                contrast = contrast - self._owed(h, channel, n_channels, shares.owed)[visits.group]
            yield visits.kept * contrast

    def _owed(self, h: int, channel: int, n_channels: int, owed: Tensor) -> Tensor:
        """What the fitted deviations of absent types add to the reference of every group, [B C]."""
        assert self.fitted is not None
        rank = -1 if channel == n_channels - 1 else channel
        of_episode = self.fitted[self.half, h, rank]  # [B, G, C]
        return (by_episode(owed, self.play.n_cells) * of_episode).sum(1).reshape(-1)
