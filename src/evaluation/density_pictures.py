"""The agents' density over a map by time: panels side by side, and an animation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image  # Pillow is matplotlib's own dependency

from .density import Crowd
from .figures import save

Regions = tuple[tuple[int, ...], ...]
"""Region of every tile, [rows][columns]; empty for a map without regions."""

COLOURS = "viridis"  # even to the eye, and to the colour-blind
CURVES = (("gray", "--"), ("#D55E00", "-"))  # of the uniform policy and of the learnt one
MOST_NUMBERED = 36  # tiles of a map that has its shares written in
MOST_FRAMES = 130
PACE, HELD = 100, 900  # milliseconds of a frame, and of the first and the last
DOTS = 80  # an inch, of the animation
LONG_STRIP = 2.5  # columns a row, from which panels are stacked


def draw_panels(
    crowds: Sequence[Crowd], steps: Sequence[int], title: str, file: Path, *, regions: Regions = ()
) -> Path:
    """A map for every policy and step, in one scale of colours, and the shares of the agents over time.

    Args:
        crowds: of the policies, on maps of one shape.
        steps: that are shown, each 0 .. H.
        title: of the figure.
        file: where to write it.
        regions: to be outlined.
    """
    rows, columns = crowds[0].densities.shape[1:]
    strip = columns > LONG_STRIP * rows
    across, down = (len(crowds), len(steps)) if strip else (len(steps), len(crowds))
    wide = 4.4 if strip else 1.5
    high = max(0.4, wide * rows / columns) + (0.12 if strip else 0.2)
    maps, curves = (wide * across + 1.2, high * down), 1.9
    figure = plt.figure(figsize=(maps[0], maps[1] + curves + 0.3), layout="constrained")
    numbered = ", shares in per cent" if rows * columns <= MOST_NUMBERED else ""
    figure.suptitle(f"{title}{numbered}", fontsize=10)
    parts: Any = figure.subfigures(2, 1, height_ratios=(maps[1], curves))
    above, below = parts
    axes = above.subplots(down, across, squeeze=False)
    axes = axes.T if strip else axes
    largest = max(crowd.densities[list(steps)].max() for crowd in crowds)
    for crowd, line in zip(crowds, axes, strict=True):
        for step, panel in zip(steps, line, strict=True):
            image = draw_map(panel, crowd.densities[step], largest=largest, regions=regions)
    _name_panels(axes, crowds, steps, strip=strip)
    bar = above.colorbar(image, ax=axes, label="share of the agents", fraction=0.05, pad=0.02)
    as_percents(bar.ax.yaxis)
    draw_shares(below, crowds)
    return save(figure, file)


def _name_panels(axes: Any, crowds: Sequence[Crowd], steps: Sequence[int], *, strip: bool) -> None:
    """Policies beside their rows and steps above, or the other way round."""
    for crowd, line in zip(crowds, axes, strict=True):
        label = f"{crowd.label}\nreturn {crowd.mean_return:.2f}"
        if strip:
            line[0].set_title(label, fontsize=9)
        else:
            line[0].set_ylabel(label, fontsize=9)
    for place, step in enumerate(steps):
        if strip:
            axes[0][place].set_ylabel(f"step {step}", fontsize=9, rotation=0, ha="right", va="center")
        else:
            axes[0][place].set_title(f"step {step}", fontsize=9)


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


def draw_shares(figure: Any, crowds: Sequence[Crowd]) -> None:
    """A panel for every share that is known over time, a curve a policy."""
    names = list(crowds[0].shares)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for name, panel in zip(names, axes, strict=True):
        for crowd, (colour, dashes) in zip(crowds, CURVES, strict=False):
            panel.plot(crowd.shares[name], color=colour, linestyle=dashes, linewidth=1.3, label=crowd.label)
        panel.set_title(f"share of the agents {name}", fontsize=9)
        panel.set_xlabel("step h", fontsize=8)
        panel.set_ylim(bottom=0)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.tick_params(labelsize=8)
        as_percents(panel.yaxis)
        panel.grid(True, linewidth=0.3)
    axes[0].legend(fontsize=7)


def draw_animation(crowds: Sequence[Crowd], title: str, file: Path, *, regions: Regions = ()) -> Path:
    """The maps of all policies side by side, a frame a step, in one scale of colours.

    Args:
        crowds, title, file, regions: as those of `draw_panels`; the file is a GIF.
    """
    figure, images, heading = _animated(crowds, regions)
    horizon = len(crowds[0].densities) - 1
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)  # axes and labels take nearly all of a drawing's time
    pictures: list[Image.Image] = []
    for step in frames(horizon):
        canvas.restore_region(background)
        heading.set_text(f"{title}: step {step} of {horizon}")
        figure.draw_artist(heading)
        for crowd, image in zip(crowds, images, strict=True):
            image.set_data(crowd.densities[step])
            for artist in (image, *image.axes.lines):
                figure.draw_artist(artist)
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        # one palette for all frames: the bar has every colour of the scale
        palette = pictures[0] if pictures else None
        pictures.append(picture.quantize(palette=palette, dither=Image.Dither.NONE))
    paces = [HELD if step in (0, horizon) else PACE for step in frames(horizon)]
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=paces, loop=0)
    return file


def _animated(crowds: Sequence[Crowd], regions: Regions) -> tuple[Figure, list[Any], Any]:
    """The figure of the animation, and what moves in it: the images and the heading."""
    rows, columns = crowds[0].densities.shape[1:]
    strip = columns > LONG_STRIP * rows
    wide = 5.0 if strip else 2.7
    high = max(0.45, wide * rows / columns) + 0.35
    across, down = (1, len(crowds)) if strip else (len(crowds), 1)
    size = (wide * across + 0.9, high * down + 0.4)
    figure, axes = plt.subplots(down, across, figsize=size, dpi=DOTS, squeeze=False, layout="constrained")
    plt.close(figure)  # pyplot forgets it, we do not
    largest = max(crowd.densities.max() for crowd in crowds)
    images = []
    for crowd, panel in zip(crowds, axes.flat, strict=True):
        images.append(draw_map(panel, crowd.densities[0], largest=largest, regions=regions, numbers=False))
        panel.set_title(f"{crowd.label}, return {crowd.mean_return:.2f}", fontsize=8)
    bar = figure.colorbar(images[0], ax=axes, label="share of the agents", fraction=0.06, pad=0.02)
    as_percents(bar.ax.yaxis)
    heading = figure.suptitle(" ", fontsize=9)
    for artist in (heading, *(artist for image in images for artist in (image, *image.axes.lines))):
        artist.set_animated(True)
    return figure, images, heading


def frames(horizon: int) -> list[int]:
    """The steps of an animation, evenly apart but for the last."""
    return [*range(0, horizon, math.ceil(horizon / MOST_FRAMES)), horizon]
