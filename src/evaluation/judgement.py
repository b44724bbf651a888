"""How far a policy is from an equilibrium: in the mean field, among N players, and at most by theory."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.exploitability import mean_field_exploitability
from ..functional.mean_field import uniform_policy
from ..games import PopulationGame
from ..runners.deviations import FEWEST_EPISODES, DeviationScore, Gains, Verdict, scores_of
from ..runners.played_deviations import Deviators, draw_deviators, played_scores
from ..runners.seeding import isolated_randomness
from .checkpoint import AnyPolicy
from .playing import Choose, act_by, mean_field_policy, play

AGENT_STEPS_AT_ONCE = 2**21  # agents of all episodes that are played side by side


class Judgement(NamedTuple):
    """Exploitabilities of one policy in one game, in reward units summed over the horizon.

    Attributes:
        mean_field: E(pi) in the induced game (Yardim & He 2025, Def. 5), exact; of agents with policies of
            their own, that of their mean policy.
        uniform: the same of the uniform policy, the yardstick of the game.
        n_player: ``exploitability_mean`` and ``_max``, each with ``_lower``, ``_upper``, ``_played`` and
            ``_played_lower``, and ``exploitability_too_weak``, as the population runner logs them.
        returns: mean over agents and episodes of the return.
        n_episodes: that were played to measure them.
    """

    mean_field: float
    uniform: float
    n_player: dict[str, float]
    returns: float
    n_episodes: int


def judge(game: PopulationGame, policy: AnyPolicy, *, n_episodes: int, seed: int) -> Judgement:
    """Score a policy in the mean field, exactly, and among N players, by frozen flows and played deviations.

    Args:
        game: with tables, of the policy's sizes.
        policy: what all agents play; its private tables, where it has some.
        n_episodes: half of them fit the deviations; as many again, three times, play them.
        seed: of all random streams.

    Raises:
        UserError: a game without tables, sizes that differ, or too few episodes.
    """
    in_the_mean_field = mean_field_policy(policy, game)
    if n_episodes < FEWEST_EPISODES:
        raise UserError(f"--episodes={n_episodes}: at least {FEWEST_EPISODES} are needed")
    model = game.mean_field_model()
    uniform = mean_field_exploitability(model, uniform_policy(game.n_states, game.n_actions)).item()
    choose, individual = act_by(policy, game), not policy.shares_policy
    judge_n = _NPlayers(game, choose, individual=individual, n_episodes=n_episodes, seed=seed)
    return Judgement(
        mean_field=mean_field_exploitability(model, in_the_mean_field).item(),
        uniform=uniform,
        n_player=judge_n.scores(),
        returns=judge_n.mean_return,
        n_episodes=n_episodes,
    )


def by_frozen_flows(
    game: PopulationGame, choose: Choose, *, individual: bool, n_episodes: int, seed: int
) -> Verdict:
    """The N-player exploitability of whatever agents do, as in ``judge``, its deviations not played.

    Args:
        game: with tables.
        choose: how all agents act.
        individual: whether they have policies of their own.
        n_episodes, seed: see ``judge``.
    """
    players = _NPlayers(game, choose, individual=individual, n_episodes=n_episodes, seed=seed)
    score = players.score()
    return score.verdict(score.gains())


class _NPlayers:
    """Plays the episodes of a judgement and scores them."""

    def __init__(
        self, game: PopulationGame, choose: Choose, *, individual: bool, n_episodes: int, seed: int
    ) -> None:
        self.game, self.choose, self.individual, self.seed = game, choose, individual, seed
        at_once = max(1, min(n_episodes, AGENT_STEPS_AT_ONCE // game.n_agents))
        episodes = torch.arange(n_episodes).split(at_once)
        self.batches = [len(part) for part in episodes]
        self.n_episodes = n_episodes
        self.mean_return = float("nan")

    def scores(self) -> dict[str, float]:
        """The bracket, and what its deviations are worth when they are played."""
        score = self.score()
        gains = score.gains()
        verdict = score.verdict(gains)
        return scores_of(verdict) | played_scores(self._played(score, gains, verdict.worst))

    @torch.no_grad()
    def score(self) -> DeviationScore:
        """What was played, and ``mean_return`` besides."""
        score = DeviationScore(self.game, individual=self.individual, n_episodes=self.n_episodes)
        total = 0.0
        for k, batch_size in enumerate(self.batches):
            with isolated_randomness(self.game, (self.seed, k)):
                returns = self._returns(self.choose, batch_size, score.add_actions)
            score.add_returns(returns)
            total += returns.sum().item()
        self.mean_return = total / (self.n_episodes * self.game.n_agents)
        return score

    def _returns(
        self, choose: Choose, batch_size: int, watch: Callable[[int, Tensor, Tensor], object] | None = None
    ) -> Tensor:
        """Everyone's returns in some episodes, [B, N] float64."""
        returns = torch.zeros(batch_size, self.game.n_agents, dtype=torch.float64, device=self.game.device)
        for step in play(self.game, choose, batch_size=batch_size):
            if watch is not None:
                watch(step.h, step.states, step.actions)
            returns += step.rewards
        return returns

    @torch.no_grad()
    def _played(self, score: DeviationScore, gains: Gains, worst: int) -> dict[str, Tensor]:
        """Returns of deviators less their returns without deviating, same streams, [episodes] each."""
        units = {"mean": None, "max": worst}
        differences: dict[str, list[Tensor]] = {name: [] for name in units}
        for k, batch_size in enumerate(self.batches):
            key = (self.seed, len(self.batches) + k)  # none of the episodes that fitted
            with isolated_randomness(self.game, key):
                without = self._returns(self.choose, batch_size)
            for name, unit in units.items():
                with isolated_randomness(self.game, (*key, 1)):
                    who = draw_deviators(score.played, gains, batch_size=batch_size, unit=unit)
                with isolated_randomness(self.game, key):
                    returns = self._returns(self._deviating(who), batch_size)
                differences[name].append(who.own(returns) - who.own(without))
        return {name: torch.cat(parts) for name, parts in differences.items()}

    def _deviating(self, who: Deviators) -> Choose:
        return lambda h, states: who.replace(h, states, self.choose(h, states))
