"""The examples run as their first lines say, check their games and end with an exploitability."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mf_pmd import cli, games
from mf_pmd.host.utils.config import load_config

EXAMPLES = Path(__file__).parents[1] / "examples"
SHORT = [
    "seed=1",
    "use_cuda=False",
    "t_max=400",
    "test_interval=400",
    "test_nepisode=20",
    "env_args.n_agents=50",
]
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_there_are_a_table_game_and_a_function_game():
    assert NAMES == ["crowded_library", "shared_cars"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs(name, tmp_path):
    path = os.pathsep.join([str(Path(cli.__file__).parents[1]), *filter(None, sys.path)])
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *SHORT, f"local_results_path={tmp_path}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "WRONG" not in finished.stdout
    assert re.search(r"test_mean_field_exploitability \d\.\d+ -> \d\.\d+", finished.stdout)
    assert (tmp_path / "sacred" / "mf_pmd_tabular" / name / "1" / "population.npz").is_file()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{}, {"n_agents": 6, "population": "all"}], ids=["default", "all"])
def test_the_game_of_an_example_is_sound(name, changes):
    config = load_config("mf_pmd_tabular", str(EXAMPLES / name), [], cli.CONFIG_ROOTS)
    env_args = {key: value for key, value in config["env_args"].items() if key != "map_name"}
    report = games.check_game(games.make(**{**env_args, **changes}), draws=30_000)
    assert report.passed, str(report)
