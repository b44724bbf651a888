"""Results folders written by hand, in sacred's layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mf_pmd.evaluation import results

MEAN_FIELD = "test_mean_field_exploitability"
STEPS = (0, 100, 200)


def series(values: Any, steps: Any = STEPS) -> dict[str, list]:
    return {"steps": list(steps), "values": list(values), "timestamps": [""] * len(values)}


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Write a run's folder; ``metrics`` maps a key to its values, or to a series of sacred's."""

    def write(
        root: Path,
        *,
        algorithm: str = "mf_pmd",
        game: str = "a_sis",
        seed: int = 1,
        metrics: dict[str, Any] | None = None,
        status: str = "COMPLETED",
        seconds: int = 7,
        day: int = 1,
        process: dict[str, Any] | None = None,
        run: dict[str, Any] | None = None,
        env_args: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Path:
        parent = root / "sacred" / algorithm / game
        parent.mkdir(parents=True, exist_ok=True)
        folder = parent / str(1 + sum(path.name.isdigit() for path in parent.iterdir()))
        folder.mkdir()
        if metrics is None:
            metrics = {MEAN_FIELD: [1.5, 0.5, 0.1], "test_return_mean": [10.0, 11.0, 12.0]}
        curves = {key: v if isinstance(v, dict) else series(v) for key, v in metrics.items()}
        config = {"name": algorithm, "seed": seed, "runner": "population", "common_reward": False}
        config |= {"env_args": {"key": game, **(env_args or {})}, "t_max": 200, **settings}
        start, stop = f"2026-01-{day:02d}T00:00:00", f"2026-01-{day:02d}T00:00:{seconds:02d}.5"
        record = {"status": status, "start_time": start, "stop_time": stop, "host": {}, **(run or {})}
        files = {"metrics.json": curves, "config.json": config, "run.json": record}
        if process is not None:
            files[results.PROCESS_FILE] = process
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
        return folder

    return write


@pytest.fixture
def read_runs() -> Callable[[Path], list[results.Run]]:
    """The finished runs of a folder, none of which may be skipped."""

    def read(root: Path) -> list[results.Run]:
        runs, skipped = results.read_results(root)
        assert not skipped
        return runs

    return read
