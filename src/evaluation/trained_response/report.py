"""What ``mf-pmd exploitability ... --trained`` says and leaves."""

import math
from typing import Any, NamedTuple

from ...functional.frozen_flows import Bracket
from ...games import Game
from ..symmetry.text import aligned
from .measuring import Gains, Interval
from .settings import TrainingSettings
from .training import Response
from .types import Types
from .verdict import Strength

BOUND_ON = {
    "own_state": "exploitability E^i, over deviations that see their own state and the time",
    "population": "what deviations gain that see the population, not on E^i: above 0 even at an equilibrium",
}


class TrainedReport(NamedTuple):
    """Attributes:
    key, game: name of the game, and the game.
    policy: what the others play, in words.
    types: of the agents.
    settings, started_from, response: how the deviators were trained, and what came of it.
    gains: what they gain.
    strength: whether they were strong enough.
    changed: settings of the game that are not those of training, in words.
    """

    key: str
    game: Game
    policy: str
    types: Types
    settings: TrainingSettings
    started_from: str
    response: Response
    gains: Gains
    strength: Strength
    changed: tuple[str, ...]


def as_json(report: TrainedReport) -> dict[str, Any]:
    """The report as plain values, null for NaN; bounds are in reward units summed over the horizon."""
    gains, response, curve = report.gains, report.response, report.response.curve
    known = report.strength.known
    bounded = "gain_seeing_the_population" if report.settings.sees_population else "exploitability"
    values = {
        "kind": "trained best response, a lower bound",
        "bound_on": BOUND_ON[report.settings.sees],
        "policy": report.policy,
        "game": report.key,
        "n_agents": report.game.n_agents,
        "horizon": report.game.horizon,
        f"{bounded}_mean_lower_bound": bound(gains.mean),
        f"{bounded}_max_lower_bound": bound(gains.largest),
        "gain_mean": gains.mean._asdict(),
        "gain_max": {"lower": gains.largest.lower, "type": report.types.names[gains.worst]},
        "types": by_type(report.types, gains),
        "episodes": gains.n_episodes,
        "deviator_too_weak": report.strength.too_weak,
        "why": report.strength.why,
        "flatness": report.strength.flatness._asdict(),
        "known_answer": known
        and known._asdict() | {"mean": known.mean._asdict(), "largest": known.largest._asdict()},
        "settings": vars(report.settings),
        "started_from": report.started_from,
        "plan": response.plan._asdict(),
        "taken_after_steps": response.after,
        "actions": "likeliest" if response.greedy else "sampled",
        "training_seconds": response.seconds,
        "curve": curve._asdict(),
        "changed": list(report.changed),
    }
    return without_nan(values)


def by_type(types: Types, gains: Gains) -> list[dict[str, Any]]:
    """What the deviators of every type gain, as plain values."""
    keys = ("name", "share", "gain", "return", "deviators_return")
    found = [gain._asdict() for gain in gains.types]
    shares = types.shares.tolist()
    rows = zip(types.names, shares, found, gains.returns, gains.deviators_returns, strict=True)
    return [dict(zip(keys, row, strict=True)) for row in rows]


def without_nan(value: Any) -> Any:
    """A value with null for every NaN in it, as JSON knows none."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def bound(gain: Interval) -> float:
    """What the exploitability is at least: not deviating gains 0."""
    return max(0.0, gain.lower)


def as_text(report: TrainedReport) -> str:
    """The report to read."""
    gains, game, names = report.gains, report.game, report.types.names
    rows = [
        [f"mean over agents, at least {bound(gains.mean):.4g}", of_gain(gains.mean)],
        [
            f"the worst off, at least {bound(gains.largest):.4g}",
            f"the highest of lower ends that hold for all types at once, that of {names[gains.worst]}",
        ],
    ]
    for name, gain, returns, deviators in zip(
        names, gains.types, gains.returns, gains.deviators_returns, strict=True
    ):
        rows.append([f"  {name}", f"{of_gain(gain)}, return {returns:.4g}, deviating {deviators:.4g}"])
    return "\n".join(
        [
            f"{report.key}: N = {game.n_agents}, H = {game.horizon}, A = {game.n_actions}, "
            f"population {game.population}",
            f"{report.policy}, {gains.n_episodes} episodes with and without one deviator of each type",
            *(f"judged with {change}" for change in report.changed),
            "",
            f"trained best responses: lower bounds on {BOUND_ON[report.settings.sees]}",
            *aligned(rows),
            *nothing_found(gains),
            "",
            *training_lines(report),
            *strength_lines(report.strength),
        ]
    )


def of_gain(gain: Interval) -> str:
    """'gain 1.2 [1.1, 1.3]'."""
    return f"gain {gain.mean:.4g} [{gain.lower:.4g}, {gain.upper:.4g}]"


def of_share(answer: Bracket, share: float, at_least: float) -> str:
    """'2.1 [2, 2.2], found 98%, at least 91%', the last of the upper end by the lower end of the gain."""
    known = f"{answer.estimate:.4g} [{answer.lower:.4g}, {answer.upper:.4g}]"
    if math.isnan(share) or math.isnan(at_least):
        return known
    return f"{known}, found {share:.0%}, at least {max(0.0, at_least):.0%}"


def nothing_found(gains: Gains) -> list[str]:
    """What a bound of 0 means."""
    if gains.mean.lower > 0:
        return []
    return ["the deviators gain nothing that can be told from 0: the bound is 0, which bounds nothing"]


def training_lines(report: TrainedReport) -> list[str]:
    """How the deviators were trained."""
    plan, response = report.response.plan, report.response
    alone = "one agent an episode deviates" if plan.k == 1 else f"{plan.k} agents an episode deviate"
    return [
        f"training: {response.curve.steps[-1]} steps of deviators in {plan.n_batches} batches of "
        f"{plan.batch_size} episodes, {response.seconds:.0f} s",
        f"  {alone} ({plan.k / report.game.n_agents:.1%} of all), started from {report.started_from}; "
        f"those of step {response.after} are taken, by {'their likeliest' if response.greedy else 'sampled'} "
        "actions",
    ]


def strength_lines(strength: Strength) -> list[str]:
    """How strong they were."""
    flat, known = strength.flatness, strength.known
    lines = [
        f"learning curve: {flat.verdict}; over its last fifth the gain changed by {flat.rise:+.3g} "
        f"+- {flat.error:.3g}, {flat.tolerated:.3g} is tolerated"
    ]
    if known is None:
        lines.append("known answer: none, this game has no tables or too many; see docs/exploitability.md")
    else:
        lines.append(f"gain by frozen flows of {known.n_episodes} episodes, whose own error counts:")
        lines += [
            f"  mean over agents {of_share(known.mean, known.mean_share, known.mean_at_least)}",
            f"  the worst off {of_share(known.largest, known.largest_share, known.largest_at_least)}",
        ]
    if strength.too_weak:
        lines.append(f"deviator too weak: {strength.why}; take a larger --budget or more --episodes")
    return lines
