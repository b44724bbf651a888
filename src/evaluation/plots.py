"""Pictures of a comparison: learning curves, and what the runs end with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker

from .aggregate import Estimate, estimate, on_common_steps
from .figures import MEAN_FIELD, Curve, save
from .results import Run, return_curve
from .tables import LARGEST, MEAN, RETURN, SECONDS, UNIFORM, Group, games, kinds_of_returns

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers tell apart, without their pale yellow."""
DASHES = ("-", "--", "-.", ":")
FLOOR = 1e-3  # on a logarithmic axis, values below it are drawn at it
WIDE = 10.0  # ratio beyond which wall times are drawn on a logarithmic axis
UNITS = "reward summed over the horizon"


class Look(NamedTuple):
    """How an algorithm is drawn, in every picture of a comparison alike."""

    colour: str
    dashes: Any


class Quantity(NamedTuple):
    """A curve of a run, with its axis."""

    label: str
    logarithmic: bool
    curve: Callable[[Run], Curve | None]


class Final(NamedTuple):
    """A number that a run ends with, with its mark."""

    key: str
    label: str
    marker: str


def _metric(key: str) -> Callable[[Run], Curve | None]:
    return lambda run: run.metrics.get(key)


def _return(run: Run) -> Curve | None:
    found = return_curve(run)
    return None if found is None else found[0]


QUANTITIES = (
    Quantity("mean-field\nexploitability", True, _metric(MEAN_FIELD)),
    Quantity("N-player exploitability,\nmean over agents", True, _metric(MEAN)),
    Quantity("test return", False, _return),
)
EXPLOITABILITIES = (
    Final(MEAN_FIELD, "mean field", "o"),
    Final(MEAN, "N players, mean over agents", "s"),
    Final(LARGEST, "N players, the worst off", "^"),
)


def draw(groups: Sequence[Group], folder: Path) -> list[Path]:
    """Draw all that the runs allow: curves, exploitability, return, wall time.

    Args:
        groups: at least one with a run.
        folder: where the pictures go.

    Returns:
        The pictures.
    """
    groups = [group for group in groups if group.runs]
    looks = looks_of(groups)
    drawn = [draw_curves(groups, looks, folder / "curves.png")]
    if any(final.key in group.estimates for group in groups for final in EXPLOITABILITIES):
        title = f"Exploitability at the last test (what is below {FLOOR} is drawn there)"
        file = folder / "exploitability.png"
        drawn.append(draw_finals(groups, looks, EXPLOITABILITIES, title, UNITS, file, logarithmic=True))
    if any(RETURN in group.estimates for group in groups):
        finals, title = (Final(RETURN, "", "o"),), "Return at the last test"
        units = f"{_return_units(groups)}, {UNITS}"
        drawn.append(
            draw_finals(groups, looks, finals, title, units, folder / "return.png", logarithmic=False)
        )
    finals, title, file = (Final(SECONDS, "", "o"),), "Wall time of a run", folder / "wall_time.png"
    seconds = [value for group in groups for value in group.values[SECONDS] if value > 0]
    apart = bool(seconds) and max(seconds) > WIDE * min(seconds)
    drawn.append(
        draw_finals(groups, looks, finals, title, "seconds, tests included", file, logarithmic=apart)
    )
    return drawn


def looks_of(groups: Sequence[Group]) -> dict[str, Look]:
    """A colour and dashes (for curves may coincide) for every algorithm, in the order in which they come.

    Given out by name, so that the same algorithms look the same in every report on them.
    """
    names = dict.fromkeys(group.algorithm for group in groups)
    places = {name: place for place, name in enumerate(sorted(names))}
    return {
        name: Look(PALETTE[places[name] % len(PALETTE)], DASHES[places[name] % len(DASHES)]) for name in names
    }


def _return_units(groups: Sequence[Group]) -> str:
    kinds = kinds_of_returns(groups)
    return " or ".join(kinds) + (" (table.md says which)" if len(kinds) > 1 else "")


def draw_curves(groups: Sequence[Group], looks: dict[str, Look], file: Path) -> Path:
    """Interquartile means with their intervals against environment steps: a column a game."""
    rows = [q for q in QUANTITIES if any(q.curve(run) for group in groups for run in group.runs)]
    columns = games(groups)
    size = (1.2 + 4.4 * len(columns), 0.7 + 2.4 * max(1, len(rows)))
    figure, axes = plt.subplots(
        max(1, len(rows)), len(columns), figsize=size, squeeze=False, sharex="col", layout="constrained"
    )
    for column, game in enumerate(columns):
        here = [group for group in groups if group.game == game]
        for row, quantity in enumerate(rows):
            _plot_quantity(axes[row, column], here, quantity, looks)
        axes[0, column].set_title(game, fontsize=10)
        axes[-1, column].set_xlabel("environment steps", fontsize=8)
    for row, quantity in enumerate(rows):
        units = f"{_return_units(groups)},\n{UNITS}" if quantity.curve is _return else UNITS
        axes[row, 0].set_ylabel(f"{quantity.label}\n{units}", fontsize=8)
    handles = [
        plt.Line2D([], [], color=look.colour, linestyle=look.dashes, label=_on_two_lines(name))
        for name, look in looks.items()
    ]
    handles.append(
        plt.Line2D([], [], color="gray", linestyle=(0, (6, 3)), linewidth=0.9, label="uniform policy")
    )
    _legend_below(figure, handles, columns=min(3 * len(columns), len(handles)))
    return save(figure, file)


