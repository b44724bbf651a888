"""What starts without waiting, and the form of the benchmark that times it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
HEAVY = ("torch", "numpy", "matplotlib", "sacred", "wandb", "yaml")
ASK = """
import sys
from mf_pmd.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("loaded", *(name for name in {heavy} if name in sys.modules))
"""


def loaded(*words):
    """What a process that ran the command line on some words had imported, and what it printed before."""
    command = [sys.executable, "-c", ASK.format(heavy=HEAVY), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    *printed, last = ended.stdout.splitlines()
    return last.split()[1:], "\n".join(printed)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words):
    imported, printed = loaded(*words)
    assert imported == []
    assert "mf-pmd" in printed


@pytest.mark.parametrize("words", [["list", "algs"], ["config", "mf_pmd", "a_sis"]])
def test_what_reads_settings_alone_waits_for_their_reader_alone(words):
    imported, printed = loaded(*words)
    assert imported == ["yaml"]
    assert "mf_pmd" in printed


@pytest.fixture
def startup(monkeypatch):
    """benchmarks/startup.py, imported as its script does, leaving no trace."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("startup")
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


def test_every_repetition_is_kept(startup, monkeypatch, capsys, tmp_path):
    asked = []

    def timed(command):
        asked.append(command)
        return {"wall": float(len(asked)), "processor": 0.1}

    monkeypatch.setattr(startup, "timed", timed)
    assert startup.main(["--json", str(tmp_path / "out" / "startup.json"), "--agents", "20"]) == 0
    rows = json.loads((tmp_path / "out" / "startup.json").read_text(encoding="utf-8"))["rows"]
    assert [row["what"].split(", ")[-1] for row in rows] == [
        "mf-pmd --help",
        "processor time",
        "first episodes",
        "processor time",
    ]
    assert rows[0]["values"] == [3.0, 5.0, 7.0, 9.0, 11.0]  # the first of each warms up
    assert rows[2]["values"] == [4.0, 6.0, 8.0, 10.0, 12.0]
    assert "env_args.n_agents=20" in asked[1]
    table = capsys.readouterr().out
    assert "at most 500 ms" in table
    assert "at most 5 s" in table
    with pytest.raises(SystemExit):
        startup.main(["--repeats", "4"])


def test_a_process_is_timed_and_must_not_fail(startup):
    parts = startup.timed([sys.executable, "-c", "sum(range(10**6))"])
    assert parts["processor"] > 0
    assert parts["wall"] > 0
    with pytest.raises(RuntimeError, match="exit 3"):
        startup.timed([sys.executable, "-c", "raise SystemExit(3)"])
