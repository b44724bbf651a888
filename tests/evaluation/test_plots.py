"""The pictures of a comparison: which are drawn, and what is in them."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from mf_pmd.evaluation import plots, tables

MEAN_FIELD = "test_mean_field_exploitability"


@pytest.fixture
def figure(monkeypatch):
    """The figures that are saved, by the name of their file, kept open to be looked into."""
    kept = {}

    def keep(figure, file):
        kept[file.name] = figure
        return file

    monkeypatch.setattr(plots, "save", keep)
    yield kept
    plt.close("all")


@pytest.fixture
def groups(tmp_path, write_run, read_runs):
    def make(algorithms=("mf_pmd", "ippo"), games=("a_sis", "a_rps"), seeds=3, metrics=None):
        made = []
        for game in games:
            for algorithm in algorithms:
                root = tmp_path / "runs" / f"{game}-{algorithm}"
                for seed in range(seeds):
                    values = {key: np.array(v) + 0.01 * seed for key, v in (metrics or {}).items()}
                    values = {key: v.tolist() for key, v in values.items()} or None
                    write_run(root, algorithm=algorithm, game=game, seed=seed, metrics=values)
                made.append(tables.Group(game, algorithm, read_runs(root), seeds))
        return made

    return make


def test_everything_is_drawn_of_full_runs(groups, tmp_path):
    metrics = {MEAN_FIELD: [1.5, 1, 0.1], tables.MEAN: [1.5, 1, -0.2], "test_return_mean": [1, 2, 3]}
    drawn = plots.draw(groups(metrics=metrics), tmp_path)
    assert [file.name for file in drawn] == [
        "curves.png",
        "exploitability.png",
        "return.png",
        "wall_time.png",
    ]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)


def test_runs_without_exploitability_get_returns_alone(groups, tmp_path, figure):
    drawn = plots.draw(groups(metrics={"test_return_mean": [1, 2, 3]}), tmp_path)
    assert [file.name for file in drawn] == ["curves.png", "return.png", "wall_time.png"]
    assert [axes.get_yscale() for axes in figure["curves.png"].axes] == ["linear", "linear"]


@pytest.mark.parametrize("seeds", [1, 3])
def test_curves_have_their_mean_and_a_band_where_there_is_an_interval(groups, tmp_path, figure, seeds):
    metrics = {MEAN_FIELD: [1.5, 1.0, 0.1], tables.UNIFORM: [1.49, 1.49, 1.49]}
    plots.draw(groups(("mf_pmd",), ("a_sis",), seeds, metrics), tmp_path)
    (axes,) = figure["curves.png"].axes
    curve, uniform = axes.lines
    np.testing.assert_allclose(curve.get_ydata(), np.array([1.5, 1.0, 0.1]) + 0.01 * (seeds - 1) / 2)
    assert curve.get_xdata().tolist() == [0, 100, 200]
    assert uniform.get_ydata()[0] == 1.49
    assert axes.get_yscale() == "log"
    assert len(axes.collections) == (1 if seeds == 3 else 0)


def test_gaps_do_not_end_a_curve(groups, tmp_path, figure):
    (group,) = groups(("mf_pmd",), ("a_sis",), 1, {MEAN_FIELD: [1.5, np.nan, 0.1]})
    plots.draw([group], tmp_path)
    (curve,) = figure["curves.png"].axes[0].lines
    assert curve.get_ydata().tolist() == [1.5, 0.1]


def test_an_algorithm_looks_the_same_everywhere_and_like_no_other(groups, tmp_path, figure):
    names = [f"alg{place}" for place in range(16)]
    made = groups(names, ("a_sis", "a_rps"), 1)
    looks = plots.looks_of(made)
    assert len(set(looks.values())) == len(names)
    assert looks == plots.looks_of(made[::-1])
    plots.draw(made, tmp_path)
    for axes in figure["curves.png"].axes:
        drawn = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
        assert drawn == [(look.colour, look.dashes) for look in looks.values()]


def test_too_weak_deviators_are_hollow(groups, tmp_path, figure):
    metrics = {MEAN_FIELD: [1, 1, 0.1], tables.MEAN: [1, 1, 0.01], tables.TOO_WEAK: [0, 0, 1]}
    plots.draw(groups(("mf_pmd",), ("a_sis",), 1, metrics), tmp_path)
    styles = {line.get_marker(): line.get_fillstyle() for line in figure["exploitability.png"].axes[0].lines}
    assert (styles["o"], styles["s"]) == ("full", "none")


def test_wall_times_of_one_size_have_an_axis_from_zero(groups, tmp_path, figure, write_run, read_runs):
    plots.draw(groups(), tmp_path)
    assert {(axes.get_xscale(), axes.get_xlim()[0]) for axes in figure["wall_time.png"].axes} == {
        ("linear", 0)
    }
    write_run(tmp_path / "a", seconds=0)
    write_run(tmp_path / "b", algorithm="ippo", seconds=50)
    apart = [tables.Group("a_sis", name, read_runs(tmp_path / name), 1) for name in ("a", "b")]
    plots.draw(apart, tmp_path)
    assert {axes.get_xscale() for axes in figure["wall_time.png"].axes} == {"log"}


def test_returns_of_two_kinds_refer_to_the_table(tmp_path, write_run, read_runs, figure):
    made = []
    for algorithm, common in (("maa2c", False), ("qmix", True)):
        metrics = {"test_return_mean": [1.0, 2.0, 3.0]}
        root = tmp_path / algorithm
        write_run(root, algorithm=algorithm, runner="episode", common_reward=common, metrics=metrics)
        made.append(tables.Group("a_sis", algorithm, read_runs(root), 1))
    plots.draw(made, tmp_path)
    both = "mean over agents or sum over agents (table.md says which)"
    assert both in figure["curves.png"].axes[0].get_ylabel()
    assert both in figure["return.png"].axes[0].get_xlabel()
    plots.draw(made[:1], tmp_path)
    assert "table.md" not in figure["curves.png"].axes[0].get_ylabel()
