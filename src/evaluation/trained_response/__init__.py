"""The exploitability of games without tables, from below: one agent's best response, trained by PPO."""

from ...games import Game, solvable
from ...runners.deviations import MOST_ENTRIES, DeviationScore
from ..checkpoint import AnyPolicy
from ..judgement import by_frozen_flows
from ..playing import Choose
from .episodes import frozen_policy
from .files import write_files
from .measuring import Gains, measure
from .report import TrainedReport, as_json, as_text
from .settings import TrainingSettings, training_settings
from .training import train_response
from .types import types_of
from .verdict import Known, compare, strength

KNOWN_EPISODES = 100  # whose frozen flows give the known answer of a game with tables


def trained_report(
    key: str,
    game: Game,
    policy: AnyPolicy | None,
    settings: TrainingSettings,
    *,
    called: str,
    n_episodes: int,
    seed: int,
    changed: tuple[str, ...] = (),
) -> TrainedReport:
    """Train one agent's best response to all others who play a policy, and measure what it gains.

    Args:
        key, game: the game, any.
        policy: what the others play; None for the uniform policy.
        settings: of the training.
        called: what to call the policy.
        n_episodes: that measure the gain, each with and without one deviator of each type.
        seed: of all streams.
        changed: settings of the game that are not those the policy was trained with, in words.

    Raises:
        UserError: a policy of other sizes.
    """
    frozen = frozen_policy(
        policy, game, start=settings.start, floor=settings.floor, sees_population=settings.sees_population
    )
    types = types_of(game)
    response = train_response(game, frozen, types, settings, seed=seed)
    gains = measure(game, frozen, response, types, n_episodes=n_episodes, seed=seed)
    shares_policy = policy is None or policy.shares_policy
    known = known_answer(game, frozen.choose, gains, shares_policy=shares_policy, seed=seed)
    verdict = strength(response.curve, gains, known)
    return TrainedReport(
        key, game, called, types, settings, frozen.started_from, response, gains, verdict, changed
    )


def known_answer(game: Game, choose: Choose, gains: Gains, *, shares_policy: bool, seed: int) -> Known | None:
    """What the deviators should have found; None where the game has no tables, or too large ones."""
    if not solvable(game):
        return None
    individual = not shares_policy
    score = DeviationScore(game, individual=individual, n_episodes=KNOWN_EPISODES)
    if score.entries(KNOWN_EPISODES) > MOST_ENTRIES:
        return None
    answer = by_frozen_flows(game, choose, individual=individual, n_episodes=KNOWN_EPISODES, seed=seed)
    return compare(gains, answer, shares_policy=shares_policy, n_episodes=KNOWN_EPISODES)


__all__ = [
    "TrainedReport",
    "TrainingSettings",
    "as_json",
    "as_text",
    "trained_report",
    "training_settings",
    "write_files",
]
