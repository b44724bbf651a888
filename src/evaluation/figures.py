"""The pictures that a run leaves in its results folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg", force=False)
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .maps import draw_grid, grid_size, shown_steps, with_units

MEAN_FIELD = "test_mean_field_exploitability"
EXPLOITABILITIES = {
    MEAN_FIELD: ("mean field, as played in test mode", "black", "-"),
    f"{MEAN_FIELD}_tail": ("mean field, tail: mean of the last half", "tab:blue", "-"),
    f"{MEAN_FIELD}_average": ("mean field, average of all iterates", "tab:orange", "--"),
    f"{MEAN_FIELD}_last": ("mean field, last iterate", "tab:green", ":"),
}
N_PLAYER = {
    "test_exploitability_max": ("N players, the worst off", "tab:red", "--"),
    "test_exploitability_mean": ("N players, mean over agents", "tab:purple", "-"),
}
RETURNS = {
    "return_mean": ("training", "tab:gray", "-"),
    "test_return_mean": ("test", "black", "-"),
}
LARGEST_LINE_PLOT = 4  # states; beyond, a picture of the whole population is easier to read
MOST_PANELS = 8  # actions; beyond, one picture of the likeliest action
PANELS_A_ROW = 4
MOST_NAMED = 9  # states on the axis of an image

Curve = tuple[NDArray[Any], NDArray[Any]]


class Names(NamedTuple):
    """What to call states and actions, [S] and [A]; empty where their number says it."""

    states: tuple[str, ...]
    actions: tuple[str, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Names:
        """Those among a runner's arrays."""
        states, actions = (tuple(map(str, arrays.get(f"{kind}_names", ()))) for kind in ("state", "action"))
        return cls(states, actions)


def draw(results_dir: str | Path) -> list[Path]:
    """Draw exploitability.png, population.png, map.png and policy.png from what a run left in its folder.

    Args:
        results_dir: sacred's folder of one run: metrics.json, config.json, and population.npz if
            the runner kept population and policy.

    Returns:
        The pictures that could be drawn; return.png alone of a game that no exploitability was logged of.
    """
    folder = Path(results_dir)
    title = run_title(folder)
    drawn = []
    metrics = read_metrics(folder / "metrics.json")
    if EXPLOITABILITIES.keys() & metrics or N_PLAYER.keys() & metrics:
        drawn.append(draw_exploitability(metrics, title, folder / "exploitability.png"))
    elif RETURNS.keys() & metrics:
        drawn.append(draw_returns(metrics, title, folder / "return.png"))
    file = folder / "population.npz"
    if file.is_file():
        with np.load(file) as stored:
            arrays = dict(stored)
        drawn.append(draw_population(arrays, title, folder / "population.png"))
        if "map_last" in arrays:
            drawn.append(draw_maps(arrays, title, folder / "map.png"))
        if "policy_last" in arrays:
            figure = policy_figure(arrays["policy_last"], Names.of(arrays), title)
            drawn.append(save(figure, folder / "policy.png"))
    return drawn


def run_title(folder: Path) -> str:
    """'mf_pmd on a_sis, N = 1000, seed 1', as far as config.json tells."""
    file = folder / "config.json"
    if not file.is_file():
        return folder.name
    config = json.loads(file.read_text(encoding="utf-8"))
    env_args = config.get("env_args", {})
    game = env_args.get("map_name") or env_args.get("key", "")
    agents = f", N = {env_args['n_agents']}" if "n_agents" in env_args else ""
    return f"{config.get('name', '')} on {game}{agents}, seed {config.get('seed')}"


def read_metrics(file: Path) -> dict[str, Curve]:
    """Sacred's metrics.json as key -> (environment steps, values); values that are no numbers are NaN."""
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8").strip()
    metrics = json.loads(text) if text else {}
    return {
        key: (np.asarray(curve["steps"]), np.array([as_number(v) for v in curve["values"]]))
        for key, curve in metrics.items()
    }


def as_number(value: Any) -> float:
    """A metric's value; sacred wraps numpy's, and a missing one is null."""
    value = value.get("value") if isinstance(value, dict) else value
    return float(value) if isinstance(value, (int, float)) else float("nan")


