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
from PIL import Image  # Pillow is matplotlib's own dependency

from .density import Crowd
from .figures import save
from .maps import Regions, as_percents, draw_grid, draw_map, grid_size, is_strip, with_units

CURVES = (("gray", "--"), ("#D55E00", "-"))  # of the uniform policy and of the learnt one
CURVES_HIGH = 1.9  # inches
MOST_FRAMES = 130
PACE, HELD = 100, 900  # milliseconds of a frame, and of the first and the last
DOTS = 80  # an inch, of the animation


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
    labels = [f"{crowd.label}\nreturn {crowd.mean_return:.2f}" for crowd in crowds]
    densities = [crowd.densities for crowd in crowds]
    width, height = grid_size(densities[0].shape[1:], n_policies=len(crowds), n_steps=len(steps))
    figure = plt.figure(figsize=(width, height + CURVES_HIGH + 0.3), layout="constrained")
    figure.suptitle(with_units(title, densities[0]), fontsize=10)
    parts: Any = figure.subfigures(2, 1, height_ratios=(height, CURVES_HIGH))
    above, below = parts
    draw_grid(above, densities, labels, steps, regions=regions)
    draw_shares(below, crowds)
    return save(figure, file)


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
    strip = is_strip((rows, columns))
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
