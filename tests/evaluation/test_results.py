"""Reading results folders, of ours and of EPyMARL's layout, whole and broken ones."""

import json
import os

import numpy as np
import pytest

from mf_pmd.errors import UserError
from mf_pmd.evaluation import figures, results

MEAN_FIELD = "test_mean_field_exploitability"


def wrapped(value):
    return {"dtype": "float64", "py/object": "numpy.float64", "value": value}


def test_a_run_is_read_whole(tmp_path, write_run, read_runs):
    folder = write_run(tmp_path, seed=3, seconds=7, process={"peak_rss_mib": 400.0})
    (run,) = read_runs(tmp_path)
    assert (run.folder, run.algorithm, run.game, run.seed) == (folder, "mf_pmd", "a_sis", 3)
    assert run.seconds == 7.5
    assert run.last_test == 200
    assert run.final(MEAN_FIELD) == 0.1
    assert run.final("unknown") is None
    assert run.process == {"peak_rss_mib": 400.0}


def test_a_game_of_a_file_goes_by_its_map_name(tmp_path, write_run, read_runs):
    folder = write_run(tmp_path, env_args={"key": "/games/cars.py:Cars", "map_name": "cars"})
    assert read_runs(tmp_path)[0].game == "cars"
    assert figures.run_title(folder) == "mf_pmd on cars, seed 1"


def test_wrapped_numbers_and_gaps_are_read(tmp_path, write_run, read_runs):
    write_run(tmp_path, metrics={"test_return_mean": [wrapped(1.0), None, wrapped(3.0)]})
    (run,) = read_runs(tmp_path)
    steps, values = run.metrics["test_return_mean"]
    assert steps.tolist() == [0, 100, 200]
    assert values[[0, 2]].tolist() == [1.0, 3.0]
    assert np.isnan(values[1])


def test_any_folder_on_the_way_will_do(tmp_path, write_run):
    folder = write_run(tmp_path / "results")
    for root in (tmp_path, tmp_path / "results", tmp_path / "results" / "sacred", folder.parent, folder):
        assert [run.folder for run in results.read_results(root)[0]] == [folder]


def test_checkpoints_and_sources_are_no_runs(tmp_path, write_run, read_runs):
    folder = write_run(tmp_path)
    for other in (tmp_path / "models" / "token" / "400", folder.parent / "_sources"):
        other.mkdir(parents=True)
        (other / "config.json").write_text("{}")
    assert [run.folder for run in read_runs(tmp_path)] == [folder]


def test_run_10_comes_after_run_9(tmp_path, write_run, read_runs):
    for seed in range(1, 12):
        write_run(tmp_path, seed=seed)
    assert [run.seed for run in read_runs(tmp_path)] == list(range(1, 12))


def cut(name):
    def damage(folder):
        file = folder / name
        file.write_text(file.read_text()[:-20])

    return damage


def missing(name):
    return lambda folder: (folder / name).unlink()


def emptied(folder):
    for file in folder.iterdir():
        file.unlink()


def only_output(folder):
    emptied(folder)
    (folder / "cout.txt").write_text("hello")


def gameless(folder):
    config = json.loads((folder / "config.json").read_text()) | {"env_args": None}
    (folder / "config.json").write_text(json.dumps(config))


def uneven(folder):
    series = {"steps": [0, 1], "values": [0.5]}
    (folder / "metrics.json").write_text(json.dumps({MEAN_FIELD: series}))


DAMAGES = {
    "empty": (emptied, "empty"),
    "output alone": (only_output, "half-written: no run.json"),
    **{f"no {name}": (missing(name), f"half-written: no {name}") for name in results.RUN_FILES},
    **{f"cut {name}": (cut(name), f"half-written: {name} is cut off") for name in results.RUN_FILES},
    "empty metrics": (lambda folder: (folder / "metrics.json").write_text(""), "metrics.json is empty"),
    "no metrics yet": (lambda folder: (folder / "metrics.json").write_text("{}"), "no test in metrics.json"),
    "a list": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "config.json is not one of sacred's",
    ),
    "no series": (
        lambda folder: (folder / "metrics.json").write_text('{"test_x": 3}'),
        "test_x is not a series",
    ),
    "no game": (gameless, "env_args=None names no game"),
    "uneven": (uneven, f"{MEAN_FIELD} has 2 steps, 1 values"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_folders_are_named_with_the_reason(tmp_path, write_run, damage, reason):
    whole, damaged = write_run(tmp_path, seed=1), write_run(tmp_path, seed=2)
    damage(damaged)
    runs, skipped = results.read_results(tmp_path)
    assert [run.folder for run in runs] == [whole]
    assert [found.folder for found in skipped] == [damaged]
    assert reason in skipped[0].reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "FAILED", "run": {"fail_trace": ["a\n", "DivergenceError: x is nan\n"]}}, "x is nan"),
        (
            {"status": "FAILED", "run": {"fail_trace": ["ValueError: off\n" + "9\n" * 999]}},
            "crashed: ValueError: off",
        ),
        ({"status": "FAILED"}, "crashed"),
        ({"status": "INTERRUPTED"}, "was interrupted"),
        ({"status": "RUNNING"}, "did not end"),
        ({"status": "QUEUED"}, "QUEUED"),
        ({"evaluate": True}, "evaluates a checkpoint"),
    ],
)
def test_runs_that_did_not_finish_are_named_with_the_reason(tmp_path, write_run, changes, reason):
    write_run(tmp_path, **changes)
    runs, skipped = results.read_results(tmp_path)
    assert runs == []
    assert reason in skipped[0].reason
    assert "\n" not in skipped[0].reason


