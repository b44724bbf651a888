"""The comparison table: what its cells say, and what they refuse to say."""

import csv
import io

import pytest

from mf_pmd.evaluation import tables

MEAN_FIELD = "test_mean_field_exploitability"


@pytest.fixture
def group(tmp_path, write_run, read_runs):
    """A group with one run for each dict of metrics' last values."""

    def make(*lasts, algorithm="mf_pmd", of=None, game="a_sis", **settings):
        root = tmp_path / algorithm / game
        for seed, last in enumerate(lasts, 1):
            metrics = {key: [1.5, 1.0, value] for key, value in last.items()}
            write_run(root, algorithm=algorithm, game=game, seed=seed, metrics=metrics, **settings)
        return tables.Group(game, algorithm, read_runs(root), of or len(lasts))

    return make


def bracketed(value, **more):
    ends = {f"{tables.MEAN}_lower": value - 0.1, f"{tables.MEAN}_upper": value + 0.2}
    return {tables.MEAN: value, **ends, tables.TOO_WEAK: 0.0, **more}


def cells(text, algorithm):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {algorithm} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_cell_has_the_mean_and_its_interval(group):
    found = group(*({MEAN_FIELD: value} for value in (0.1, 0.2, 0.6)))
    text = tables.markdown([found], ["A note."], "Title")
    assert text.startswith("# Title\n\n## a_sis\n")
    assert cells(text, "mf_pmd")[:3] == ["mf_pmd", "3", "0.300 [0.100, 0.600]"]
    assert "- A note." in text
    assert "fewer than four seeds the interquartile mean is the mean" in text


def test_two_seeds_have_no_interval_and_the_table_says_so(group):
    text = tables.markdown([group({MEAN_FIELD: 0.1}, {MEAN_FIELD: 0.3})], [], "")
    assert cells(text, "mf_pmd")[2] == "0.200"
    assert "One or two seeds allow no interval" in text


def test_many_seeds_need_no_excuse(group):
    text = tables.markdown([group(*({MEAN_FIELD: 0.1 * k} for k in range(1, 9)))], [], "")
    assert cells(text, "mf_pmd")[2].startswith("0.450 [")
    for excuse in ("allow no interval", "is the mean", "leave the range"):
        assert excuse not in text


def test_every_cell_says_how_many_seeds_it_holds(group):
    whole = group(*({MEAN_FIELD: 0.1, "test_return_mean": 1.0} for _ in range(3)))
    part = group({MEAN_FIELD: 0.1, "test_return_mean": 1.0}, {MEAN_FIELD: 0.3}, algorithm="ippo", of=3)
    text = tables.markdown([whole, part], [], "")
    assert cells(text, "ippo")[1:4] == ["2 of 3", "0.200 (2 of 3)", "1.000 (1 of 3)"]
    assert "of 3)" not in " ".join(cells(text, "mf_pmd"))


def test_a_value_that_is_not_finite_is_not_held(group):
    found = group({MEAN_FIELD: 0.1}, {MEAN_FIELD: None}, {MEAN_FIELD: 0.3})
    assert cells(tables.markdown([found], [], ""), "mf_pmd")[2] == "0.200 (2 of 3)"


def test_brackets_are_those_of_the_runs(group):
    text = tables.markdown([group(bracketed(0.5), bracketed(0.7))], [], "")
    assert cells(text, "mf_pmd")[2:4] == ["0.600", "0.500 to 0.800"]
    assert tables.MARK not in text


def test_too_weak_deviators_are_marked_and_counted(group):
    weak = bracketed(0.001, **{tables.TOO_WEAK: 1.0})
    found = group(bracketed(0.001), weak, weak)
    text = tables.markdown([found], [], "")
    assert f"{tables.MARK} 2 of 3 too weak" in cells(text, "mf_pmd")[2]
    assert "says nothing about how exploitable" in text


def test_what_nobody_logged_has_no_column(group):
    text = tables.markdown([group({"test_return_mean": 3.0})], [], "")
    assert "exploitability |" not in text
    assert "peak memory" not in text
    assert "test return" in text


def test_what_one_algorithm_lacks_is_a_dash(group):
    text = tables.markdown(
        [group({MEAN_FIELD: 0.1}), group({"test_return_mean": 1.0}, algorithm="vdn")], [], ""
    )
    assert cells(text, "vdn")[2] == tables.DASH
    assert cells(text, "mf_pmd")[3] == tables.DASH


