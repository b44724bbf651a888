"""What ``mf-pmd compare`` and ``mf-pmd plot`` do, from checked words to a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from .aggregate import require_bootstrap
from .compare import Configure, Failure, Planned, find_done, plan, run_all
from .grouping import group_runs
from .report import describe_machine, machine_note, require_writable, skipped_notes, write_report
from .results import Run, Skipped, read_results, scan
from .tables import Group


def compare(
    algorithms: Sequence[str],
    games: dict[str, dict[str, Any]],
    seeds: int,
    words: Sequence[str],
    *,
    results: Path,
    out: Path | None,
    t_max: int | None,
    jobs: int,
    configure: Configure,
    main: Path,
) -> int:
    """Run or reuse the grid, and report.

    Args:
        algorithms, games, words, t_max, configure: see ``compare.plan``.
        seeds: 1 to this number.
        results: the results folder.
        out: of the report; None for ``compare`` in the results folder.
        jobs: processes side by side.
        main: the script that trains.

    Returns:
        The exit status: 1 if some run failed, the report has all others.

    Raises:
        UserError: wrong words, or folders that cannot be written to; before anything is run.
    """
    for value, option in ((seeds, "--seeds"), (jobs, "--jobs"), (t_max, "--t-max")):
        if value is not None and value < 1:
            raise UserError(f"{option}={value}: at least 1 is needed")
    results = results.expanduser().resolve()
    out = (results / "compare" if out is None else out).expanduser().resolve()
    grid = plan(
        algorithms, games, range(1, seeds + 1), words, results=results, t_max=t_max, configure=configure
    )
    require_bootstrap()
    require_writable(results, "--results")
    require_writable(out / "logs", "--out")
    reused = find_done(grid, results)
    left = [planned for planned in grid if planned not in reused]
    print(f"{len(grid)} runs: {len(reused)} are there already, {len(left)} to run", file=sys.stderr)
    machine = describe_machine()
    failures = run_all(
        left, done=len(reused), jobs=jobs, results=results, logs=out / "logs", machine=machine, main=main
    )
    done = find_done(grid, results)
    groups = _groups(grid, done)
    notes = [
        *_grid_notes(grid, words, jobs=jobs, reused=len(reused)),
        *_reused_note(list(reused.values())),
        *machine_note(list(done.values())),
        *_failure_notes(failures),
        *skipped_notes(_skipped(grid, results), results),
    ]
    print(write_report(groups, notes, "Comparison", out))
    print(f"report: {out}", file=sys.stderr)
    return 1 if failures else 0


def plot(root: Path, out: Path | None) -> int:
    """Report on whatever finished runs a folder holds.

    Args:
        root: any results folder, of EPyMARL's too.
        out: of the report; None for ``plots`` in that folder.

    Raises:
        UserError: no folder, no run, or none that is finished.
    """
    require_bootstrap()
    root = root.expanduser().resolve()
    runs, skipped = read_results(root)
    if not runs:
        first = f"{skipped[0].folder}: {skipped[0].reason}"
        raise UserError(f"{root}: none of its {len(skipped)} runs is finished ({first})")
    out = (root / "plots" if out is None else out).expanduser().resolve()
    require_writable(out, "--out")
    groups, notes = group_runs(runs)
    notes = [*notes, _command_note(), *machine_note(runs), *skipped_notes(skipped, root)]
    print(write_report(groups, notes, "Results", out))
    print(f"report: {out}", file=sys.stderr)
    return 0


def _groups(grid: Sequence[Planned], done: dict[Planned, Run]) -> list[Group]:
    """The runs of the grid by game, then by algorithm, in the order of the command line."""
    cells: dict[tuple[str, str], list[Planned]] = {}
    for planned in sorted(grid, key=lambda run: run.seed):
        cells.setdefault((planned.game, planned.algorithm), []).append(planned)
    return [
        Group(_label(wanted[0]), algorithm, [done[run] for run in wanted if run in done], len(wanted))
        for (_, algorithm), wanted in cells.items()
    ]


def _label(planned: Planned) -> str:
    """'a_sis, N = 1000', or 'mfglib beach_bar, N = 1000' where one yaml serves several games."""
    env_args = planned.config["env_args"]
    key, agents = str(env_args.get("key", planned.game)), env_args.get("n_agents")
    name = planned.game if key == planned.game or ":" in key else f"{planned.game} {key}"
    return name if agents is None else f"{name}, N = {agents}"


def _command_note() -> str:
    return f"Command: `mf-pmd {shlex.join(sys.argv[1:])}`."


def _grid_notes(grid: Sequence[Planned], words: Sequence[str], *, jobs: int, reused: int) -> list[str]:
    """What was run, and what was equal."""
    tests = {
        f"{run.game}: t_max {run.config['t_max']}, a test every {run.config['test_interval']}, "
        f"{_episodes(run)} episodes a test": None
        for run in grid
    }
    changed = f" Changed for all runs: {' '.join(words)}." if words else ""
    side = "one run at a time" if jobs == 1 else f"{jobs} runs side by side, which lengthens wall times"
    return [
        f"Equal for all algorithms of a game, in environment steps (one step of one episode, whatever N): "
        f"{'; '.join(tests)}. All else is each algorithm's own default.{changed}",
        f"{_command_note()} {len(grid) - reused} runs were made now ({side}), {reused} were there already.",
    ]


def _episodes(run: Planned) -> int:
    """Episodes of a test: hosts round them to whole batches."""
    batch = run.config["batch_size_run"]
    return max(1, run.config["test_nepisode"] // batch) * batch


def _reused_note(reused: Sequence[Run]) -> list[str]:
    """Settings are compared and code is not: tell how old the runs are."""
    if not reused:
        return []
    oldest, newest = (pick(run.stopped for run in reused)[:16] for pick in (min, max))
    return [
        f"The runs that were there already ended between {oldest} and {newest} UTC, with the code of then."
    ]


def _failure_notes(failures: Sequence[Failure]) -> list[str]:
    if not failures:
        return []
    named = [
        f"{failure.planned.name} (exit status {failure.status}: {failure.reason})" for failure in failures
    ]
    return [f"Runs that failed: {len(failures)}. {'; '.join(named)}. Their logs are in `logs`."]


def _skipped(grid: Sequence[Planned], results: Path) -> list[Skipped]:
    """Folders of the grid's algorithms and games that are no finished runs."""
    folders = sorted({planned.folder(results) for planned in grid})
    return [skipped for folder in folders for skipped in scan(folder)[1]]
