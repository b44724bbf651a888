"""Shares of the agents drawn on the map of a game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Regions = tuple[tuple[int, ...], ...]
"""Region of every tile, [rows][columns]; empty for a map without regions."""

COLOURS = "viridis"  # even to the eye, and to the colour-blind
MOST_NUMBERED = 36  # tiles of a map that has its shares written in
LONG_STRIP = 2.5  # columns a row, from which panels are stacked


def shown_steps(horizon: int) -> list[int]:
    """Six steps at most: the start, H / 16, and twice as many again and again until H."""
    return sorted({0, *(max(1, horizon >> k) for k in range(5))})


def is_strip(shape: tuple[int, ...]) -> bool:
    """Whether a map is much wider than high, and its panels better stacked than side by side."""
    return shape[1] > LONG_STRIP * shape[0]


def grid_size(shape: tuple[int, ...], *, n_policies: int, n_steps: int) -> tuple[float, float]:
    """Width and height in inches of the panels of `draw_grid`."""
    rows, columns = shape
    if is_strip(shape):
        return 4.4 * n_policies + 1.2, n_steps * (max(0.4, 4.4 * rows / columns) + 0.12)
    return 1.5 * n_steps + 1.2, n_policies * (1.5 * rows / columns + 0.2)


def with_units(title: str, densities: NDArray[Any]) -> str:
    """The title, and what the numbers in the tiles are, where there are any."""
    return f"{title}, shares in per cent" if densities[0].size <= MOST_NUMBERED else title


def draw_grid(
    figure: Any,
    densities: Sequence[NDArray[Any]],
    labels: Sequence[str],
    steps: Sequence[int],
    *,
    regions: Regions = (),
) -> None:
    """A map for every policy and step, in one scale of colours: policies downwards, or strips side by side.

    Args:
        figure: to be filled.
        densities: of each policy, [H + 1, rows, columns].
        labels: of the policies.
        steps: that are shown, each 0 .. H.
        regions: to be outlined.
    """
    strip = is_strip(densities[0].shape[1:])
    across, down = (len(labels), len(steps)) if strip else (len(steps), len(labels))
    axes = figure.subplots(down, across, squeeze=False)
    panels = axes.T if strip else axes  # [policies, steps]
    largest = max(density[list(steps)].max() for density in densities)
    for density, line in zip(densities, panels, strict=True):
        for step, panel in zip(steps, line, strict=True):
            image = draw_map(panel, density[step], largest=largest, regions=regions)
    for label, line in zip(labels, panels, strict=True):
        (line[0].set_title if strip else line[0].set_ylabel)(label, fontsize=9)
    for step, panel in zip(steps, panels[0], strict=True):
        if strip:
            panel.set_ylabel(f"step {step}", fontsize=9, rotation=0, ha="right", va="center")
        else:
            panel.set_title(f"step {step}", fontsize=9)
    bar = figure.colorbar(image, ax=axes, label="share of the agents", fraction=0.05, pad=0.02)
    as_percents(bar.ax.yaxis)


def draw_map(
    panel: Any, density: NDArray[Any], *, largest: float, regions: Regions, numbers: bool = True
) -> Any:
    """One map [rows, columns], its first row on top, with numbers in few tiles; returns the image."""
    image = panel.imshow(density, vmin=0, vmax=largest, cmap=COLOURS)
    panel.set_xticks([])
    panel.set_yticks([])
    outline(panel, regions)
    if numbers and density.size <= MOST_NUMBERED:
        for (row, column), share in np.ndenumerate(density):
            shade = "black" if share > 0.6 * largest else "white"
            panel.text(column, row, per_cent(share), ha="center", va="center", fontsize=6, color=shade)
    return image


def per_cent(share: float) -> str:
    """4 for .04, in as few digits as tell it from nothing."""
    if share >= 0.0095:
        return f"{100 * share:.0f}"
    return f"{100 * share:.1f}".removeprefix("0") if share >= 0.0005 else "0"


def as_percents(axis: Any) -> None:
    """5 % in place of 0.05."""
    axis.set_major_formatter(lambda value, place: f"{100 * value:g} %")
    axis.set_tick_params(labelsize=8)
    axis.label.set_fontsize(8)


def outline(panel: Any, regions: Regions) -> None:
    """A line between any two neighbouring tiles of different regions."""
    numbers = np.array(regions)
    if not numbers.size:
        return
    look = {"color": "white", "linewidth": 1.6}
    for row, column in zip(*np.nonzero(np.diff(numbers, axis=1)), strict=True):
        panel.plot([column + 0.5] * 2, [row - 0.5, row + 0.5], **look)
    for row, column in zip(*np.nonzero(np.diff(numbers, axis=0)), strict=True):
        panel.plot([column - 0.5, column + 0.5], [row + 0.5] * 2, **look)
    panel.set_xlim(-0.5, numbers.shape[1] - 0.5)
    panel.set_ylim(numbers.shape[0] - 0.5, -0.5)
