"""The counting runner: a population game by how many agents do what, at a cost that N does not enter."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from ..functional.counting import Conditional, conditional
from ..games import PopulationGame, make_counted
from .counted_batch import CountedBatch, Ledger
from .counted_population import CountedKernels, CountedPopulation
from .deviations import Gains
from .played_cells import MOST_TYPES
from .played_deviations import draw_types
from .population_runner import PopulationRunner
from .preparing import make_game
from .scoring import TestScore
from .seeding import isolated_randomness


class Counted(NamedTuple):
    """A batch of episodes.

    Attributes:
        statistics: of all agents, float64.
        returns: mean over the agents of each type, [B, G] float64.
        own: of the agents who were followed, [B, K] float64.
    """

    statistics: CellStatistics
    returns: Tensor
    own: Tensor


class CountingRunner(PopulationRunner):
    """Plays ``batch_size_run`` episodes at once by their counts; otherwise a PopulationRunner.

    Agents of one personal parameter are exchangeable and act by one policy, so that the counts by type, state
    and action are a Markov chain (``CountedPopulation``): the same in law as the game played agent by agent,
    with rho^-i exact, at O(G S A S) a step whatever N, up to 10^12. The batch holds cell statistics and no
    trajectory (``CountedBatch``). In tests one agent of each type is followed, for the N-player score.

    It runs under the embedded host alone: EPyMARL's buffers take trajectories.

    Args:
        args, logger, episode_batch, on_close: see PopulationRunner; the host's batch class is not used.
            ``args.population_info`` also gets "reach", how many next states a cell is counted by.

    Raises:
        UserError: a game whose counts are no Markov chain, too many types, agents or episodes, and what
            PopulationRunner raises.
    """

    embedded_only = True
    game: PopulationGame

    def __init__(self, args: SimpleNamespace, logger: Any, **bound: Any) -> None:
        super().__init__(args, logger, **bound)
        self.kernels = CountedKernels(self.game)
        reach = self.kernels.reach
        args.population_info["reach"] = self.game.n_states if reach is None else reach.shape[1]

    def _make_game(self) -> PopulationGame:
        args = self.args
        game = make_game(args, make_counted)
        assert isinstance(game, PopulationGame)
        if len(game.personal) > MOST_TYPES:
            raise UserError(
                f"env_args.key={args.env_args['key']}: its agents fall into {len(game.personal)} types, and "
                f"runner=counts takes at most {MOST_TYPES}; take runner=population"
            )
        return game

    # What a host calls.

    def require_controller(self, mac: Any) -> None:
        """Refuse a controller, or its class, that does not give one policy of counts.

        Raises:
            UserError: naming why.
        """
        makes_one = not isinstance(mac, type) and not hasattr(mac, "select_actions")
        if makes_one or (hasattr(mac, "policy_of_counts") and mac.shares_policy):
            return  # a function that chooses a controller is asked again, when it has chosen
        if getattr(mac, "shares_policy", True) is False:
            reason = "its agents have policies of their own"
        else:
            reason = "its policy is none of (local state, population, step), which alone can be counted"
        raise UserError(
            f"mac={self.args.mac}: {reason}; take runner=population, or an algorithm such as mf_pmd_tabular"
        )

    def require_learner(self, learner: Any) -> None:
        """Take a learner's wishes, or refuse one that reads trajectories.

        Raises:
            UserError: naming why.
        """
        args = self.args
        if getattr(learner, "learns_from", "trajectories") == "trajectories":
            raise UserError(
                f"learner={args.learner}: it learns from trajectories of agents, and runner=counts follows "
                "none; take runner=population, or a learner of cells such as mf_pmd_tabular's"
            )
        if learner.learns_from == "cells":
            if learner.counts_first_agent_only(args):
                raise UserError(
                    f"td_agents={args.td_agents}: runner=counts follows no agent to learn from, set "
                    "td_agents=all"
                )
            self.pairs = learner.counts_next_cells(args)

    def setup(self, scheme: dict, groups: dict, preprocess: dict, mac: Any) -> None:
        """Take the controller; the batch's layout is not used."""
        self.require_controller(mac)
        self.pairs = False
        super().setup(scheme, groups, preprocess, mac)

    # One batch of episodes.

    def _plays_compiled(self, test_mode: bool) -> bool:
        """No agent is stepped."""
        return False

    def _play(self, *, test_mode: bool, score: TestScore | None = None, **_: Any) -> tuple[Any, Tensor]:
        """A batch of episodes, and the mean return of each type [B, G]; ``score`` watches.

        Deviators are played by ``_count_episodes``, which tells what they got themselves.
        """
        nobody = torch.zeros(self.batch_size, 0, dtype=torch.int64, device=self.game.device)
        followed = nobody if score is None else self._one_of_each_type()
        with torch.inference_mode(score is None):  # small operations start a quarter faster
            played = self._count_episodes(followed, test_mode=test_mode, score=score)
        return CountedBatch(played.statistics, device=self.args.device), played.returns

    def _one_of_each_type(self) -> Tensor:
        """Types of the reference agents, [B, G] int64."""
        types = torch.arange(len(self.game.personal), device=self.game.device)
        return types.expand(self.batch_size, -1)

    def _count_episodes(
        self,
        followed: Tensor,
        *,
        test_mode: bool,
        score: TestScore | None = None,
        deviations: Tensor | None = None,
    ) -> Counted:
        """A batch of episodes.

        Args:
            followed: types of agents to follow, [B, K] int64.
            test_mode: which policy is played.
            score: watches; needs one agent of each type followed.
            deviations: what the one agent followed does instead, [B, H, S] int64.
        """
        game = self.game
        by_origin = self.pairs or self.mac.reads_own_last_action
        population = CountedPopulation(self.kernels, followed, by_origin=by_origin)
        ledger = Ledger(self.kernels, pairs=self.pairs)
        self.mac.init_hidden(batch_size=self.batch_size)
        known = self._known_policies(test_mode)
        for t in range(game.horizon):
            if score is not None:
                score.add_population(t, population.counts() / game.n_agents)
            if known is not None:
                policy, prepared = known[t]
            else:
                nu, actions = population.counts() / game.n_agents, self._last_actions(ledger)
                policy = self.mac.policy_of_counts(t, nu.float(), actions, test_mode=test_mode)
                prepared = None
            instead = None if deviations is None else deviations[:, t].gather(1, population.states)
            acted = population.act(policy, instead, prepared=prepared)
            if score is not None:
                score.add_counts(t, acted.cells, acted.tagged)
            ledger.add(acted, population.move(acted, t))
        if score is not None:
            score.add_population(game.horizon, population.counts() / game.n_agents)
        own = ledger.own_returns(followed)
        return Counted(ledger.statistics(), ledger.returns() / population.sizes, own)

    def _known_policies(self, test_mode: bool) -> list[tuple[Tensor, Conditional]] | None:
        """The policy of every step, and the same to draw from, if it reads nothing that is yet to come."""
        table = (
            self.mac.table_of_counts(test_mode=test_mode) if hasattr(self.mac, "table_of_counts") else None
        )
        if table is None or self.mac.reads_own_last_action:
            return None
        rows = table.unsqueeze(1).unsqueeze(1)  # [H, 1, 1, S, A]
        prepared = conditional(rows.unsqueeze(1)).one_by_one()  # of laws [H, 1, 1, 1, S, A]
        return list(zip(rows.unbind(), prepared, strict=True))

    def _last_actions(self, ledger: Ledger) -> Tensor | None:
        """How many agents took each action at the step before, [B, A] float64; None at the first."""
        if not ledger.acted:
            return None
        cells = ledger.acted[-1].cells.sum(1)
        return cells.unflatten(-1, (self.game.n_states, self.game.n_actions)).sum(1)

    def _played_batch(
        self, key: tuple[int, ...], gains: Gains, units: dict[str, int | None]
    ) -> dict[str, Tensor]:
        """See PopulationRunner; one agent an episode is followed, with and without its deviation."""
        assert self.score.deviations is not None
        played = self.score.deviations.played
        differences = {}
        for name, unit in units.items():
            with isolated_randomness(self.game, (*key, 1)):
                types = draw_types(played, batch_size=self.batch_size, unit=unit)  # [B]
            who = types.unsqueeze(1)
            with isolated_randomness(self.game, key):
                without = self._count_episodes(who, test_mode=True).own
            with isolated_randomness(self.game, key):
                own = self._count_episodes(who, test_mode=True, deviations=gains.actions[types]).own
            differences[name] = (own - without).squeeze(1)
        return differences
