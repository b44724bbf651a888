"""The pictures of a run, from files written by hand."""

import json

import numpy as np
import pytest
from matplotlib import pyplot as plt

from mf_pmd.evaluation import figures

KEY = "test_mean_field_exploitability"


@pytest.fixture
def folder(tmp_path):
    metrics = {
        KEY: {"steps": [0, 200, 400], "values": [1.5, None, 0.1], "timestamps": ["", "", ""]},
        "test_return_mean": {"steps": [0, 400], "values": [10.0, {"value": 12.5}], "timestamps": ["", ""]},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    config = {"name": "mf_pmd", "seed": 3, "env_args": {"key": "a_sis", "n_agents": 50}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize("n_states", [2, 7])
def test_both_pictures_are_drawn(folder, n_states):
    nu = np.full((5, n_states), 1 / n_states)
    np.savez(folder / "population.npz", population_first=nu, population_last=nu)
    drawn = figures.draw(folder)
    assert [picture.name for picture in drawn] == ["exploitability.png", "population.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in drawn)


def test_the_policy_is_drawn_where_it_was_kept(folder):
    nu, policy = np.full((5, 2), 0.5), np.full((4, 2, 5), 0.2)
    np.savez(folder / "population.npz", population_last=nu, policy_last=policy)
    assert [picture.name for picture in figures.draw(folder)][-1] == "policy.png"


def test_a_run_without_a_population_has_one_picture(folder):
    assert [picture.name for picture in figures.draw(folder)] == ["exploitability.png"]


def test_an_empty_folder_has_none(tmp_path):
    assert figures.draw(tmp_path) == []


def test_curves_keep_their_gaps(folder):
    metrics = figures.read_metrics(folder / "metrics.json")
    steps, values = metrics[KEY]
    assert steps.tolist() == [0, 200, 400]
    assert np.isnan(values[1])
    assert values[[0, 2]].tolist() == [1.5, 0.1]
    assert metrics["test_return_mean"][1].tolist() == [10.0, 12.5]


def test_the_title_says_what_was_run(folder):
    assert figures.run_title(folder) == "mf_pmd on a_sis, N = 50, seed 3"


def test_states_go_by_their_names(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(figures, "draw_lines", lambda axes, panels, names: seen.extend(names))
    nu = np.full((3, 2), 0.5)
    figures.draw_population(
        {"population_last": nu, "state_names": np.array(["well", "ill"])}, "", folder / "population.png"
    )
    assert seen == ["well", "ill"]


def test_a_game_without_an_exploitability_has_its_return_drawn(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics[KEY]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert [picture.name for picture in figures.draw(folder)] == ["return.png"]


def test_the_population_is_drawn_on_its_map(folder, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        figures,
        "draw_grid",
        lambda figure, densities, labels, steps, regions: drawn.update(
            labels=labels, steps=steps, regions=regions, shape=densities[1].shape
        ),
    )
    nu = np.full((9, 4), 0.25)
    arrays = {"population_first": nu, "population_last": nu, "map_regions": np.array([[0, 1], [0, 1]])}
    arrays |= {f"map_{name}": nu.reshape(9, 2, 2) for name in ("first", "last")}
    np.savez(folder / "population.npz", **arrays)
    names = [picture.name for picture in figures.draw(folder)]
    assert names == ["exploitability.png", "population.png", "map.png"]
    assert drawn["labels"] == ["first policy", "last policy"]
    assert drawn["steps"] == [0, 1, 2, 4, 8]
    assert drawn["regions"] == ((0, 1), (0, 1))
    assert drawn["shape"] == (9, 2, 2)


def test_actions_go_by_their_names():
    policy = np.full((3, 6, 2), 0.5)
    for actions, titles in (((), ["action 0", "action 1"]), (("wait", "go"), ["wait", "go"])):
        figure = figures.policy_figure(policy, figures.Names((), actions), "")
        assert [panel.get_title() for panel in figure.axes[:2]] == titles
        plt.close(figure)


@pytest.mark.parametrize(("n_states", "named"), [(6, 6), (9, 9), (25, 9), (117, 9)])
def test_an_axis_names_as_many_states_as_can_be_read(n_states, named):
    names = tuple(f"place {state}" for state in range(n_states))
    figure = figures.population_figure([("", np.ones((3, n_states)))], names, "", largest=1.0, size=(4, 3))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    apart = -(-n_states // 9)
    assert labels == list(names[::apart])
    assert len(labels) == named
    plt.close(figure)