def _plot_quantity(axes: Any, groups: Sequence[Group], quantity: Quantity, looks: dict[str, Look]) -> None:
    for group in groups:
        curves = [curve for run in group.runs if (curve := quantity.curve(run)) is not None]
        curves = [(steps[np.isfinite(values)], values[np.isfinite(values)]) for steps, values in curves]
        curves = [curve for curve in curves if len(curve[0])]
        if not curves:
            continue
        steps, values = on_common_steps(curves)
        if len(steps):
            _plot_band(axes, steps, estimate([values]), looks[group.algorithm], quantity.logarithmic)
    uniform = [value for group in groups for value in group.values.get(UNIFORM, ())]
    if quantity is QUANTITIES[0] and uniform:
        axes.axhline(uniform[0], color="gray", linestyle=(0, (6, 3)), linewidth=0.9, zorder=1)
    if quantity.logarithmic and axes.lines:
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    axes.grid(True, which="both", linewidth=0.3)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.02)


def _plot_band(axes: Any, steps: Any, found: Estimate, look: Look, logarithmic: bool) -> None:
    raised = (lambda values: np.maximum(values, FLOOR)) if logarithmic else (lambda values: values)
    mark = "o" if len(steps) == 1 else None
    axes.plot(
        steps, raised(found.value), color=look.colour, linestyle=look.dashes, linewidth=1.5, marker=mark
    )
    if found.lower is not None:
        axes.fill_between(
            steps, raised(found.lower), raised(found.upper), color=look.colour, alpha=0.18, linewidth=0
        )


def draw_finals(
    groups: Sequence[Group],
    looks: dict[str, Look],
    finals: Sequence[Final],
    title: str,
    units: str,
    file: Path,
    *,
    logarithmic: bool,
) -> Path:
    """A panel a game, a line an algorithm: interquartile mean, its interval, and every seed as a dot."""
    groups = [group for group in groups if any(final.key in group.estimates for final in finals)]
    columns = games(groups)
    lines = list(dict.fromkeys(group.algorithm for group in groups))
    size = (2.6 + 3.4 * len(columns), 1.5 + 0.24 * len(lines) * (1 + len(finals)))
    figure, axes = plt.subplots(
        1, len(columns), figsize=size, squeeze=False, sharey=True, layout="constrained"
    )
    figure.suptitle(title, fontsize=10)
    for panel, game in zip(axes[0], columns, strict=True):
        for group in (group for group in groups if group.game == game):
            for place, final in enumerate(finals):
                height = lines.index(group.algorithm) + 0.7 * ((place + 0.5) / len(finals) - 0.5)
                _plot_final(panel, group, final, height, looks[group.algorithm], logarithmic)
        panel.set_title(game, fontsize=9)
        panel.set_xlabel(units, fontsize=8)
        if logarithmic:
            panel.set_xscale("log")
            _plain_numbers(panel.xaxis)
        elif finals[0].key == SECONDS:
            panel.set_xlim(left=0)
        panel.grid(True, axis="x", which="both", linewidth=0.3)
        panel.tick_params(labelsize=8)
    axes[0, 0].set_yticks(range(len(lines)), [_on_two_lines(name) for name in lines], fontsize=8)
    axes[0, 0].set_ylim(len(lines) - 0.5, -0.5)
    if len(finals) > 1:
        _legend_below(figure, _marks(finals), columns=min(len(columns) * 2, 4))
    return save(figure, file)


def _marks(finals: Sequence[Final]) -> list[Any]:
    """What each mark stands for, to go in a legend."""
    handles = [
        plt.Line2D([], [], color="gray", marker=final.marker, linestyle="", label=final.label)
        for final in finals
    ]
    weak = plt.Line2D([], [], color="gray", marker="o", linestyle="", fillstyle="none")
    weak.set_label("hollow: deviators too weak")
    return [*handles, weak]


def _on_two_lines(label: str) -> str:
    """'ippo (lr=0.1)', with what is in brackets below."""
    return label.replace(" (", "\n(", 1)


def _plot_final(panel: Any, group: Group, final: Final, height: float, look: Look, logarithmic: bool) -> None:
    found = group.estimates.get(final.key)
    if found is None or not found.held:
        return
    floor = FLOOR if logarithmic else -np.inf
    seeds = np.maximum(group.values[final.key], floor)
    panel.plot(seeds, [height] * len(seeds), ".", color=look.colour, alpha=0.45, markersize=4, zorder=2)
    if found.lower is not None:
        ends = np.maximum([found.lower, found.upper], floor)
        panel.plot(ends, [height, height], color=look.colour, linewidth=1.6, zorder=3)
    hollow = final.key in (MEAN, LARGEST) and group.too_weak
    panel.plot(
        max(found.value, floor),
        height,
        final.marker,
        color=look.colour,
        fillstyle="none" if hollow else "full",
        markersize=6,
        zorder=4,
    )


def _plain_numbers(axis: Any) -> None:
    """0.2 0.5 1 on a logarithmic axis, in place of powers, which say little within a decade."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 0.7 else (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
    axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
    axis.set_tick_params(labelsize=8)


def _legend_below(figure: Any, handles: Sequence[Any], *, columns: int) -> None:
    """Outside the axes, so that it hides nothing."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
