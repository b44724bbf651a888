"""The picture of the identity ladder: returns against environment steps, and seconds an epoch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

from mf_pmd.evaluation.figures import save
from mf_pmd.evaluation.plots import DASHES, PALETTE


def draw(
    bands: Mapping[str, Any],
    seconds: Mapping[str, Sequence[float]],
    *,
    uniform: float,
    title: str,
    file: Path,
) -> Path:
    """Left the mean test return with its interval, right the seconds, as far as they are known.

    Args:
        bands: by rung: ``steps``, ``mean``, ``lower`` and ``upper``, [P] each.
        seconds: of epochs, by rung.
        uniform: return of the uniform policy.
        title: of the figure.
        file: where to write it.
    """
    names = list(dict.fromkeys([*bands, *seconds]))
    colours = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}
    widths = [1.5 for _ in [bands] if bands] + [1.0 for _ in [seconds] if seconds]
    figure, axes = plt.subplots(
        1, len(widths), figsize=(4.2 * sum(widths), 3.6), width_ratios=widths, squeeze=False
    )
    figure.set_layout_engine("constrained")
    figure.suptitle(title, fontsize=10)
    panels = list(axes[0])
    if bands:
        draw_returns(panels.pop(0), bands, colours, uniform=uniform)
    if seconds:
        draw_seconds(panels.pop(0), seconds, colours)
    return save(figure, file)


def draw_returns(panel: Any, bands: Mapping[str, Any], colours: Mapping[str, str], *, uniform: float) -> None:
    """A curve a rung; the uniform policy as a horizontal line."""
    for place, (name, band) in enumerate(bands.items()):
        look = {"color": colours[name], "linestyle": DASHES[place % len(DASHES)]}
        panel.plot(band.steps, band.mean, label=name, linewidth=1.6, **look)
        panel.fill_between(band.steps, band.lower, band.upper, color=colours[name], alpha=0.18, linewidth=0)
    panel.axhline(uniform, color="gray", linestyle=(0, (6, 3)), linewidth=0.9, label="uniform policy")
    panel.set_xlabel("environment steps of training", fontsize=9)
    panel.set_ylabel("test return, mean over agents and seeds", fontsize=9)
    panel.set_ylim(bottom=0)
    panel.xaxis.set_major_formatter(
        FuncFormatter(lambda value, place: f"{value / 1000:g} k" if value else "0")
    )
    panel.tick_params(labelsize=8)
    panel.grid(True, linewidth=0.3)
    panel.legend(fontsize=8)


def draw_seconds(panel: Any, seconds: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> None:
    """A bar a rung, its median written beside it, from the first rung down; logarithmic."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    least, most = min(medians.values()), max(medians.values())
    for place, (name, median) in enumerate(medians.items()):
        panel.barh(place, median, color=colours[name], height=0.62)
        spread = [[median - min(seconds[name])], [max(seconds[name]) - median]]
        panel.errorbar(median, place, xerr=spread, color="black", linewidth=0.9, capsize=2)
        panel.text(1.08 * max(seconds[name]), place, f"{median:.3g} s", va="center", fontsize=8)
    panel.set_xscale("log")
    panel.set_xlim(least / 2, 3.5 * max(map(max, seconds.values())))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    if most > 10 * least:
        panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_yticks(range(len(medians)), [name.replace(", ", ",\n") for name in medians], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel("seconds an epoch, play and learn", fontsize=9)
    panel.tick_params(axis="x", which="both", labelsize=8)
    panel.grid(True, axis="x", linewidth=0.3)
    panel.set_axisbelow(True)
