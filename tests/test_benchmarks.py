"""The form of the benchmarks, never their times, and the arithmetic of both scripts."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
HEAD = ["benchmark", "what", "game", "N", "threads", "median", "min", "max", "target", "met"]


@pytest.fixture
def module(monkeypatch):
    """Import a module of benchmarks/ as its scripts do, and leave no trace of it."""
    threads, known = torch.get_num_threads(), set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in set(sys.modules) - known:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).parent == BENCHMARKS:
            del sys.modules[name]
    torch.set_num_threads(threads)


def run(module, capsys, tmp_path, *words):
    """Run ``benchmarks/run.py`` tiny; returns the cells of the table, line by line, and the json."""
    file = tmp_path / "bench" / "out.json"
    tiny = ["--games", "a_sis", "--threads", "1", "--agents", "20", "--epochs", "1", "--json", str(file)]
    assert module("run").main([*tiny, *words]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return cells, json.loads(file.read_text(encoding="utf-8"))


def test_the_table_and_the_file_hold_every_repetition(module, capsys, tmp_path):
    cells, written = run(module, capsys, tmp_path, "--only", "counting")
    assert cells[0] == HEAD
    assert cells[2][:5] == ["counting", "cell_statistics", "a_sis", "20", "1"]
    assert all(cell.endswith("agent-steps/s") for cell in cells[2][5:8])
    assert len(cells) == 3
    (row,) = written["rows"]
    assert len(row["values"]) == 5
    assert row["min"] <= row["median"] <= row["max"]
    assert {"cpu", "cores", "torch", "load_before", "load_after"} <= set(written["machine"])
    assert written["settings"]["agents"] == 20


def test_the_simulator_plays_whole_episodes_of_the_games_of_taxis(module, capsys, tmp_path):
    cells, written = run(module, capsys, tmp_path, "--only", "simulator")
    assert [row[:5] for row in cells[2:]] == [
        ["simulator", "step", game, "20", "1"] for game in ("a_taxi", "taxi_lite")
    ]
    assert all(cell.endswith("agent-steps/s") for row in cells[2:] for cell in row[5:8])
    assert all(row["target"] is None for row in written["rows"])  # it is for N = 1000
    episodes = module("training").Episodes("a_taxi", agents=3, batch_size=2, threads=1, device="cpu")
    assert episodes.agent_steps == 128 * 2 * 3


@pytest.mark.slow
def test_the_networks_of_taxis_and_the_ladder_are_timed(module, capsys, tmp_path):
    cells, _ = run(module, capsys, tmp_path, "--only", "taxis", "ladder")
    rungs = [rung.name for rung in module("ladder").TIMED]
    ratios = [f"{name} over Ind-NN" for name in rungs if name != "Ind-NN"]
    assert [row[1] for row in cells[2:]] == ["mf_ppo", "mf_pmd", *rungs, *ratios]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_cuda_the_rows_say_so(module, capsys, tmp_path):
    cells, _ = run(module, capsys, tmp_path, "--device", "cuda", "--ippo-agents", "20")
    benchmarks = module("rows").BENCHMARKS
    assert {row[0] for row in cells[2:]} == set(benchmarks)
    assert {row[5] for row in cells[2:]} == {"not measured (no CUDA here)"}


def test_too_few_repetitions_are_refused(module, capsys):
    with pytest.raises(SystemExit):
        module("run").main(["--repeats", "4"])
    assert "--repeats=4" in capsys.readouterr().err


def test_targets_and_ratios(module):
    timing = module("timing")
    assert timing.Target(1.2, at_least=False).met(1.2)
    assert not timing.Target(5e6, at_least=True).met(4.9e6)
    assert timing.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    calls = []
    found = timing.alternate(
        {name: lambda name=name: calls.append(name) or {"total": len(calls)} for name in "ab"}, repeats=2
    )
    assert calls == ["a", "b"] * 3
    assert timing.column(found["b"], "total") == [4, 6]


def test_mann_whitney_is_exact(module):
    script = module("baselines_against_epymarl")
    assert script.mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    assert script.mann_whitney([1, 2], [1, 2]) == 1.0
    # U = 0 or 4 in 2 of 6 splits, and 1 or 3 in 2 more; [1, 3] against [2, 4] has U = 1
    assert script.mann_whitney([1, 3], [2, 4]) == pytest.approx(4 / 6)
    assert script.overlap([0.0, 1.0], [1.0, 2.0])
    assert not script.overlap([0.0, 1.0], [1.1, 2.0])


LADDER = ["--n-agents", "6", "--seeds", "3", "--rungs", "1,4"]
TOWN = ["with", "env_args.horizon=12", "hidden_dim=4", "epochs=1", "minibatches=1"]
TOWN += [f"{key}=2" for key in ("batch_size_run", "batch_size", "buffer_size")]


def written_runs(monkeypatch, script, returns):
    """Runs of the ladder's rungs that were not run: each seed's test returns, by rung."""

    def finished(planned, results):
        seen = {}
        for run in planned:
            curve = np.array([0, 40, 80]), np.array(returns[run.algorithm][run.seed - 1], dtype=float)
            seen[run] = SimpleNamespace(
                metrics={script.RETURN: curve},
                process={"peak_rss_mib": 300 + run.seed, "machine": "here"},
                config={"seed": run.seed},
            )
        return seen

    monkeypatch.setattr(script, "find_done", finished)


def test_the_ladder_reports_what_it_timed_and_what_was_run(module, capsys, tmp_path, monkeypatch):
    script = module("identity_ladder")
    written_runs(
        monkeypatch,
        script,
        {"mf_ppo": [[1, 4, 3], [1, 6, 4], [1, 2, 5]], "mf_ppo_ind": [[1, 1, 1], [1, 1, 1], [1, 1, 1]]},
    )
    out = tmp_path / "report"
    words = [*LADDER, "--results", str(tmp_path), "--only", "timing,report", *TOWN]
    assert script.main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == list(script.HEAD)
    assert rows[2][:4] == ["Symm-NN", "`mf_ppo embedding_dim=0`", "6", "3"]
    half = 4.302653 / 3**0.5  # t of two degrees; the returns 3, 4, 5 have deviation 1
    assert rows[2][4:8] == ["4.00", "4.00", f"[{4 - half:.2f}, {4 + half:.2f}]", ""]
    assert rows[3][4:7] == ["1.00", "1.00", "[1.00, 1.00]"]
    assert rows[3][7] == f"-3.00 [{-3 - half:+.2f}, {-3 + half:+.2f}]"
    assert rows[3][11:] == ["100.0 %", "303"]
    numbers = json.loads((out / "table.json").read_text())
    assert [len(row["seconds"]) for row in numbers["rungs"]] == [5, 5]
    assert numbers["rungs"][0]["returns"] == [3.0, 4.0, 5.0]
    assert numbers["uniform_return"] > 0
    assert (out / "identity_ladder.png").read_bytes().startswith(b"\x89PNG")


def test_the_ladder_reports_before_anything_is_known(module, capsys, tmp_path):
    script = module("identity_ladder")
    assert script.main([*LADDER, "--results", str(tmp_path), "--only", "report", *TOWN]) == 0
    assert "Timed on: nothing yet. Runs on: none yet." in capsys.readouterr().out
    assert not (tmp_path / "report" / "identity_ladder.png").exists()


def test_runs_of_the_ladder_are_equal_but_for_identity(module, tmp_path):
    script = module("identity_ladder")
    options = script.parse(["--results", str(tmp_path), "--epochs", "3", "--seeds", "2"])
    runs = script.planned_runs(options)
    assert list(runs) == [
        "Symm-NN",
        "OH-NN",
        "ID-NN",
        "Ind-NN",
        "Symm-NN, deep set",
        "Symm-NN, learns from all",
        "OH-NN, learns from all",
        "ID-NN, learns from all",
    ]
    for batch in runs.values():
        assert [run.seed for run in batch] == [1, 2]
        assert {run.config["t_max"] for run in batch} == {3 * 10 * 128}
        assert {run.config["test_interval"] for run in batch} == {384}
    told = {"name", "identity", "learn_agents", "agent"}
    plain, *others = (
        {k: v for k, v in runs[name][0].config.items() if k not in told} for name in list(runs)[:4]
    )
    assert all(other == plain for other in others)
    assert plain["embedding_dim"] == 0
    side_by_side = script.batches(options, runs)
    assert [len(batch) for batch in side_by_side.values()] == [8, 6, 2]
    assert [run.seed for run in side_by_side["1"]] == [1] * 4 + [2] * 4


def test_too_few_rounds_are_refused(module, capsys):
    with pytest.raises(SystemExit):
        module("identity_ladder").main(["--rounds", "4"])
    assert "--rounds=4" in capsys.readouterr().err


@pytest.mark.slow
def test_the_ladder_runs_and_takes_what_is_there(module, capsys, tmp_path):
    words = ["--n-agents", "6", "--seeds", "1", "--epochs", "1", "--jobs", "2", "--results", str(tmp_path)]
    words += ["--only", "runs,report", *TOWN]
    script = module("identity_ladder")
    assert script.main(words) == 0
    first = capsys.readouterr()
    rungs = json.loads((tmp_path / "report" / "table.json").read_text())["rungs"]
    assert [row["seeds"] for row in rungs] == [1] * 8
    assert all(row["peak_mib"] > 50 for row in rungs)
    assert script.main(words) == 0
    assert capsys.readouterr().out == first.out
    assert len(list((tmp_path / "sacred").glob("*/*/[0-9]*"))) == 8  # none was run twice
