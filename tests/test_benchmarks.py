"""The form of the benchmarks, never their times, and the arithmetic of both scripts."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mf_pmd import games

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
HEAD = ["benchmark", "what", "game", "N", "threads", "median", "min", "max", "target", "met"]


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
    benchmarks = module("run").BENCHMARKS
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


def test_the_rows_of_scale(module, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(module("scale"), "COMPILED_FROM", 20)
    monkeypatch.setattr(module("scale"), "has_compiler", lambda: False)
    for name in ("MOST_ROLLOUTS", "COUNTED_ROLLOUTS"):
        monkeypatch.setattr(module("scale"), name, 1)
    monkeypatch.setattr(module("scale"), "COUNTED_HORIZON", 3)
    monkeypatch.setattr(module("traffic"), "COPIED_BYTES", 2**20)
    words = ["--scale-agents", "4", "20", "--scale-threads", "1", "--counted-agents", "10", "1000000000"]
    words += ["--learner-agents", "10", "30", "--only", "rollout_by_n", "counts"]
    cells, written = run(module, capsys, tmp_path, *words)
    assert [row[:4] for row in cells[2:]] == [
        ["rollout_by_n", "runner", "a_beach", "4"],
        ["rollout_by_n", "runner, compiled", "a_beach", "20"],
        ["rollout_by_n", "runner", "a_beach", "20"],
        ["rollout_by_n", "batch, of an agent-step", "a_beach", "20"],
        ["rollout_by_n", "moved by operations, of an agent-step", "a_beach", "20"],
        ["rollout_by_n", "speed of moving them over a copy's", "a_beach", "20"],
        ["counts", "batch", "a_beach", "10"],
        ["counts", "batch", "a_beach", "1000000000"],
        ["counts", "batch, over N = 10", "a_beach", "1000000000"],
    ]
    assert cells[-1][8] == "at most 1.10"
    rows = written["rows"]
    assert rows[-1]["values"] == [
        big / small for big, small in zip(rows[-2]["values"], rows[-3]["values"], strict=True)
    ]
    assert rows[1]["missing"] == "no C++ compiler"
    assert rows[3]["median"] < rows[4]["median"]  # what is kept was moved, and more


def test_learning_by_n_is_timed_beside_its_counting(module, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(module("scale"), "UPDATES", 1)
    monkeypatch.setattr(module("scale"), "CACHED_BYTES", 0)
    monkeypatch.setattr(module("scale"), "LEARNERS", ("mf_pmd_tabular",))
    words = ["--learner-agents", "10", "30", "--only", "learner_by_n"]
    cells, _ = run(module, capsys, tmp_path, *words)
    beside = ["counting", "counting over a copy of what it reads"]
    update = "mf_pmd_tabular: update"
    told = [*beside, "counting: passes over what it reads"]
    assert [row[1] for row in cells[2:]] == [update, update, f"{update}, over N = 10", *beside, *told]
    assert [row[3] for row in cells[2:]] == ["10", "30", "30", "10", "10", "30", "30", "30"]


def test_bytes_are_those_of_the_operands(module):
    traffic = module("traffic")
    x, few = torch.ones(1000), torch.ones(10)
    assert traffic.moved_bytes(lambda: x + x) == 3 * 4000
    assert traffic.moved_bytes(lambda: x.view(10, 100)[:, 3:].unsqueeze(0)) == 0
    assert traffic.moved_bytes(lambda: torch.empty(1000)) == 0
    assert traffic.moved_bytes(lambda: torch.zeros(1000)) == 4000
    assert traffic.moved_bytes(lambda: x.copy_(torch.ones(()).expand(1000))) == 4 + 4000 + 4
    assert traffic.moved_bytes(lambda: x.long()) == 4000 + 8000
    assert traffic.moved_bytes(lambda: x.add_(few[0])) == 4000 + 4 + 4000
    assert traffic.moved_bytes(lambda: few.expand(1000, 10).sum()) == 40 + 4
    assert traffic.held_bytes(torch.ones(3, dtype=torch.int16).expand(0, 3)) == 0
    assert traffic.moved_bytes(lambda: x[:10] * few, beyond=100) == 40  # of x, a part; few stays in the cache
    assert traffic.copy_bandwidth("cpu") > 0


def test_the_peak_of_a_process_only_grows_and_knows_what_it_held(module):
    peaks = module("peaks")
    before = peaks.peak_bytes()
    held = torch.ones(before // 4 + 2**23)
    assert peaks.peak_bytes() >= max(before, held.numel() * 4)
    del held
    assert peaks.peak_bytes() > before


def test_a_run_that_fails_says_why_in_its_row(module, capsys, tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match=r"status 2: error: .*nothing_such"):
        module("peaks").peak_of_training(["--config=nothing_such", "--env-config=a_sis", "with"])

    def found(words):
        if "env_args.n_agents=1000000" in words:
            raise RuntimeError("status 1: no memory")
        return {"peak": 4.5e9, "device": 7.0, "total": 1.0}

    monkeypatch.setattr(module("scale"), "peak_of_training", found)
    words = ["--scale-agents", "10", "1000000", "--counted-agents", "50", "--only", "memory"]
    cells, _ = run(module, capsys, tmp_path, *words)
    assert [row[3] for row in cells[2:]] == ["10", "1000000", "10", "1000000", "50"]
    assert [row[5] for row in cells[2:4]] == ["4.5 G bytes", "not measured (status 1: no memory)"]
    assert cells[6][1] == "mf_pmd_tabular, runner=counts"


@pytest.mark.slow
def test_the_memory_of_real_runs(module, capsys, tmp_path):
    words = ["--scale-agents", "10", "--counted-agents", "1000000000000", "--only", "memory"]
    _, written = run(module, capsys, tmp_path, *words)
    assert len(written["rows"]) == 3
    assert all(1e8 < row["median"] < 2e9 for row in written["rows"])


CRITIC = """class Critic:
    def build(self):
        inputs = [batch["obs"]]
        inputs.append(th.eye(self.n_agents, device=batch.device))
        return inputs

    def shape(self):
        input_shape += self.n_agents
        return input_shape
