"""What trajectories have seen: which populations, states and actions, and how often."""

from typing import NamedTuple

import torch
from torch import Tensor

from .agent_contrasts import Contrasts
from .distributions import count_values
from .spread_over_agents import eligible, measured
from .trajectories import Play


class Seen(NamedTuple):
    """What alpha and beta from trajectories speak of: they are maxima over all of it, and this is a part.

    Attributes:
        visits: agent-steps in each cell, [S, A].
        agents: agents that were there with others to compare with, [S, A].
        spread_agents: those of them that were there in two blocks of episodes at least, over whom
            a spread is taken, [S, A].
        measured: cells that an interval is given of: see ``spread_over_agents.measured``, [S, A] bool.
        dropped: visits alone in their group, with nobody to compare with, and all those to cells in which
            types never met, [S, A].
        put_in: visits to groups that lack a type whose place an additive model takes, [S, A]; 0 where types
            are not known.
        population_least, population_mean, population_most: nu(s) over episodes, [T, S].
    """

    visits: Tensor
    agents: Tensor
    spread_agents: Tensor
    measured: Tensor
    dropped: Tensor
    put_in: Tensor
    population_least: Tensor
    population_mean: Tensor
    population_most: Tensor

    @property
    def never(self) -> list[tuple[int, int]]:
        """Cells (s, a) that nobody was in."""
        return [(int(s), int(a)) for s, a in (self.visits == 0).nonzero()]

    @property
    def dropped_share(self) -> float:
        """Share of all visits that had nobody to compare with."""
        return int(self.dropped.sum()) / int(self.visits.sum())

    @property
    def put_in_share(self) -> float:
        """Share of all visits in groups that lack a type."""
        return int(self.put_in.sum()) / int(self.visits.sum())


def what_was_seen(play: Play, contrasts: Contrasts) -> Seen:
    """Count the visits of contrasts and go through the populations."""
    shape = (play.n_states, play.n_actions)
    kept = contrasts.visits.sum(0)  # [N, C]
    ranges = []
    for h in range(play.actions.shape[1]):
        nu = count_values(play.states[:, h].long(), play.n_states).double() / play.n_agents  # [B, S]
        ranges.append(torch.stack([nu.amin(0), nu.mean(0), nu.amax(0)]))
    least, mean, most = torch.stack(ranges, 1)  # [T, S] each
    return Seen(
        visits=(kept.sum(0) + contrasts.dropped).long().reshape(shape),
        agents=(kept > 0).sum(0).reshape(shape),
        spread_agents=eligible(contrasts.visits).sum(0).reshape(shape),
        measured=measured(contrasts.visits, contrasts.dropped).reshape(shape),
        dropped=contrasts.dropped.long().reshape(shape),
        put_in=contrasts.put_in.long().reshape(shape),
        population_least=least,
        population_mean=mean,
        population_most=most,
    )
