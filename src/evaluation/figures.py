"""The pictures that a run leaves in its results folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg", force=False)
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

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

Curve = tuple[NDArray[Any], NDArray[Any]]


def draw(results_dir: str | Path) -> list[Path]:
    """Draw exploitability.png, population.png and policy.png from what a run left in its folder.

    Args:
        results_dir: sacred's folder of one run: metrics.json, config.json, and population.npz if
            the runner kept population and policy.

    Returns:
        The pictures that could be drawn.
    """
    folder = Path(results_dir)
    title = run_title(folder)
    drawn = []
    metrics = read_metrics(folder / "metrics.json")
    if metrics:
        drawn.append(draw_exploitability(metrics, title, folder / "exploitability.png"))
    file = folder / "population.npz"
    if file.is_file():
        with np.load(file) as stored:
            arrays = dict(stored)
        drawn.append(draw_population(arrays, title, folder / "population.png"))
        if "policy_last" in arrays:
            names = list(arrays.get("state_names", ()))
            drawn.append(save(policy_figure(arrays["policy_last"], names, title), folder / "policy.png"))
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
    plot_curves(below, metrics, RETURNS)
    if below.lines:
        below.legend(fontsize=8)
    below.set_ylabel("return\n(mean over agents)")
    below.set_xlabel("environment steps")
    return save(figure, file)


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
    names = list(arrays.get("state_names", ()))
    return save(population_figure(panels, names, title, largest=largest, size=(9, 3.6)), file)


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
    for panel in axes[0]:
        panel.set_xlabel("step h")
    return figure


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
    axes[0].set_ylabel("local state")
    figure.colorbar(image, ax=list(axes), label="share of the agents")


def policy_images(policy: NDArray[Any]) -> list[NDArray[Any]]:
    """A policy [H, S, A] as images [S, H] of each action's probability; of many actions, of the likeliest."""
    if policy.shape[2] > MOST_PANELS:
        return [policy.argmax(-1).T]
    return [policy[:, :, action].T for action in range(policy.shape[2])]


def policy_figure(policy: NDArray[Any], names: Sequence[str], title: str) -> Figure:
    """A policy [H, S, A]: states upwards, time to the right, see `policy_images`; ``names`` [S] or empty."""
    n_states, n_actions = policy.shape[1:]
    many = n_actions > MOST_PANELS
    images = policy_images(policy)
    titles = ["likeliest action"] if many else [f"action {action}" for action in range(n_actions)]
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
        panel.set_ylabel("local state")
    if n_states <= LARGEST_LINE_PLOT:
        axes[0, 0].set_yticks(range(n_states), state_labels(names, n_states))
    figure.colorbar(shown, ax=list(axes.flat), label="action" if many else "probability")
    return figure


def save(figure: Any, file: Path) -> Path:
    """Write the figure and forget it."""
    figure.savefig(file, dpi=130, bbox_inches="tight")
    plt.close(figure)
    return file
