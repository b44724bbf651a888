"""The pictures of one test, drawn after every test of a run and therefore fast."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .figures import LARGEST_LINE_PLOT, Names, policy_figure, policy_images, population_figure

DOTS = 90  # an inch
FIGURES_KEPT = 4  # two of each of two games

Picture = NDArray[np.uint8]


def pictures_of_test(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Picture]:
    """Population and policy of the last test, as pictures [height, width, 3] by name.

    Args:
        arrays: what a runner keeps: ``population_last`` [H + 1, S], ``policy_last`` [H, S, A],
            ``state_names`` [S] and ``action_names`` [A], each where there is one.
    """
    names = Names.of(arrays)
    pictures = {}
    if "population_last" in arrays:
        nu = arrays["population_last"]
        images = list(nu.T) if nu.shape[1] <= LARGEST_LINE_PLOT else [nu.T]
        pictures["population_flow"] = flow_template(nu.shape, names.states, scale_of(nu)).filled(images)
    if "policy_last" in arrays:
        policy = arrays["policy_last"]
        pictures["policy"] = policy_template(policy.shape, names).filled(policy_images(policy))
    return pictures


def scale_of(nu: NDArray[Any]) -> float:
    """Upper end of the colours: a power of two, for most pictures of a run to share it."""
    return 2.0 ** math.ceil(math.log2(nu.max()))


class Template:
    """A figure that is drawn once without its lines and images, which each picture then fills in.

    Axes, ticks and labels take nearly all of a figure's time and are the same in every picture.
    """

    def __init__(self, figure: Figure) -> None:
        plt.close(figure)  # pyplot forgets it, we do not
        figure.set_dpi(DOTS)
        figure.set_layout_engine("constrained")
        self.data: list[Any] = [artist for axes in figure.axes for artist in (*axes.lines, *axes.images)]
        legends = [legend for axes in figure.axes if (legend := axes.get_legend()) is not None]
        self.moving = [*self.data, *legends]
        for artist in self.moving:
            artist.set_animated(True)
        self.figure, self.canvas = figure, FigureCanvasAgg(figure)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(figure.bbox)

    def filled(self, values: Sequence[NDArray[Any]]) -> Picture:
        """The figure with these values, an array for each line or image in order of their making."""
        self.canvas.restore_region(self.background)
        for artist, value in zip(self.data, values, strict=True):
            artist.set_ydata(value) if value.ndim == 1 else artist.set_data(value)
        for artist in self.moving:
            self.figure.draw_artist(artist)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


@lru_cache(FIGURES_KEPT)
def flow_template(shape: tuple[int, int], names: tuple[str, ...], largest: float) -> Template:
    """For populations of this shape [H + 1, S]."""
    panels = [("population in test mode", np.zeros(shape))]
    return Template(population_figure(panels, names, "", largest=largest, size=(5, 3.4)))


@lru_cache(FIGURES_KEPT)
def policy_template(shape: tuple[int, int, int], names: Names) -> Template:
    """For policies of this shape [H, S, A]."""
    return Template(policy_figure(np.zeros(shape), names, ""))
