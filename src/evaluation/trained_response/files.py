"""The files that ``mf-pmd exploitability ... --trained`` leaves."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from ..figures import save
from .report import TrainedReport, as_json, bound

VALUES, PICTURE = "trained_response.json", "trained_response.png"

SMOOTHED = 20  # of so many parts of the batches one point of a smoothed curve is the mean


def write_files(report: TrainedReport, folder: Path) -> list[Path]:
    """Leave the values and the picture of the learning curve in an existing folder."""
    values = folder / VALUES
    values.write_text(json.dumps(as_json(report), indent=2) + "\n", encoding="utf-8")
    return [values, draw_curve(report, folder / PICTURE)]


def draw_curve(report: TrainedReport, file: Path) -> Path:
    """Gain of the deviators against their steps, by type, and what was measured afterwards."""
    curve, gains = report.response.curve, report.gains
    steps, by_type = np.asarray(curve.steps), np.asarray(curve.by_type)  # [M], [M, G]
    figure, axes = plt.subplots(figsize=(7, 4))
    for g, name in enumerate(report.types.names):
        colour = f"C{g}"
        axes.plot(steps, by_type[:, g], color=colour, linewidth=0.6, alpha=0.4)
        axes.plot(*smoothed(steps, by_type[:, g]), color=colour, linewidth=1.8, label=f"in training, {name}")
        measured = gains.types[g]
        ends = [[measured.mean - measured.lower], [measured.upper - measured.mean]]
        axes.errorbar(
            [steps[-1] * 1.03], [measured.mean], yerr=ends, color=colour, marker="o", markersize=4, capsize=3
        )
    axes.axhline(bound(gains.mean), color="black", linewidth=1.0, linestyle="--", label="bound of the mean")
    axes.axhline(0.0, color="gray", linewidth=0.6)
    seeing = " that see the population" if report.settings.sees_population else ""
    title = f"{report.key}, N = {report.game.n_agents}: deviators{seeing} from {report.policy}"
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("steps of the deviators in training; dots: measured afterwards, one deviator an episode")
    axes.set_ylabel("gain (reward summed\nover the horizon)")
    axes.grid(True, linewidth=0.3)
    axes.legend(fontsize=8)
    return save(figure, file)


def smoothed(steps: NDArray, values: NDArray) -> tuple[Sequence[float], Sequence[float]]:
    """Means of consecutive parts of a curve, NaN left out."""
    parts = min(SMOOTHED, len(steps))
    pairs = zip(np.array_split(steps, parts), np.array_split(values, parts), strict=True)
    known = [(at.mean(), found[np.isfinite(found)].mean()) for at, found in pairs if np.isfinite(found).any()]
    return [at for at, _ in known], [value for _, value in known]
