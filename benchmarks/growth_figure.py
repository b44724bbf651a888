"""The picture of what costs what: seconds a batch against each size, by agents and by counts.

From what ``growth.py`` wrote: python benchmarks/growth_figure.py results/bench/growth.json scaling.png
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from growth import AXES, BASE, SYMBOLS, WAYS, Cost, Point, read
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

from mf_pmd.evaluation.figures import save
from mf_pmd.evaluation.plots import PALETTE

NAMES = {
    "agents": "agents",
    "states": "local states",
    "actions": "actions",
    "horizon": "steps",
    "episodes": "episodes",
}
PARTS = {"playing": "-", "learning": ":"}
UNDECLARED = "nothing declared"  # learns as with declarations


def draw(costs: Mapping[Point, Cost], file: Path) -> Path:
    """A panel a size, logarithmic on both axes; medians, with the range of the rounds."""
    axes = [axis for axis in AXES if any(point.axis == axis for point in costs)]
    figure, panels = plt.subplots(1, len(axes), figsize=(2.7 * len(axes), 3.5), sharey=True, squeeze=False)
    figure.set_layout_engine("constrained")
    for panel, axis in zip(panels[0], axes, strict=True):
        for place, way in enumerate(WAYS):
            for part, dash in list(PARTS.items())[: 1 if UNDECLARED in way else 2]:
                draw_curve(panel, costs, axis, way, part, color=PALETTE[place], linestyle=dash)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel(f"{SYMBOLS[axis]}, {NAMES[axis]}", fontsize=9)
        sizes = sorted({point.size for point in costs if point.axis == axis})
        panel.set_xticks(sizes, [named(size) for size in sizes])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.axvline(BASE[axis], color="gray", linewidth=0.7, linestyle=(0, (6, 3)))
        panel.tick_params(labelsize=8)
        panel.grid(True, linewidth=0.3)
    panels[0][0].set_ylabel("seconds a batch", fontsize=9)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(WAYS), fontsize=8)
    return save(figure, file)


def named(size: int) -> str:
    """Powers of ten beyond a thousand as such."""
    power = len(str(size)) - 1
    return f"$10^{power}$" if size == 10**power and power > 3 else str(size)


def draw_curve(panel: Any, costs: Mapping[Point, Cost], axis: str, way: str, part: str, **look: Any) -> None:
    """One way's cost of playing or learning along one axis."""
    found = {point.size: getattr(cost, part) for point, cost in costs.items() if point[::2] == (axis, way)}
    if found:
        medians = [statistics.median(values) for values in found.values()]
        panel.plot(
            list(found), medians, marker="o", markersize=3, linewidth=1.4, label=f"{way}: {part}", **look
        )
        low, high = ([pick(values) for values in found.values()] for pick in (min, max))
        panel.fill_between(list(found), low, high, color=look["color"], alpha=0.12, linewidth=0)


if __name__ == "__main__":
    draw(read(Path(sys.argv[1])), Path(sys.argv[2]))