def test_an_algorithm_without_runs_keeps_its_line(group):
    nothing = tables.Group("a_sis", "ippo", [], 3)
    text = tables.markdown([group({MEAN_FIELD: 0.1}), nothing], [], "")
    assert cells(text, "ippo")[1:3] == ["0 of 3", tables.DASH]


def test_unequal_steps_are_told(group, tmp_path, write_run, read_runs):
    assert "200 environment steps." in tables.markdown([group({MEAN_FIELD: 0.1})], [], "")
    series = {"steps": [0, 300], "values": [1.0, 0.5]}
    write_run(tmp_path / "other", algorithm="ippo", metrics={MEAN_FIELD: series})
    longer = tables.Group("a_sis", "ippo", read_runs(tmp_path / "other"), 1)
    text = tables.markdown([group({MEAN_FIELD: 0.1}, algorithm="iql"), longer], [], "")
    assert "Environment steps are NOT equal: iql 200, ippo 300." in text


def test_where_returns_are_of_two_kinds_every_row_says_which(group):
    lone = group({"test_return_mean": 12.0}, algorithm="maa2c", runner="episode")
    team = group({"test_return_mean": 24.0}, algorithm="qmix", runner="episode", common_reward=True)
    without = group({MEAN_FIELD: 0.1}, algorithm="mf_pmd")
    text = tables.markdown([lone, team, without], [], "")
    assert cells(text, "maa2c")[-2] == "12.000 (mean over agents)"
    assert cells(text, "qmix")[-2] == "24.000 (sum over agents)"
    assert cells(text, "mf_pmd")[-2] == tables.DASH
    assert "Returns are NOT of one kind" in text
    rows = csv.DictReader(io.StringIO(tables.as_csv([lone, team])))
    kinds = {row["algorithm"]: row["kind"] for row in rows if row["metric"] == tables.RETURN}
    assert kinds == {"maa2c": "mean over agents", "qmix": "sum over agents"}
    alone = tables.markdown([team], [], "")
    assert cells(alone, "qmix")[2] == "24.000"
    assert "- Returns: sum over agents." in alone


def test_steps_beyond_t_max_are_told(group):
    beyond, asked = group({MEAN_FIELD: 0.1}, t_max=80), group({MEAN_FIELD: 0.1}, algorithm="ippo", t_max=200)
    text = tables.markdown([beyond, asked], [], "")
    assert "whole batch of episodes, at or beyond t_max: mf_pmd on a_sis played 200 of 80 steps." in text
    assert "beyond t_max" not in tables.markdown([asked], [], "")


def test_the_uniform_policy_is_told(group):
    text = tables.markdown([group({MEAN_FIELD: 0.1, tables.UNIFORM: 1.4952})], [], "")
    assert "uniform policy's mean-field exploitability is 1.495." in text


def test_costs_are_read_from_all_over_the_run(group):
    found = group({MEAN_FIELD: 0.1, tables.SPEED: 9.0}, seconds=3, process={"peak_rss_mib": 512.0})
    assert found.values[tables.SPEED] == [1.5]  # the median of 1.5, 1.0, 9.0
    assert found.values[tables.SECONDS] == [3.5]
    assert found.values[tables.MEMORY] == [512.0]


def test_csv_has_every_number_unrounded(group):
    lasts = [bracketed(v, **{f"{tables.MEAN}_played": v / 3}) for v in (0.1, 0.2, 0.4)]
    text = tables.as_csv([group(*lasts, of=5)])
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(text))}
    row = rows[tables.MEAN]
    assert float(row["iqm"]) == pytest.approx(0.7 / 3)
    assert (float(row["low"]), float(row["high"])) == pytest.approx((0.1, 0.4))
    assert (row["seeds_held"], row["seeds"], row["runs_too_weak"]) == ("3", "5", "0")
    assert row["run_values"] == "0.1 0.2 0.4"
    assert f"{tables.MEAN}_played" in rows
    assert rows[tables.STEPS]["iqm"] == "200.0"


def test_csv_of_one_seed_has_empty_ends(group):
    row = next(csv.DictReader(io.StringIO(tables.as_csv([group({MEAN_FIELD: 0.1})]))))
    assert (row["low"], row["high"]) == ("", "")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0123, 0, "0.012"),
        (-0.2, 0, "-0.200"),
        (12.3456, 0, "12.346"),
        (1234.5, 0, "1234"),
        (39.385, 3, "39.4"),
        (1234.0, 3, "1234"),
        (19300.0, 3, "19.3 k"),
        (1.283e6, 3, "1.28 M"),
        (float("nan"), 0, tables.DASH),
    ],
)
def test_numbers(value, digits, text):
    assert tables.number(value, digits=digits) == text
