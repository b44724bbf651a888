"""Which runs of a results folder are seeds of one experiment, and what to call it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from .results import Run
from .tables import Group

MOST_NAMED = 3  # settings in a label; beyond, the label is a number
MISSING = "unset"

Settings = dict[str, Any]


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Groups of runs that differ by their seed alone.

    Games with the same name and different ``env_args``, and algorithms with the same name and different
    settings, are kept apart and labelled by the settings in which they differ. Of runs with the same seed the
    newest counts.

    Returns:
        The groups, by game and algorithm; a note for every run that another replaced.
    """
    newest, notes = _newest(runs)
    groups = []
    for name in sorted({run.game for run in newest}):
        of_game = [run for run in newest if run.game == name]
        for game, here in _variants(name, of_game, of_the_game=True):
            for algorithm in sorted({run.algorithm for run in here}):
                same = [run for run in here if run.algorithm == algorithm]
                for label, variant in _variants(algorithm, same, of_the_game=False):
                    groups.append(Group(game, label, variant, len(variant)))
    return groups, notes


def _newest(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    best: dict[tuple[str, ...], Run] = {}
    replaced = 0
    for run in runs:
        key = (run.algorithm, run.game, str(run.seed), _canonical(run.settings))
        replaced += key in best
        if key not in best or run.stopped > best[key].stopped:
            best[key] = run
    left_out = "1 older run of the same seed and settings is" if replaced == 1 else None
    left_out = left_out or f"{replaced} older runs of the same seed and settings are"
    return list(best.values()), [f"{left_out} left out."] if replaced else []


def _variants(name: str, runs: Sequence[Run], *, of_the_game: bool) -> list[tuple[str, list[Run]]]:
    """Runs apart by the settings of the game, or by all others: label and runs of each variant."""
    parts: dict[str, list[Run]] = {}
    settings: dict[str, Settings] = {}
    for run in runs:
        part = {k: v for k, v in run.settings.items() if k.startswith("env_args.") == of_the_game}
        text = _canonical(part)
        parts.setdefault(text, []).append(run)
        settings[text] = part
    differing = _differing(settings.values())
    labelled = []
    for place, (text, variant) in enumerate(sorted(parts.items()), 1):
        labelled.append((_label(name, settings[text], differing, place), variant))
    return labelled


def _differing(settings: Iterable[Settings]) -> list[str]:
    """Keys that do not have the same value in all settings."""
    settings = list(settings)
    keys = dict.fromkeys(key for part in settings for key in part)
    return [key for key in keys if len({_canonical(part.get(key, MISSING)) for part in settings}) > 1]


def _label(name: str, settings: Settings, differing: Sequence[str], place: int) -> str:
    if not differing:
        return name
    if len(differing) > MOST_NAMED:
        return f"{name} (settings {place})"
    words = [f"{key.removeprefix('env_args.')}={settings.get(key, MISSING)}" for key in differing]
    return f"{name} ({', '.join(words)})"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
