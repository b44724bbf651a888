"""The grid: planning, reuse, crashes, interruption; with a stand-in for the script that trains."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mf_pmd.errors import UserError
from mf_pmd.evaluation import compare, report, results, verbs

GAMES = {"a_sis": {"t_max": 205, "test_nepisode": 8}, "a_rps": {"t_max": 100, "test_nepisode": 8}}
TRAINER = """
import json, pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
words = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
seed, game, name = int(words["seed"]), words["env-config"], words["config"]
print("trainer", name, game, seed)
if name == "sleeper":
    pathlib.Path(words["local_results_path"], "asleep").touch()
    time.sleep(60)
if name == "crasher" and seed == 2:
    sys.exit("error: a ship's log\\n\\n")
if name == "killed":
    import os; os.kill(os.getpid(), 9)
folder = pathlib.Path(words["local_results_path"], "sacred", name, game, str(seed))
folder.mkdir(parents=True)
config = {"name": name, "seed": seed, "lr": float(words.get("lr", 0.1)), "env_args": {"key": game}}
config |= {"t_max": int(words["t_max"]), "test_interval": int(words["test_interval"]),
           "test_nepisode": int(words["test_nepisode"]), "batch_size_run": 4}
if name == "liar":
    config["lr"] = 7.0
last = config["t_max"] // (2 if name == "quitter" else 1)
curve = {"steps": [0, last], "values": [1.0, 0.1 * seed]}
run = {"status": "COMPLETED", "start_time": "2026-01-01T00:00:00", "stop_time": "2026-01-01T00:00:09"}
for file, content in (("config", config), ("run", run), ("metrics", {"test_return_mean": curve})):
    (folder / f"{file}.json").write_text(json.dumps(content))
