"""Symmetry from trajectories as text."""

from collections.abc import Sequence

from ...functional.asymmetry import Asymmetry, Largest
from ...functional.trajectory_symmetry import TrajectorySymmetry
from .text import aligned

MOST_CELLS = 12  # printed one by one; of more, those with the largest lower ends


def trajectory_lines(found: TrajectorySymmetry, state_names: Sequence[str], played: str) -> list[str]:
    """The figures of the whole game, then cell by cell, then what the data has seen."""
    head = (
        f"from trajectories alone: {found.n_episodes} episodes of {found.n_agents} agents under {played}, "
        f"{found.level:.0%} intervals [lower, upper]"
    )
    both = (found.alpha, found.beta)
    rows = [
        ["deviation from the mean of the agents", "transitions (alpha)", "rewards (beta)"],
        ["root mean square over agents", *(_largest(part.largest_rms, found, state_names) for part in both)],
    ]
    if found.types is not None:
        rows.append(["of a type, in the mean", *(_of_types(part, found, state_names) for part in both)])
    rows.append(["of an agent", *(_of_agents(part) for part in both)])
    return [
        head,
        *aligned(rows),
        "  each the largest over cells; `at least` and the lower ends of types and rewards are lower bounds",
        "  of alpha and beta, upper ends and `at most` speak of what was visited alone",
        f"  assumed: {found.assumes}",
        *_cells(found, state_names),
        *_seen(found, state_names),
    ]


def _largest(largest: Largest, found: TrajectorySymmetry, names: Sequence[str]) -> str:
    if not largest.measured:
        return "not measured"
    told = f"{largest.estimate:.4f} [{largest.lower:.4f}, {largest.upper:.4f}]"
    return told if largest.cell < 0 else f"{told} at {_place(found, largest.cell, names)}"


def _of_types(part: Asymmetry, found: TrajectorySymmetry, names: Sequence[str]) -> str:
    largest = part.largest_by_type
    assert largest is not None
    assert found.types is not None
    told = _largest(largest, found, names)
    return told if largest.cell < 0 else f"{told}, u = {found.types[largest.type].item():g}"


def _of_agents(part: Asymmetry) -> str:
    return f"at least {part.at_least.value:.4f}, at most {part.at_most.value:.4f}"


def _place(found: TrajectorySymmetry, cell: int, names: Sequence[str]) -> str:
    s, a = found.place(cell)
    return f"({names[s] if names else s}, {a})"


def _cells(found: TrajectorySymmetry, names: Sequence[str]) -> list[str]:
    """Root mean squares of the cells, intervals one by one."""
    alpha, beta = found.alpha.rms, found.beta.rms
    n_actions = found.seen.visits.shape[1]
    told = [
        divmod(k, n_actions) for k in range(found.seen.visits.numel()) if found.seen.measured.flatten()[k]
    ]
    chosen = sorted(told, key=lambda place: -max(alpha.lower[place].item(), beta.lower[place].item()))
    shown = sorted(chosen[:MOST_CELLS])
    if not shown:
        return []
    rows = [["  (s, a)", "visits", "rms of transitions", "rms of rewards"]]
    for place in shown:
        ends = [
            f"{part.estimate[place]:.4f} [{part.lower[place]:.4f}, {part.upper[place]:.4f}]"
            for part in (alpha, beta)
        ]
        s, a = place
        rows.append([f"  ({names[s] if names else s}, {a})", f"{int(found.seen.visits[place])}", *ends])
    more = len(told) - len(shown)
    return [*aligned(rows), *([f"  and {more} cells with smaller lower ends"] if more else [])]


def _seen(found: TrajectorySymmetry, names: Sequence[str]) -> list[str]:
    """Which populations, states and actions the figures speak of."""
    seen = found.seen
    n_states, n_actions = seen.visits.shape
    least, most = seen.population_least.amin(0), seen.population_most.amax(0)
    ranges = [
        f"nu({names[s] if names else s}) {least[s]:.3f} to {most[s]:.3f}"
        for s in range(min(n_states, MOST_CELLS))
    ]
    more = ", ..." if n_states > MOST_CELLS else ""
    lines = [
        f"seen: {n_states * n_actions - len(seen.never)} of {n_states * n_actions} cells (s, a); "
        f"populations {', '.join(ranges)}{more}"
    ]
    if seen.dropped_share > 0:
        lines.append(f"  {seen.dropped_share:.2%} of the visits had nobody in the same cell to compare with")
    if seen.put_in_share > 0:
        lines.append(f"  {seen.put_in_share:.2%} of the visits lacked agents of some type in the same cell")
    return lines
