"""The race against solvers that are told the model: its form, its games, never its times."""

import argparse
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from mf_pmd import games
from mf_pmd.functional.mean_field import expected_return, mean_field_flow, tabular_policy

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
pytest.importorskip("mfglib")


def crowd(module, **changes):
    sizes = {"n_agents": 50, "size": 5, "horizon": 4, "population": "all"} | changes
    return module("crowd_modelling").CrowdModelling(**sizes)


def table_of(capsys):
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_race_has_a_line_for_each_and_a_reason_for_who_is_absent(module, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    solvers, file = module("solvers"), tmp_path / "out" / "race.json"
    assert solvers.main(["--quick", "--algorithms", "mf_pmd_tabular", "--json", str(file)]) == 0
    head, _, *rows = table_of(capsys)
    assert head == list(solvers.HEAD)
    contestants = [row[:2] for row in rows]
    assert contestants[0] == ["beach_bar", "MFGLib OMD, step 1"]
    assert ["beach_bar", "mf_pmd_tabular, counts"] in contestants
    (absent,) = (row for row in rows if "OpenSpiel" in row[1])
    assert absent[3].startswith("not measured: OpenSpiel is not installed")
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["games"]["beach_bar"]["tried"]["MFGLib OMD, step 1"]["iterations"] <= 3
    measured = [row for row in written["rows"] if "missing" not in row]
    assert all(len(row["seconds"]) == 1 and min(row["seconds"]) > 0 for row in measured)
    assert measured[0]["over_first"] == [1.0]


def test_a_contestant_stops_where_it_arrives_and_its_score_costs_nothing(module):
    solvers = module("solvers")
    clock, policy = [0.0], [1.0]
    solvers.CLOCKS["told"] = lambda: clock[0]

    def advance():
        clock[0] += 2.0
        policy[0] /= 2

    def start(seed):
        clock[0] += 100.0
        return solvers.Runner(advance, lambda: torch.tensor(policy[0]))

    def score(policy):
        clock[0] += 1000.0
        return 3 * policy.item()

    arena = solvers.Arena("game", score, 3.0, [], {}, {})
    limits = argparse.Namespace(clock="told", share=0.2, most=9, budget=50.0)
    contestant = solvers.Contestant("halving", False, start)
    assert solvers.race(contestant, arena, limits, seed=1) == (6.0, 3, 0.125, 100.0)
    policy[0], limits.most = 1.0, 2
    assert solvers.race(contestant, arena, limits, seed=1)[:3] == (4.0, 2, 0.25)
    policy[0], limits.most, limits.budget = 1.0, 9, 1.0
    assert solvers.race(contestant, arena, limits, seed=1)[:2] == (2.0, 1)


def test_who_has_not_arrived_is_not_told_as_if_it_had(module):
    solvers = module("solvers")
    row = {"game": "g", "contestant": "c", "told": False, "arrived": "1 of 2", "all_arrived": False}
    row |= {"seconds": [1.0, 3.0], "iterations": [4.0, 9.0], "over_first": [2.0, 6.0]}
    assert solvers.cells(row) == ["g", "c", "no", "1 of 2", "6", "> 2 s", "> 1 s", "> 3 s", "> 4.00"]


def test_too_few_rounds_and_unknown_games_are_refused(module, capsys):
    for words, told in ((["--repeats", "4"], "--repeats=4"), (["--games", "chess"], "chess")):
        with pytest.raises(SystemExit):
            module("solvers").main(words)
        assert told in capsys.readouterr().err


def test_crowd_modelling_is_a_sound_game(module):
    games.check_game(crowd(module), draws=500).raise_if_failed()


def test_the_uniform_crowd_is_paid_what_a_hand_computes(module):
    # nu stays uniform on the ring: log 5 a step, the mean of the places 0, .5, 1, .5, 0, and the mean toll
    game = crowd(module)
    flow = mean_field_flow(game.mean_field_model(), tabular_policy(torch.full((4, 5, 3), 1 / 3).double()))
    value = (expected_return(flow).item() - 4 * game.reward_offset) / game.reward_factor
    toll = module("crowd_modelling").first_moves(5, 4).abs().sum().item() / 25
    assert value == pytest.approx(4 * (torch.tensor(5.0).double().log().item() + 0.4) - toll)


def test_first_moves_are_those_of_a_walk_by_hand(module):
    # from site 0: going down leads to 4, 5 and 0, staying to 1 besides, going up to 2; from site 1 up to 3
    assert module("crowd_modelling").first_moves(6, 2).tolist() == [[0] * 6, [-1, 0, 1, 1, -1, -1]]


def test_crowd_modelling_is_openspiels(module):
    pyspiel = pytest.importorskip("pyspiel")
    importlib.import_module("open_spiel.python.mfg.games.crowd_modelling")
    descent = importlib.import_module("open_spiel.python.mfg.algorithms.mirror_descent")
    play = importlib.import_module("open_spiel.python.mfg.algorithms.fictitious_play")
    conv = importlib.import_module("open_spiel.python.mfg.algorithms.nash_conv")
    solvers, ours = module("solvers"), crowd(module)
    theirs = pyspiel.load_game("python_mfg_crowd_modelling", {"size": 5, "horizon": 4})
    for solver in (descent.MirrorDescent(theirs, lr=0.5), play.FictitiousPlay(theirs)):
        for _ in range(3):
            policy = solver.get_policy()
            table = module("crowd_modelling").policy_table(theirs, policy, size=5, horizon=4)
            torch.testing.assert_close(table.sum(-1), torch.ones(4, 5).double())
            found = solvers.mean_field_exploitability(ours.mean_field_model(), tabular_policy(table)).item()
            score = conv.NashConv(theirs, policy).nash_conv()
            assert found / ours.reward_factor == pytest.approx(score, abs=1e-9)
            solver.iteration()


SMALL = ["env_args.knobs.n_floor=2", "env_args.knobs.floor_l=2", "env_args.knobs.floor_w=2"]


def test_with_exact_rewards_a_cell_pays_what_the_mean_field_does(module):
    script = module("reward_noise")
    words = ("runner=counts", "env_args.key=building_evacuation", *script.ONE_EPISODE, *SMALL)
    training = module("training").Training(
        "mf_pmd_tabular", "mfglib", agents=300, threads=1, device="cpu", words=words
    )
    seen = []
    training.learner.update = lambda statistics: seen.append(statistics) or {}
    script.with_exact_rewards(training)
    training.epochs(1)
    game = training.runner.game
    flow = mean_field_flow(game.mean_field_model(), tabular_policy(torch.full((4, 8, 6), 1 / 6).double()))
    (statistics,) = seen
    visited = statistics.visits[0] > 0
    paid = (statistics.reward_sum / statistics.visits)[0]
    torch.testing.assert_close(paid[visited], flow.reward.float()[visited])
    assert statistics.reward_sum[0][~visited].eq(0).all()


def test_so_many_agents_see_what_the_mean_field_pays(module, capsys):
    assert module("reward_noise").main(["--agents", "100,1000000000000", "--epochs", "6", *SMALL]) == 0
    head, _, *rows = table_of(capsys)
    assert head == ["N", "rewards", "tail", "last"]
    assert [row[:2] for row in rows] == [
        [n, kind] for n in ("100", "1,000,000,000,000") for kind in ("as seen", "exact")
    ]
    few, _, many, many_exact = (float(row[2]) for row in rows)
    assert many == pytest.approx(many_exact, rel=1e-3)
    assert few != pytest.approx(many, rel=1e-2)