"""


def configure(algorithm, game, words):
    """The settings that the stand-in makes of the words."""
    given = dict(word.split("=", 1) for word in words)
    if "nonsense" in given:
        raise UserError("nonsense=1: no such setting")
    config = {key: int(given[key]) for key in ("seed", "t_max", "test_interval", "test_nepisode")}
    config |= {"name": algorithm, "lr": float(given.get("lr", 0.1)), "env_args": {"key": game}}
    return config | {"batch_size_run": 4, "local_results_path": given["local_results_path"]}


@pytest.fixture
def trainer(tmp_path) -> Path:
    file = tmp_path / "trainer.py"
    file.write_text(TRAINER)
    return file


@pytest.fixture
def run_grid(tmp_path, trainer, capsys, monkeypatch):
    """Run a grid; status, table, and what is on standard error."""

    def run(algorithms, games=("a_sis",), seeds=2, words=(), jobs=1, t_max=None, pictures=False, **folders):
        if not pictures:
            monkeypatch.setattr(report.plots, "draw", lambda groups, folder: [])
        settings = {game: GAMES[game] for game in games}
        status = verbs.compare(
            algorithms, settings, seeds, words, t_max=t_max, jobs=jobs, configure=configure, main=trainer,
            results=folders.get("results", tmp_path / "results"), out=folders.get("out"),
        )  # fmt: skip
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def plan(tmp_path, *words, algorithms=("a", "b"), seeds=(1, 2), t_max=None):
    return compare.plan(algorithms, GAMES, seeds, words, results=tmp_path, t_max=t_max, configure=configure)


def test_every_algorithm_gets_the_same_steps_and_tests(tmp_path):
    planned = plan(tmp_path)
    assert [run.name for run in planned[:4]] == [f"{a} on {g}, seed 1" for g in GAMES for a in ("a", "b")]
    for game, (steps, interval) in {"a_sis": (205, 21), "a_rps": (100, 10)}.items():
        for run in planned:
            if run.game == game:
                config = run.config
                assert (config["t_max"], config["test_interval"], config["test_nepisode"]) == (
                    steps,
                    interval,
                    8,
                )


def test_t_max_is_that_of_the_option(tmp_path):
    assert {run.config["t_max"] for run in plan(tmp_path, t_max=7)} == {7}


def test_words_are_for_all_runs_and_win(tmp_path):
    planned = plan(tmp_path, "lr=0.5", "test_interval=50")
    assert {(run.config["lr"], run.config["test_interval"]) for run in planned} == {(0.5, 50)}


@pytest.mark.parametrize(
    ("word", "option"), [("t_max=5", "--t-max"), ("seed=3", "--seeds"), ("local_results_path=x", "--results")]
)
def test_words_that_an_option_is_for_are_refused(tmp_path, word, option):
    with pytest.raises(UserError, match=f"{word}: give it by {option}"):
        plan(tmp_path, word)


def test_a_wrong_word_names_algorithm_and_game(tmp_path):
    with pytest.raises(UserError, match=r"^a on a_sis: nonsense=1"):
        plan(tmp_path, "nonsense=1")


def test_a_grid_is_run_then_reused(run_grid, tmp_path):
    status, table, said = run_grid(["a", "b"], ("a_sis", "a_rps"), pictures=True)
    assert status == 0
    assert "8 runs: 0 are there already, 8 to run" in said
    assert "8/8 b on a_rps, seed 2: " in said
    assert "a_sis: t_max 205, a test every 21, 8 episodes a test" in table
    assert "0 were there already" in table
    assert "| a         | 2     | 0.150" in table
    out = tmp_path / "results" / "compare"
    assert (out / "table.md").read_text() + "\n" == table
    names = {"table.md", "table.csv", "curves.png", "return.png", "wall_time.png", "logs"}
    assert {file.name for file in out.iterdir()} == names
    folders = sorted((tmp_path / "results" / "sacred").glob("*/*/*"))
    process = json.loads((folders[0] / results.PROCESS_FILE).read_text())
    assert process["peak_rss_mib"] > 1
    assert "cores" in process["machine"]

    status, again, said = run_grid(["a", "b"], ("a_sis", "a_rps"))
    assert status == 0
    assert "8 runs: 8 are there already, 0 to run" in said
    assert sorted((tmp_path / "results" / "sacred").glob("*/*/*")) == folders
    assert "0 runs were made now" in again
    assert "8 were there already" in again

    _, _, said = run_grid(["b", "a"], ("a_sis",), seeds=3)
    assert "6 runs: 4 are there already, 2 to run" in said


def test_runs_with_other_settings_are_not_reused(run_grid, tmp_path):
    run_grid(["a"])
    for file in (tmp_path / "results").glob("sacred/a/a_sis/*/config.json"):
        config = json.loads(file.read_text())
        file.write_text(json.dumps(config | {"progress": "bar", "local_results_path": "elsewhere"}))
    assert "2 are there already" in run_grid(["a"])[2]  # where results go does not count
    file.write_text(json.dumps(config | {"lr": 0.2}))
    assert "1 are there already, 1 to run" in run_grid(["a"])[2].replace("\n", " ")


@pytest.mark.parametrize("file", results.RUN_FILES)
def test_half_written_runs_are_not_reused(run_grid, tmp_path, file):
    run_grid(["a"], seeds=1)
    (folder,) = (tmp_path / "results").glob("sacred/a/a_sis/*")
    text = (folder / file).read_text()
    (folder / file).write_text(text[: len(text) // 2])
    folder.rename(folder.parent / "9")
    status, table, said = run_grid(["a"], seeds=1)
    assert status == 0
    assert "0 are there already, 1 to run" in said
    assert f"Folders skipped: 1. `sacred/a/a_sis/9` (half-written: {file} is cut off)." in table


def test_failed_runs_are_not_reused(run_grid, tmp_path):
    run_grid(["a"], seeds=1)
    (folder,) = (tmp_path / "results").glob("sacred/a/a_sis/*")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"status": "FAILED"}))
    folder.rename(folder.parent / "9")
    assert "0 are there already" in run_grid(["a"], seeds=1)[2]


def test_a_crash_is_named_and_stops_nothing(run_grid, tmp_path):
    status, table, said = run_grid(["crasher", "a"], seeds=3)
    assert status == 1
    assert "crasher on a_sis, seed 2: exit status 1: error: a ship's log" in said
    assert "Runs that failed: 1. crasher on a_sis, seed 2 (exit status 1: error: a ship's log)." in table
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in row] for row in rows[1:]] == [["crasher", "2 of 3"], ["a", "3"]]
    assert "trainer crasher a_sis 2" in (tmp_path / "results/compare/logs/crasher-a_sis-2.log").read_text()


def test_a_killed_run_is_named_by_its_signal(run_grid):
    status, table, _ = run_grid(["killed"], seeds=1)
    assert status == 1
    assert "killed on a_sis, seed 1 (exit status -9: trainer killed a_sis 1)" in table


@pytest.mark.parametrize("name", ["liar", "quitter"])
def test_a_run_with_other_settings_or_too_few_steps_does_not_count(run_grid, name):
    status, table, _ = run_grid([name], seeds=1)
    assert status == 1
    assert "left no finished run with these settings" in table


def test_jobs_run_side_by_side(run_grid):
    status, table, _ = run_grid(["a"], seeds=4, jobs=3)
    assert status == 0
    assert "3 runs side by side" in table
    assert "| a         | 4     |" in table


def test_an_interruption_ends_all_and_the_next_call_goes_on(run_grid, tmp_path, trainer):
    asleep = tmp_path / "results" / "asleep"

    def terminate():
        while not asleep.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=terminate, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_grid(["a", "sleeper"], seeds=1)
    assert time.monotonic() - started < 30
    assert signal.getsignal(signal.SIGTERM) is before
    assert "KeyboardInterrupt" in (tmp_path / "results/compare/logs/sleeper-a_sis-1.log").read_text()
    trainer.write_text(TRAINER.replace("time.sleep(60)", "pass"))
    status, _, said = run_grid(["a", "sleeper"], seeds=1)
    assert status == 0
    assert "2 runs: 1 are there already, 1 to run" in said


@pytest.mark.parametrize(
    ("changes", "part"), [({"seeds": 0}, "--seeds=0"), ({"jobs": 0}, "--jobs=0"), ({"t_max": 0}, "--t-max=0")]
)
def test_numbers_below_one_are_refused(run_grid, tmp_path, changes, part):
    with pytest.raises(UserError, match=part):
        run_grid(["a"], **changes)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("option", ["results", "out"])
def test_folders_that_cannot_be_made_are_refused(run_grid, tmp_path, option):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"--{option}=.*cannot be written to"):
        run_grid(["a"], **{option: tmp_path / "file" / "below"})


def test_a_missing_library_is_told_before_anything_is_run(run_grid, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(UserError, match="mf-pmd\\[compare\\]"):
        run_grid(["a"])
    assert not (tmp_path / "results").exists()


def test_plot_reports_on_what_is_finished(tmp_path, write_run, capsys):
    for seed in (1, 2, 3):
        write_run(tmp_path, seed=seed)
    write_run(tmp_path, seed=4, status="FAILED")
    (tmp_path / "sacred" / "ippo" / "a_sis" / "1").mkdir(parents=True)
    assert verbs.plot(tmp_path, None) == 0
    table = capsys.readouterr().out
    assert "| mf_pmd    | 3     | 0.100 [0.100, 0.100]" in table
    assert "Folders skipped: 2. `sacred/ippo/a_sis/1` (empty); `sacred/mf_pmd/a_sis/4` (crashed)." in table
    assert {"table.md", "table.csv", "curves.png"} <= {file.name for file in (tmp_path / "plots").iterdir()}
    assert verbs.plot(tmp_path, tmp_path / "elsewhere") == 0
    assert (tmp_path / "elsewhere" / "table.md").is_file()


def test_plot_refuses_a_folder_without_a_finished_run(tmp_path, write_run):
    with pytest.raises(UserError, match="holds no run"):
        verbs.plot(tmp_path, None)
    write_run(tmp_path, status="FAILED")
    with pytest.raises(UserError, match=r"none of its 1 runs is finished .*crashed"):
        verbs.plot(tmp_path, None)
    assert not (tmp_path / "plots").exists()