def test_no_folder_and_no_run_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such folder"):
        results.read_results(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no run"):
        results.read_results(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="may not be read"):
        results.read_results(tmp_path)


def returns(tmp_path, write_run, read_runs, metrics, **settings):
    write_run(tmp_path, metrics=metrics, **settings)
    (run,) = read_runs(tmp_path)
    (_, values), kind = results.return_curve(run)
    return values.tolist(), kind


UPSTREAM = {"runner": "parallel", "env_args": {"n_agents": 4}}


@pytest.mark.parametrize(
    ("metrics", "settings", "expected"),
    [
        ({"test_return_mean": [1, 2, 3]}, {"env_args": {"n_agents": 4}}, ([1, 2, 3], "mean over agents")),
        (
            {"test_return_mean": [1, 2, 3]},
            {"common_reward": True, "env_args": {"n_agents": 4}},  # our runner logs the agents' mean anyway
            ([1, 2, 3], "mean over agents"),
        ),
        (
            {"test_return_mean": [4, 8, 12]},
            {**UPSTREAM, "common_reward": True},
            ([1, 2, 3], "mean over agents"),
        ),
        (
            {"test_return_mean": [4, 8, 12]},
            {**UPSTREAM, "common_reward": True, "reward_scalarisation": "mean"},
            ([4, 8, 12], "mean over agents"),
        ),
        (
            {"test_return_mean": [4, 8, 12]},
            {"runner": "parallel", "common_reward": True},
            ([4, 8, 12], "sum over agents"),
        ),
        ({"test_total_return_mean": [4, 8, 12]}, UPSTREAM, ([1, 2, 3], "mean over agents")),
        (
            {
                "test_total_return_mean": [4, 8, 12],
                "test_agent_0_return_mean": [3, 6, 9],
                "test_agent_1_return_mean": [1, 2, 3],
            },
            {"runner": "parallel"},
            ([2, 4, 6], "mean over agents"),
        ),
        (
            {"test_agent_0_return_mean": [3, 6, 9], "test_agent_1_return_mean": [1, 2, 3]},
            {"runner": "parallel"},
            ([2, 4, 6], "mean over agents"),
        ),
    ],
)
def test_returns_of_every_layout(tmp_path, write_run, read_runs, metrics, settings, expected):
    assert returns(tmp_path, write_run, read_runs, metrics, **settings) == expected


def test_a_run_may_have_no_return(tmp_path, write_run, read_runs):
    write_run(tmp_path, metrics={"test_battle_won_mean": [0, 0, 1]})
    assert results.return_curve(read_runs(tmp_path)[0]) is None


BASE = {"lr": 0.1, "seed": 1, "env_args": {"key": "a_sis", "seed": 1, "n_agents": 4}}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"local_results_path": "elsewhere"},
        {"progress": "none"},
        {"use_wandb": True, "wandb_team": "x"},
        {"save_model": False},
        {"env_args": {"key": "a_sis", "seed": 2, "n_agents": 4}},
    ],
)
def test_where_results_go_makes_no_other_experiment(change):
    assert results.experiment_settings(BASE | change) == results.experiment_settings(BASE)


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.2},
        {"t_max": 5},
        {"threads": 2},
        {"use_cuda": True},
        {"env_args": {"key": "a_sis", "n_agents": 5}},
        {"env_args": {"key": "a_rps", "n_agents": 4}},
    ],
)
def test_every_other_setting_does(change):
    assert results.experiment_settings(BASE | change) != results.experiment_settings(BASE)