def draw_exploitability(metrics: dict[str, Curve], title: str, file: Path) -> Path:
    """Exploitability above, return below, against environment steps."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6.4), sharex=True, height_ratios=(3, 2))
    above.set_title(title)
    plot_curves(above, metrics, EXPLOITABILITIES)
    plot_curves(above, metrics, N_PLAYER)
    shade_brackets(above, metrics)
    if above.lines:
        above.set_yscale("log")
        above.legend(fontsize=7)
    above.set_ylabel("exploitability\n(reward summed over the horizon)")
    plot_returns(below, metrics)
    return save(figure, file)


def draw_returns(metrics: dict[str, Curve], title: str, file: Path) -> Path:
    """Return against environment steps."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    axes.set_title(title)
    plot_returns(axes, metrics)
    return save(figure, file)


def plot_returns(axes: Any, metrics: dict[str, Curve]) -> None:
    """Those of training and of tests, as far as they were logged."""
    plot_curves(axes, metrics, RETURNS)
    if axes.lines:
        axes.legend(fontsize=8)
    axes.set_ylabel("return\n(mean over agents)")
    axes.set_xlabel("environment steps")


def plot_curves(axes: Any, metrics: dict[str, Curve], styles: dict[str, tuple[str, str, str]]) -> None:
    """Plot those of the named curves that exist."""
    for key, (label, colour, line) in styles.items():
        if key in metrics:
            axes.plot(*metrics[key], color=colour, linestyle=line, linewidth=1.4, label=label)
    axes.grid(True, which="both", linewidth=0.3)


def shade_brackets(axes: Any, metrics: dict[str, Curve]) -> None:
    """The bracket of each N-player estimate."""
    for key, (_, colour, _) in N_PLAYER.items():
        ends = [metrics.get(f"{key}_{end}") for end in ("lower", "upper")]
        if ends[0] is not None and ends[1] is not None:
            (steps, lower), (_, upper) = ends[0], ends[1]
            axes.fill_between(steps, np.maximum(lower, 1e-3), upper, color=colour, alpha=0.15, linewidth=0)


def draw_population(arrays: dict[str, NDArray[Any]], title: str, file: Path) -> Path:
    """The population over the horizon, under the first and the last policy tested.

    Args:
        arrays: ``population_first`` and ``population_last``, nu [H + 1, S] each; ``state_names`` [S]
            where states have names.
        title: of the figure.
        file: where to write it.
    """
    panels = [
        (f"{name} policy", arrays[f"population_{name}"])
        for name in ("first", "last")
        if f"population_{name}" in arrays
    ]
    largest = max(nu.max() for _, nu in panels)
    return save(
        population_figure(panels, Names.of(arrays).states, title, largest=largest, size=(9, 3.6)), file
    )


def draw_maps(arrays: dict[str, NDArray[Any]], title: str, file: Path) -> Path:
    """The population on the game's map at a few steps, under the first and the last policy tested.

    Args:
        arrays: ``map_first`` and ``map_last``, [H + 1, rows, columns] each; ``map_regions`` [rows, columns]
            where the map has regions.
        title: of the figure.
        file: where to write it.
    """
    found = {name: arrays[f"map_{name}"] for name in ("first", "last") if f"map_{name}" in arrays}
    densities = list(found.values())
    steps = shown_steps(len(densities[0]) - 1)
    size = grid_size(densities[0].shape[1:], n_policies=len(densities), n_steps=len(steps))
    figure = plt.figure(figsize=size, layout="constrained")
    figure.suptitle(with_units(title, densities[0]), fontsize=10)
    regions = tuple(map(tuple, arrays.get("map_regions", ())))
    draw_grid(figure, densities, [f"{name} policy" for name in found], steps, regions=regions)
    return save(figure, file)


