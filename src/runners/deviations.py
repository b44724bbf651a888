"""What agents could gain by deviating from whatever was played: the N-player score."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.frozen_flows import (
    Bracket,
    FrozenFlows,
    bracket,
    expected_moves,
    greedy_deviation,
    largest_bracket,
    payable,
    values_of,
)
from ..games import PopulationGame
from .played_cells import PlayedCells

FEWEST_EPISODES = 4
ENTRIES_AT_ONCE = 2**24  # of the transition tables of flows, 128 MiB


class Gains(NamedTuple):
    """What U units, agents or types, would have gained by deviating.

    Attributes:
        values: of every episode, [B, U] float64.
        payable: what the game can pay to each, [U].
        weights: share of the agents that a unit stands for, [U].
        actions: the deviation of each, [U, H, S] int64.
    """

    values: Tensor
    payable: Tensor
    weights: Tensor
    actions: Tensor


class Verdict(NamedTuple):
    """Attributes:
    mean: bracket of the mean over agents.
    largest: bracket of the maximum, over agents or types.
    worst: the unit that was taken for the maximum.
    too_weak: whether any deviator that counts was.
    """

    mean: Bracket
    largest: Bracket
    worst: int
    too_weak: bool


class DeviationScore:
    """Accumulates test episodes, then brackets the N-player exploitability by frozen flows.

    The others' play as an agent met it, itself left out, makes its decision problem. Half of the
    episodes fit a deviation by backward induction on the mean problem. In every episode its gain is
    what it is worth along the flow, less what the agents got, their luck removed by a control variate
    (``functional.frozen_flows``): their policies may be made of anything. ``PlayedCells`` says who
    meets whose others.

    Args:
        game: with tables, on whose device everything is counted.
        individual: whether agents may have policies of their own; then they are judged one by one,
            else by type, agents of one personal parameter.
        n_episodes: how many are going to come.
    """

    def __init__(self, game: PopulationGame, *, individual: bool = False, n_episodes: int = 1) -> None:
        self.game = game
        self.played = PlayedCells(game, individual=individual, n_episodes=n_episodes)
        self.n_episodes = 0

    def add_actions(self, t: int, states: Tensor, actions: Tensor) -> Tensor:
        """Add what all agents did at step t, [B, N] int64 each; returns their counts [B, S, A]."""
        if t == 0:
            self.n_episodes += states.shape[0]
        return self.played.add(t, states, actions)

    def add_returns(self, returns: Tensor) -> None:
        """Add the returns of all agents in the episodes added last, [B, N]."""
        self.played.add_returns(returns)

    def gains(self) -> Gains:
        """Of every unit: agents, in their order, where they are judged one by one, else types."""
        groups = list(self._groups())
        parts = [self._group_gains(members, column) for members, column in groups]
        values, paid, actions = (
            torch.cat(part, dim) for part, dim in zip(zip(*parts, strict=True), (1, 0, 0), strict=True)
        )
        if not self.played.view.each_alone:
            return Gains(values, paid, self._shares(), actions)
        order = torch.cat(
            [members.flatten() for members, _ in groups]
        ).argsort()  # back to that of the agents
        weights = values.new_full(order.shape, 1 / len(order))
        return Gains(values[:, order], paid[order], weights, actions[order])

    def verdict(self, gains: Gains) -> Verdict:
        """The mean over agents and the maximum over units."""
        middle = len(gains.values) // 2
        fitted, held_out = gains.values[:middle], gains.values[middle:]
        can_pay = (gains.payable @ gains.weights).item()
        mean = bracket(fitted @ gains.weights, held_out @ gains.weights, can_pay)
        largest, worst = largest_bracket(fitted, held_out, gains.payable)
        weak = mean.too_weak or largest.too_weak
        if not self.played.view.each_alone:
            units = zip(fitted.T, held_out.T, gains.payable.tolist(), strict=True)
            weak = weak or any(bracket(*unit).too_weak for unit in units)
        return Verdict(mean, largest, worst, weak)

    def scores(self) -> dict[str, float]:
        """The mean over agents and the maximum, each with its ends; nothing with fewer than 4 episodes."""
        if self.n_episodes < FEWEST_EPISODES:
            return {}
        return scores_of(self.verdict(self.gains()))

    def _shares(self) -> Tensor:
        return (self.played.sizes / self.played.sizes.sum()).double()

    def _groups(self) -> Iterator[tuple[Tensor, int]]:
        """Who is judged by deviations fitted together: members [D, m] of D deviators, and their column.

        Types one after the other; agents by themselves (a deviation each) as many as fit at once.
        """
        view, game = self.played.view, self.game
        everyone = torch.arange(game.n_agents, device=self.played.type_of.device)
        if view.few_types and not (view.each_alone and view.own_flows):
            for g in range(len(self.played.personal)):
                yield everyone[self.played.type_of == g].unsqueeze(0), g
            return
        entries = self.n_episodes * game.horizon * self.played.n_cells * game.n_states
        for some in everyone.split(max(1, ENTRIES_AT_ONCE // entries)):
            yield some.unsqueeze(1), 0

    def _group_gains(self, members: Tensor, column: int) -> tuple[Tensor, Tensor, Tensor]:
        """Gains [B, units], what the game can pay [units] and deviations [units, H, S] of one group."""
        flows = self._flows(members, column)  # [D, B, m or 1, H, S, A(, S)]
        middle = self.n_episodes // 2
        fit = FrozenFlows(*(part[:, :middle].flatten(1, 2) for part in flows))
        deviation, paid = greedy_deviation(fit), payable(fit)  # of D
        worth = values_of(flows, deviation.actions[:, None, None])[..., 0, :] @ self.game.initial_law
        expected = deviation.values[:, None, None]  # [D, 1, 1, H + 1, S]
        moves = expected_moves(flows, expected).flatten(-2)  # [D, B, m or 1, H, C]
        start = expected[..., 0, :] @ self.game.initial_law  # [D, 1, 1]
        if not self.played.keeps_cells:
            shares = self.played.counts()[:, :, column].double() / members.shape[1]  # [B, H, C]
            got = self.played.returns()[:, column] + start + (shares * moves[0, :, 0]).sum((1, 2))
            return (worth[0, :, 0] - got[0, 0]).unsqueeze(1), paid, deviation.actions
        got = self.played.returns()[:, members].transpose(0, 1) + start
        got = got + self._along_trajectories(members, moves)  # [D, B, m]
        values = worth - got
        if not self.played.view.each_alone:
            return values.mean(-1).T, paid, deviation.actions
        spread, n_each = values.transpose(0, 1).flatten(1), members.shape[1]  # [B, D * m]
        return spread, paid.repeat_interleave(n_each), deviation.actions.repeat_interleave(n_each, 0)

    def _flows(self, members: Tensor, column: int) -> FrozenFlows:
        """The decision problems of a group, [D, B, m or 1, H, S, A(, S)]."""
        if self.played.view.own_flows:
            cells = self.played.cells()[:, :, members.flatten()].long()  # [B, H, D * m]
            met = self.played.others(cells).unflatten(1, members.shape).transpose(0, 1)
        else:
            cells = self.played.references()[:, :, column : column + 1]  # [B, H, 1]
            met = self.played.others(cells).unsqueeze(0)  # [1, B, 1, H, S, A]
        personal = self.game.personal[members[:, 0]].double()[:, None, None, None]  # [D, 1, 1, 1]
        return FrozenFlows(*self.game.tables_met(met, personal))

    def _along_trajectories(self, members: Tensor, moves: Tensor) -> Tensor:
        """Sums of moves [D, B, m or 1, H, C] along the members' own trajectories: [D, B, m]."""
        cells = self.played.cells()  # [B, H, N]
        total = moves.new_zeros(len(members), len(cells), members.shape[1])
        for h in range(self.game.horizon):
            at = cells[:, h, members].long().transpose(0, 1)  # [D, B, m]
            table = moves[..., h, :].expand(*at.shape, -1)  # [D, B, m, C]
            total += table.gather(-1, at.unsqueeze(-1)).squeeze(-1)
        return total


def scores_of(verdict: Verdict) -> dict[str, float]:
    """A verdict as metrics, in reward units summed over the horizon."""
    named = {"mean": verdict.mean, "max": verdict.largest}
    scores = {f"exploitability_{name}": found.estimate for name, found in named.items()}
    for name, found in named.items():
        scores |= {
            f"exploitability_{name}_lower": found.lower,
            f"exploitability_{name}_upper": found.upper,
        }
    return scores | {"exploitability_too_weak": float(verdict.too_weak)}