"""


def test_the_index_is_taken_from_a_copy_of_the_critics(module, tmp_path):
    upstream = module("upstream")
    critics = Path("src", "modules", "critics")
    (tmp_path / "home" / critics).mkdir(parents=True)
    for name in upstream.CRITICS:
        (tmp_path / "home" / critics / name).write_text(CRITIC)
    assert upstream.without_index(tmp_path / "home", tmp_path / "copy") == tmp_path / "copy"
    for name in upstream.CRITICS:
        blind = (tmp_path / "copy" / critics / name).read_text()
        assert "n_agents" not in blind
        assert len(blind.splitlines()) == len(CRITIC.splitlines()) - 2
        assert (tmp_path / "home" / critics / name).read_text() == CRITIC
    (tmp_path / "home" / critics / "ac.py").write_text(CRITIC.replace("eye", "diag"))
    with pytest.raises(RuntimeError, match=r"ac\.py adds the agent's index otherwise"):
        upstream.without_index(tmp_path / "home", tmp_path / "other")


def test_ours_and_theirs_in_one_run(module, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("EPYMARL_HOME", raising=False)
    script = module("against_epymarl")
    monkeypatch.setattr(script, "LEARNERS", ("mf_pmd_tabular",))
    words = ["--upstream-agents", "6", "--upstream-algorithms", "ippo", "iql", "--only", "epymarl"]
    cells, _ = run(module, capsys, tmp_path, *words)
    theirs = ["EPyMARL's ippo", "EPyMARL's ippo, critic without index", "EPyMARL's iql"]
    assert [row[1] for row in cells[2:]] == ["mf_pmd_tabular", *theirs]
    assert [row[5] for row in cells[3:]] == ["not measured (EPYMARL_HOME unset)"] * 3

    monkeypatch.setenv("EPYMARL_HOME", str(tmp_path))
    seconds = {True: 8.0, False: 4.0}

    @contextlib.contextmanager
    def stand_in(it, agents):
        if it.algorithm == "iql":
            raise RuntimeError("it ended early")
        yield lambda: {"total": seconds[it.index], "peak": 10.0 * agents}

    monkeypatch.setattr(script, "_upstream", stand_in)
    cells, written = run(module, capsys, tmp_path, *words)
    rows = {row["what"]: row for row in written["rows"]}
    assert rows["EPyMARL's ippo"]["values"] == [4 * 20 * 6 / 8.0] * 5
    over = [rows[f"mf_pmd_tabular over {name}"]["values"] for name in theirs[:2]]
    assert over[0] == pytest.approx([2 * value for value in over[1]])
    assert rows["EPyMARL's iql"]["missing"] == "it ended early"
    assert rows["EPyMARL's ippo: peak memory, its runner's processes apart"]["values"] == [60.0]


def test_growth_is_told_as_powers_and_drawn(module, capsys, tmp_path):
    growth = module("growth")
    way = "agents followed"
    seconds = {10: 0.5, 100: 2.0, 10_000: 2.0}
    costs = {
        growth.Point("agents", size, way): growth.Cost([s] * 5, [s / 2] * 5) for size, s in seconds.items()
    }
    costs[growth.Point("agents", 10, "counts")] = growth.Cost([0.1, 0.2, 0.3, 0.2, 0.1], [0.004] * 5)
    lines = growth.table(costs).splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows == [
        ["N = 10", way, "500 ms", "", "250 ms", ""],
        ["N = 100", way, "2 s", "0.60", "1 s", "0.60"],  # four times as long for ten times as many
        ["N = 10000", way, "2 s", "0.00", "1 s", "0.00"],
        ["N = 10", "counts", "200 ms", "", "4 ms", ""],
    ]
    file = tmp_path / "deep" / "growth.json"
    growth.write(file, {"cpu": "any"}, costs)
    assert growth.read(file) == costs
    assert [module("growth_figure").named(size) for size in (3, 300, 1000, 10**6)] == [
        "3",
        "300",
        "1000",
        "$10^6$",
    ]
    picture = module("growth_figure").draw(costs, tmp_path / "growth.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_growth_is_measured_by_agents_and_by_counts(module, capsys, tmp_path, monkeypatch):
    growth = module("growth")
    for axis, size in {"agents": 30, "states": 4, "actions": 2, "horizon": 2}.items():
        monkeypatch.setitem(growth.BASE, axis, size)
    words = ["--only", "episodes", "--most", "2", "--json", str(tmp_path / "growth.json")]
    assert growth.main(words) == 0
    costs = growth.read(tmp_path / "growth.json")
    assert [(point.axis, point.size, point.way) for point in costs] == [
        ("episodes", 2, way) for way in growth.WAYS
    ]
    assert all(len(part) == 5 and min(part) > 0 for cost in costs.values() for part in cost)
    largest = [point for point in growth.points("states", None) if "declared" in point.way]
    assert max(point.size for point in largest) == 10


def test_the_ring_is_what_it_declares(module):
    ring = module("wide_ring").WideRing
    for declared in (True, False):
        game = ring(
            n_agents=5, horizon=4, n_sites=4, n_moves=3, declared=declared, population="others", seed=1
        )
        games.check_game(game).raise_if_failed()


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
