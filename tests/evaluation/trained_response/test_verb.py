"""``mf-pmd exploitability ... --trained``: what it prints and leaves, and what it refuses."""

import json
from types import SimpleNamespace

import pytest
import torch
import yaml

from mf_pmd import cli
from mf_pmd.controllers.observation_mac import ObservationMAC
from mf_pmd.evaluation.trained_response import settings

UNIFORM = ["uniform", "--trained", "--env-config=a_sis"]
SMALL = ["with", "env_args.n_agents=30", "env_args.horizon=3"]
TAXI = ["with", "env_args.n_agents=12", "env_args.horizon=4"]


@pytest.fixture
def told(capsys):
    """Exit status, standard output and standard error of a command."""

    def tell(*argv):
        status = cli.main(argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return tell


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Trainings of few steps."""
    values = yaml.safe_load(settings.FILE.read_text())
    file = tmp_path / "quick.yaml"
    file.write_text(yaml.safe_dump({**values, "batch_steps": 256, "budget": 2560, "validation": 256}))
    monkeypatch.setattr(settings, "FILE", file)


@pytest.fixture
def taxis(make_game, tmp_path):
    """A checkpoint of a_taxi."""
    game = make_game("a_taxi", n_agents=12, horizon=4)
    info = {"game": "a_taxi", "features": (game.n_features, game.features), "horizon": 4, "n_states": None}
    args = {"population_info": info, "observation": "index", "mask_absent": False, "output_policy": "last"}
    args |= {"n_agents": 12, "n_actions": 5, "hidden_dim": 4, "identity": "none", "embedding_dim": 0}
    args |= {"population_dependent": False, "t_max": 10, "batch_size_run": 10}
    folder = tmp_path / "taxis"
    folder.mkdir()
    torch.manual_seed(0)
    ObservationMAC({"obs": {"vshape": game.n_parts}}, {}, SimpleNamespace(**args)).save_models(str(folder))
    return str(folder)


def test_the_uniform_policy_of_a_game_with_tables(told, quick, tmp_path):
    words = ["exploitability", *UNIFORM, "--episodes=40"]
    status, out, err = told(*words, "--out", str(tmp_path / "new"), *SMALL)
    assert (status, err) == (0, "")
    assert out.startswith("a_sis: N = 30, H = 3, A = 2, population others\nthe uniform policy, 40 episodes")
    assert (
        "lower bounds on exploitability E^i, over deviations that see their own state and the time\nmean over"
        in out
    )
    assert "gain by frozen flows of 100 episodes, whose own error counts:\n  mean over agents 0." in out
    assert "the highest of lower ends that hold for all types at once, that of u = " in out
    assert "  one agent an episode deviates (3.3% of all), started from what the others play" in out
    picture, values = (tmp_path / "new" / f"trained_response.{kind}" for kind in ("png", "json"))
    assert picture.read_bytes()[:4] == b"\x89PNG"
    found = json.loads(values.read_text())
    assert found["kind"] == "trained best response, a lower bound"
    assert len(found["curve"]["gain"]) == found["plan"]["n_batches"] == 10
    assert found["bound_on"].startswith("exploitability E^i")
    assert set(found["gain_max"]) == {"lower", "type"}  # the mean of a selected type says nothing
    known = found["known_answer"]
    assert known["mean"]["lower"] <= known["mean"]["estimate"] <= known["mean"]["upper"]
    assert known["mean_at_least"] == pytest.approx(found["gain_mean"]["lower"] / known["mean"]["upper"])
    assert found["exploitability_mean_lower_bound"] == max(0, found["gain_mean"]["lower"])
    assert [part["name"] for part in found["types"]] == ["u = -1", "u = +1"]
    assert f"at least {found['exploitability_mean_lower_bound']:.4g}" in out


def test_deviators_that_see_the_population_are_said_to_bound_no_exploitability(told, quick, tmp_path):
    words = ["exploitability", *UNIFORM, "--episodes=20", "--sees=population", "--out", str(tmp_path)]
    _, out, _ = told(*words, *SMALL)
    assert "lower bounds on what deviations gain that see the population, not on E^i" in out
    found = json.loads((tmp_path / "trained_response.json").read_text())
    assert "not on E^i" in found["bound_on"]
    assert not any("exploitability" in key for key in found)
    assert found["settings"]["sees"] == "population"


def test_a_policy_of_a_game_without_tables(told, quick, taxis):
    words = ["--env-config=a_taxi", "--episodes=20"]
    status, out, err = told("exploitability", taxis, "--trained", "--start=uniform", *words, *TAXI)
    assert (status, err) == (0, "")
    assert "started from the uniform policy" in out
    assert "known answer: none" in out
    assert out.rstrip().endswith("trained_response.png")
    status, out, err = told("exploitability", taxis, "--trained", "--json", *words, *TAXI)
    assert (status, err) == (0, "")
    assert json.loads(out)["settings"]["start"] == "frozen"
    status, _, err = told("exploitability", taxis, *words, *TAXI)
    assert status == 2
    assert err.count("\n") == 1
    assert "only a lower bound exists, by a trained best response: add --trained" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (UNIFORM[:2], "uniform: name the game"),
        (
            [*UNIFORM, "--budget=100"],
            "--budget=100: at least 81920 steps",
        ),
        (
            [*UNIFORM, "--start=random"],
            "--start=random: choose frozen or",
        ),
        ([*UNIFORM, "--sees=all"], "--sees=all: choose own_state or population"),
        (["somewhere", "--sees=population"], "--sees=population: is of trained best responses"),
        ([*UNIFORM, "--episodes=3"], "--episodes=3: at least 8"),
        (["somewhere", "--budget=100000"], "--budget=100000: is of trained best responses, add --trained"),
        (["somewhere", "--trained"], "path=somewhere: holds no policy.th"),
    ],
)
def test_what_is_refused(told, words, complaint):
    status, out, err = told("exploitability", *words)
    assert (status, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_another_policy_or_another_game_is_refused_before_anything_is_written(told, taxis, tmp_path):
    new = tmp_path / "new"
    words = ["exploitability", taxis, "--trained", "--env-config=a_taxi", "--out", str(new)]
    _, _, err = told(*words, "--policy=average", *TAXI)
    assert "--policy=average: choose one of last" in err
    _, _, err = told(*words, *TAXI, "env_args.observe_density=True")
    assert "observations of 67 numbers, those of this game have 72" in err
    assert not new.exists()