def population_figure(
    panels: Sequence[tuple[str, NDArray[Any]]],
    names: Sequence[str],
    title: str,
    *,
    largest: float,
    size: tuple[float, float],
) -> Figure:
    """One panel a population nu [H + 1, S], lines or colours up to ``largest``; ``names`` [S] or empty."""
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    figure.suptitle(title, y=1.03)
    n_states = panels[0][1].shape[1]
    if n_states <= LARGEST_LINE_PLOT:
        draw_lines(axes[0], panels, state_labels(names, n_states))
    else:
        draw_images(figure, axes[0], panels, largest=largest)
        name_states(axes[0, 0], names, n_states)
    for panel in axes[0]:
        panel.set_xlabel("step h")
    return figure


def name_states(axes: Any, names: Sequence[str], n_states: int) -> None:
    """The names of the states on the vertical axis: all, or evenly spaced ones; without names, its label."""
    if not len(names):
        axes.set_ylabel("local state")
        return
    apart = -(-n_states // MOST_NAMED)
    axes.set_yticks(range(0, n_states, apart), names[::apart], fontsize=7)


def state_labels(names: Sequence[str], n_states: int) -> list[str]:
    """The names of the states, or their numbers."""
    return list(names) if len(names) else [f"state {state}" for state in range(n_states)]


def draw_lines(axes: Sequence[Any], panels: Sequence[tuple[str, NDArray[Any]]], names: Sequence[str]) -> None:
    """One line a local state."""
    for panel, (label, nu) in zip(axes, panels, strict=True):
        for state in range(nu.shape[1]):
            panel.plot(nu[:, state], label=names[state], linewidth=1.6)
        panel.set_title(label, fontsize=10)
        panel.set_ylim(0, 1)
        panel.grid(True, linewidth=0.3)
    axes[0].set_ylabel("share of the agents")
    axes[0].legend(fontsize=8)


def draw_images(
    figure: Any, axes: Sequence[Any], panels: Sequence[tuple[str, NDArray[Any]]], *, largest: float
) -> None:
    """Local states upwards, time to the right, the share of the agents as colour."""
    for panel, (label, nu) in zip(axes, panels, strict=True):
        image = panel.imshow(nu.T, origin="lower", aspect="auto", vmin=0, vmax=largest, cmap="viridis")
        panel.set_title(label, fontsize=10)
    figure.colorbar(image, ax=list(axes), label="share of the agents")


def policy_images(policy: NDArray[Any]) -> list[NDArray[Any]]:
    """A policy [H, S, A] as images [S, H] of each action's probability; of many actions, of the likeliest."""
    if policy.shape[2] > MOST_PANELS:
        return [policy.argmax(-1).T]
    return [policy[:, :, action].T for action in range(policy.shape[2])]


def policy_figure(policy: NDArray[Any], names: Names, title: str) -> Figure:
    """A policy [H, S, A]: states upwards, time to the right, see `policy_images`."""
    n_states, n_actions = policy.shape[1:]
    many = n_actions > MOST_PANELS
    images = policy_images(policy)
    actions = names.actions or [f"action {action}" for action in range(n_actions)]
    titles = ["likeliest action"] if many else actions
    rows = -(-len(images) // PANELS_A_ROW)
    columns = -(-len(images) // rows)
    size = (1.6 + 2.4 * columns, 0.6 + 2.4 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    figure.suptitle(title, y=1.03)
    top, colours = (n_actions - 1, "nipy_spectral") if many else (1, "viridis")
    for panel, image, label in zip(axes.flat, images, titles, strict=False):
        shown = panel.imshow(image, origin="lower", aspect="auto", vmin=0, vmax=top, cmap=colours)
        panel.set_title(label, fontsize=10)
    for panel in axes.flat[len(images) :]:
        panel.axis("off")
    for panel in axes[-1]:
        panel.set_xlabel("step h")
    for panel in axes[:, 0]:
        if n_states <= LARGEST_LINE_PLOT:
            panel.set_ylabel("local state")
            panel.set_yticks(range(n_states), state_labels(names.states, n_states))
        else:
            name_states(panel, names.states, n_states)
    figure.colorbar(shown, ax=list(axes.flat), label="action" if many else "probability")
    return figure


def save(figure: Any, file: Path) -> Path:
    """Write the figure and forget it."""
    figure.savefig(file, dpi=130, bbox_inches="tight")
    plt.close(figure)
    return file
