"""What agents could gain by deviating from whatever was played: the N-player score."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..functional.frozen_flows import (
    Bracket,
    Deviation,
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
MOST_ENTRIES = 2**35  # of all tables that one score computes: a few minutes on one core


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

    def add_counts(self, t: int, counts: Tensor, references: Tensor) -> Tensor:
        """``add_actions`` of a counted game; arguments as for ``PlayedCells.add_counts``."""
        if t == 0:
            self.n_episodes += len(counts)
        return self.played.add_counts(t, counts, references)

    def add_returns(self, returns: Tensor) -> None:
        """Add the returns of all agents in the episodes added last, [B, N]; of a counted game, [B, G]."""
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
        if view.few_types and not (view.each_alone and view.own_flows):
            for g in range(len(self.played.personal)):
                yield self.played.members(g), g
            return
        everyone = torch.arange(game.n_agents, device=self.played.type_of.device)
        for some in everyone.split(max(1, ENTRIES_AT_ONCE // self._entries_an_episode())):
            yield some.unsqueeze(1), 0

    def entries(self, n_episodes: int) -> int:
        """How many entries of tables a score of so many episodes computes; above MOST_ENTRIES it is skipped.

        With ``population="all"`` the tables of a flow are those of S A populations, and the control
        variate's are without; what is declared ``fixed_transition`` or local needs one.
        """
        game, view, n_cells = self.game, self.played.view, self.played.n_cells
        counted, left_out = (n_cells, 1) if game.population == "all" else (1, n_cells)
        rewards = n_cells * (1 if game.local_reward else counted)
        tables = 1 if game.fixed_transition else 2 if game.local_transition else counted + left_out
        laws = n_cells * game.n_states * tables
        units = len(self.played.personal) if view.few_types else game.n_agents
        if view.each_alone and view.own_flows:
            units = game.n_agents
        return 2 * n_episodes * game.horizon * units * (rewards + laws)

    def _entries_an_episode(self) -> int:
        """Of the tables of one flow, and of what is gathered from them for a step of a deviation."""
        game = self.game
        return game.horizon * self.played.n_cells * (1 if game.fixed_transition else game.n_states) + (
            game.n_states**2
        )

    def _group_gains(self, members: Tensor, column: int) -> tuple[Tensor, Tensor, Tensor]:
        """Gains [B, units], what the game can pay [units] and deviations [units, H, S] of one group."""
        n_each = members.shape[1]
        at_once = ENTRIES_AT_ONCE // (members.numel() if self.played.view.own_flows else len(members))
        episodes = torch.arange(self.n_episodes, device=members.device)
        parts = episodes.split(max(1, at_once // self._entries_an_episode()))
        problem, paid = self._average_problem(members, column, episodes[: self.n_episodes // 2], parts)
        deviation = greedy_deviation(problem)  # of D
        values = torch.cat([self._gains_in(part, members, column, deviation) for part in parts], 1)
        if values.shape[2] == 1 or not self.played.view.each_alone:
            return values.mean(-1).T, paid, deviation.actions
        spread = values.transpose(0, 1).flatten(1)  # [B, D * m]
        return spread, paid.repeat_interleave(n_each), deviation.actions.repeat_interleave(n_each, 0)

    def _average_problem(
        self, members: Tensor, column: int, fitted: Tensor, parts: tuple[Tensor, ...]
    ) -> tuple[FrozenFlows, Tensor]:
        """Mean kernels of the fitted episodes' flows [D, 1, H, S, A(, S)], and what they can pay [D]."""
        transition = reward = paid = torch.zeros((), dtype=torch.float64, device=members.device)
        for part in parts:
            inside = part[part < len(fitted)]
            if len(inside):
                kernels = self._flows(inside, members, column)
                flows = FrozenFlows(*(kernel.flatten(1, 2) for kernel in kernels))
                share = len(inside) / len(fitted)
                transition = transition + share * flows.transition.mean(1)
                reward = reward + share * flows.reward.mean(1)
                paid = paid + share * payable(flows)
        return FrozenFlows(transition.unsqueeze(1), reward.unsqueeze(1)), paid

    def _gains_in(self, part: Tensor, members: Tensor, column: int, deviation: Deviation) -> Tensor:
        """Gains in some episodes, [D, B', m], or of all members together [D, B', 1]."""
        flows = self._flows(part, members, column)  # [D, B', m or 1, H, S, A(, S)]
        rho0 = self.game.initial_law
        worth = values_of(flows, deviation.actions[:, None, None])[..., 0, :] @ rho0  # [D, B', m or 1]
        start = deviation.values[:, None, None, 0] @ rho0  # [D, 1, 1]
        if self.played.view.own_flows:
            moves = expected_moves(flows, deviation.values[:, None, None]).flatten(-2)
        else:
            moves = self._moves(part, members, deviation.values)  # [D, B', 1, H, C]
        returns = self.played.returns()[part]
        if self.played.keeps_cells:
            got = returns[:, members].transpose(0, 1) + self._along_trajectories(part, members, moves)
            return worth - got - start
        shares = self.played.counts()[part, :, column].double() / members.shape[1]  # [B', H, C]
        got = returns[:, column, None] + (shares * moves[0, :, 0]).sum((1, 2)).unsqueeze(1)  # [B', 1]
        return worth - got - start

    def _flows(self, part: Tensor, members: Tensor, column: int) -> FrozenFlows:
        """The decision problems of a group in some episodes, [D, B', m or 1, H, S, A(, S)]."""
        if self.played.view.own_flows:
            cells = self.played.cells()[part][:, :, members.flatten()].long()  # [B', H, D * m]
            met = self.played.others(part, cells).unflatten(1, members.shape).transpose(0, 1)
        else:
            cells = self.played.references()[part, :, column : column + 1]  # [B', H, 1]
            met = self.played.others(part, cells).unsqueeze(0)  # [1, B', 1, H, S, A]
        return FrozenFlows(*self.game.tables_met(met, self._personal(members), self._steps()))

    def _moves(self, part: Tensor, members: Tensor, values: Tensor) -> Tensor:
        """``expected_moves`` of every cell at what an agent in that very cell met, [D, B', 1, H, C].

        The others of an agent depend on it through its own cell alone, so that the control variate is
        exact for all of them, also where the flows are a reference agent's.
        """
        counts = self.played.counts()[part].sum(2).double()[:, None]  # [B', 1, H, C]
        laws = self.game.own_laws(counts, self._personal(members), self._steps())  # [D, B', 1, H, C, S]
        ahead = torch.einsum("...cs,...s->...c", laws, values[:, None, None, 1:])
        before = values[:, None, None, :-1].repeat_interleave(self.game.n_actions, -1)
        return (ahead - before).expand(len(values), len(part), 1, self.game.horizon, -1)

    def _personal(self, members: Tensor) -> Tensor:
        return self.game.personal[members[:, 0]].double()[:, None, None, None]  # [D, 1, 1, 1]

    def _steps(self) -> Tensor:
        return torch.arange(self.game.horizon, device=self.game.device)  # [H], the last batch axis of flows

    def _along_trajectories(self, part: Tensor, members: Tensor, moves: Tensor) -> Tensor:
        """Sums of moves [D, B', m or 1, H, C] along the members' own trajectories: [D, B', m]."""
        cells = self.played.cells()[part]  # [B', H, N]
        total = moves.new_zeros(len(members), len(part), members.shape[1])
        for h in range(self.game.horizon):
            at = cells[:, h, members].long().transpose(0, 1)  # [D, B', m]
            table = moves[..., h, :].expand(*at.shape, -1)  # [D, B', m, C]
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
