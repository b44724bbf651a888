"""The form of the benchmarks, never their times, and the arithmetic of both scripts."""

import importlib
import json
import sys
from pathlib import Path

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
