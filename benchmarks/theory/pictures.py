"""Power laws as panels and tables: what was measured, the slope fitted to it, the theorem's beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import markdown, shown
from matplotlib import ticker
from slopes import Curve, Slope, Statistic, curve, fitted_slope, mean
from torch import Tensor

from mf_pmd.evaluation.figures import plt, save
from mf_pmd.evaluation.plots import PALETTE

SLOPES = ["panel", "what", "theorem's slope", "measured", "of the limit"]
POINTS = ["panel", "what", "at", "measured", "limit"]
NOTHING = 1e-20  # exact values below it are rounding


class Line(NamedTuple):
    """One curve.

    Attributes:
        label: what it is.
        x: places [K].
        samples: [R, K, ...] of R seeds, or [1, K] where it is exact.
        law: the theorem's exponent, or None where none is fitted.
        statistic: what is estimated from the samples.
        among: places between which the slope is fitted; None for all.
        limits: exact values that the estimates tend to, [K], or None.
        marker: of matplotlib; "" for an exact line without points.
    """

    label: str
    x: Sequence[float]
    samples: Tensor
    law: float | None
    statistic: Statistic = mean
    among: Sequence[bool] | None = None
    limits: Sequence[float] | None = None
    marker: str = "o"

    @property
    def curve(self) -> Curve:
        """Estimates with their standard errors; those of an exact curve are NaN."""
        if self.samples.shape[0] == 1:
            value = self.statistic(self.samples)
            return Curve(value, torch.full_like(value, float("nan")))
        return curve(self.samples, self.statistic)

    @property
    def slope(self) -> Slope | None:
        """Of the estimates."""
        if self.law is None:
            return None
        return fitted_slope(self.x, self.samples, statistic=self.statistic, among=self.among)

    @property
    def limit_slope(self) -> Slope | None:
        """Of the limits."""
        if self.law is None or self.limits is None or max(self.limits) < NOTHING:
            return None
        return fitted_slope(self.x, torch.tensor([self.limits]))

    def rows(self, title: str) -> tuple[list[str], list[list[str]]]:
        """Its row in the table of slopes, and those in the table of points."""
        law = "-" if self.law is None else f"{self.law:g}"
        of_limit = "-" if self.limit_slope is None else str(self.limit_slope)
        slope = [title, self.label, law, "-" if self.slope is None else str(self.slope), of_limit]
        limits = [float("nan")] * len(self.x) if self.limits is None else self.limits
        measured = zip(*(part.tolist() for part in self.curve), strict=True)
        points = [
            [title, self.label, f"{x:.4g}", shown(*point), shown(limit if limit > NOTHING else 0 * limit)]
            for x, point, limit in zip(self.x, measured, limits, strict=True)
        ]
        return slope, points


def panels(count: int, *, width: float = 4.0, height: float = 5.0) -> tuple[Any, Any]:
    """A figure with so many panels side by side."""
    figure, axes = plt.subplots(
        1, count, figsize=(width * count, height), squeeze=False, layout="constrained"
    )
    return figure, axes[0]


def report(axes: Any, lines: Sequence[Line], *, title: str, x: str, y: str, theorem: str) -> None:
    """Draw a panel and print its two tables.

    Args:
        axes: of the panel.
        lines: the first that has a law carries the theorem's slope.
        title, x, y: of the panel and its axes.
        theorem: what the slope is called, such as ``Thm 11``.
    """
    for colour, line in enumerate(lines):
        draw_line(axes, line, PALETTE[colour % len(PALETTE)])
    lawful = [line for line in lines if line.law is not None and (line.curve.value > 0).any()]
    for law in dict.fromkeys(line.law for line in lawful):
        draw_law(axes, next(line for line in lawful if line.law == law), theorem)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        plain_numbers(axis)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.grid(True, which="major", linewidth=0.3)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)  # hides nothing
    rows = [line.rows(title) for line in lines]
    print(markdown(SLOPES, [slope for slope, _ in rows]), end="\n\n")
    print(markdown(POINTS, [point for _, points in rows for point in points]), end="\n\n", flush=True)


def draw_line(axes: Any, line: Line, colour: str) -> None:
    """Points with two standard errors either side, the fitted slope, the limits as dots."""
    x, value, error = (np.asarray(part, dtype=float) for part in (line.x, *line.curve))
    slope, seen = line.slope, value > 0
    label = line.label if slope is None else f"{line.label}: {slope}"
    if line.limits is not None and max(line.limits) > NOTHING:
        axes.plot(x, np.maximum(line.limits, NOTHING), ":", color=colour, linewidth=1)
    if not seen.any():
        axes.plot([], [], line.marker, color=colour, fillstyle="none", label=f"{line.label}: not above 0")
        return
    look = {"color": colour, "markersize": 4, "linewidth": 1, "label": label}
    if np.isnan(error).all():
        axes.plot(x[seen], value[seen], line.marker or "-.", **look)
    else:
        spread = 2 * np.nan_to_num(error[seen])
        bars = np.stack([np.minimum(spread, 0.999 * value[seen]), spread])  # 0 is not on this axis
        axes.errorbar(x[seen], value[seen], bars, fmt=line.marker, **look)
    if slope is not None and slope.n_places >= 2 and line.marker:
        used = x if line.among is None else x[np.asarray(line.among)]
        ends = (used.min(), used.max())
        axes.plot(ends, slope.at(ends), color=colour, linewidth=1.2)


def draw_law(axes: Any, line: Line, theorem: str) -> None:
    """The theorem's slope as a dashed line, from a little above the curve's first point."""
    assert line.law is not None
    value = line.curve.value
    first = int((value > 0).nonzero()[0])
    ends = np.array([line.x[first], line.x[-1]], dtype=float)
    law = 1.6 * value[first].item() * (ends / ends[0]) ** line.law
    label = f"{theorem}: slope {line.law:g}"
    axes.plot(ends, law, color="gray", linestyle=(0, (6, 3)), linewidth=1, label=label)


def plain_numbers(axis: Any) -> None:
    """0.02 0.05 0.1 on a logarithmic axis of few decades, in place of crowded powers."""
    low, high = axis.get_view_interval()
    if np.log10(high / low) < 2.5:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, place: f"{value:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())


def write(figure: Any, file: Path) -> Path:
    """Write the figure and say where."""
    save(figure, file)
    print(file, flush=True)
    return file
