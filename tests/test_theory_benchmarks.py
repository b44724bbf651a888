"""The experiments on the theorems: their arithmetic, that each runs, and, slowly, the laws they show."""

import importlib
import itertools
import math
import sys
from pathlib import Path

import pytest
import torch

from mf_pmd.functional.cells import cell_statistics
from mf_pmd.functional.td_targets import paper_learning_rate, td_step
from mf_pmd.games import check_game

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
FOLDERS = (BENCHMARKS / "theory", BENCHMARKS)


@pytest.fixture
def module(monkeypatch):
    """Import a module of benchmarks/theory as its scripts do, and leave no trace of it."""
    threads, known, path = torch.get_num_threads(), set(sys.modules), list(sys.path)
    monkeypatch.syspath_prepend(str(BENCHMARKS / "theory"))
    importlib.import_module("common")
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent in FOLDERS:
            del sys.modules[name]
    sys.path[:] = path
    torch.set_num_threads(threads)


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The arithmetic of slopes.


def test_the_slope_of_an_exact_power_law(module):
    slopes = module("slopes")
    x = [1.0, 3.0, 10.0, 100.0]
    fit = slopes.fitted_slope(x, torch.tensor([[5 * place**-0.7 for place in x]], dtype=torch.float64))
    assert fit.value == pytest.approx(-0.7)
    assert math.exp(fit.intercept) == pytest.approx(5)
    assert math.isnan(fit.error)
    assert fit.at([10.0]) == pytest.approx([5 * 10**-0.7])


def test_the_error_of_a_slope_is_that_of_repetitions(module):
    # over 400 repetitions of 12 seeds the reported error must be what the slopes really spread by
    slopes = module("slopes")
    x = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    found = []
    for repetition in range(400):
        samples = x.pow(-1) * (0.3 * normal(repetition, 12, 3)).exp()
        found.append(slopes.fitted_slope(x.tolist(), samples))
    values, errors = (torch.tensor([getattr(fit, name) for fit in found]) for name in ("value", "error"))
    assert abs(values.mean() + 1) < 0.01
    assert errors.mean().item() == pytest.approx(values.std().item(), rel=0.15)


def test_places_that_are_not_clearly_positive_are_left_out(module):
    slopes = module("slopes")
    noise = normal(0, 10, 1)
    noise = noise - noise.mean()
    samples = torch.cat([torch.full((10, 2), 4.0), torch.full((10, 1), 1.0), 1e-3 + noise], 1).double()
    fit = slopes.fitted_slope([1, 1 + 1e-9, 2, 4], samples)
    assert fit.n_places == 3
    assert fit.value == pytest.approx(-2, abs=1e-6)
    assert math.isnan(slopes.fitted_slope([1, 2], samples[:, 2:]).value)
    chosen = slopes.fitted_slope([1, 2, 2.5, 4], samples, among=[True, False, True, True])
    assert chosen.n_places == 2


def test_the_jackknife_error_of_a_mean_is_its_standard_error(module):
    slopes = module("slopes")
    samples = normal(3, 9, 4)
    found = slopes.curve(samples)
    assert found.error.tolist() == pytest.approx((samples.std(0) / 3).tolist())


def test_the_squared_bias_holds_no_sampling_error(module):
    # |bias|^2 = 3 * .1^2, sampling variance 3; without the correction 5 seeds would read .03 + 3 / 5
    slopes = module("slopes")
    found = torch.stack([slopes.squared_bias(0.1 + normal(seed, 5, 1, 3)) for seed in range(4000)])
    assert abs(found.mean().item() - 0.03) < 4 * found.std().item() / math.sqrt(4000)
    assert slopes.squared_error(torch.full((2, 1, 3), 2.0)).tolist() == [12.0]


# What is exact.


@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize(
    ("key", "sizes"), [("a_rps", {"n_agents": 2}), ("a_beach", {"n_agents": 3, "n_sites": 3})]
)
def test_the_exact_gain_is_what_enumeration_finds(module, random_policy, key, sizes, population):
    common, equilibria, joint = (module(name) for name in ("common", "equilibria", "enumeration"))
    game = common.make_game(key, horizon=2, population=population, **sizes)
    policy = random_policy(7, 2, 3, 3)
    chain, n_agents = joint.JointGame(game), game.n_agents
    exact = [chain.exploitability(policy.expand(n_agents, -1, -1, -1), i) for i in range(n_agents)]
    found = equilibria.exact_gain(game, policy)
    assert found.mean == pytest.approx(sum(exact) / n_agents, abs=1e-6)
    assert found.largest == pytest.approx(max(exact), abs=1e-6)


@pytest.mark.parametrize("n_agents", [2, 4])
def test_the_closed_form_of_the_capacity_game_is_what_enumeration_finds(module, n_agents):
    script = module("exploitability_against_n")
    assert script.capacity_gain(n_agents) == pytest.approx(script.enumerated(n_agents), abs=1e-9)


def test_the_capacity_game_owes_nothing(module):
    special = module("special_games")
    report = check_game(special.CapacityGame(n_agents=20, horizon=3))
    assert all(finding.passed for finding in report.findings), report


def test_algorithm_one_is_the_learners(module):
    common, learning = module("common"), module("td_learning")
    policy = learning.random_policy(common.make_game("a_sis", n_agents=5, horizon=3), spread=1.0)

    def make(seed):
        return common.make_game("a_sis", seed=seed, n_agents=5, horizon=3)

    episodes = learning.play_episodes(make, policy, counts=(4, 9), seeds=2)
    found = learning.algorithm_one(episodes, policy, tau=0.1, delta=0.2, counts=(4, 9))
    for seed in range(2):
        q_values = torch.zeros_like(policy)
        for m in range(9):
            episode = cell_statistics(
                *(field[m : m + 1, :, seed : seed + 1] for field in episodes.first),
                n_states=2,
                n_actions=2,
                count_next_cells=True,
                dtype=torch.float64,
            )
            rate = torch.full_like(q_values, paper_learning_rate(m, 0.2))
            q_values = td_step(q_values, episode, policy.log(), tau=0.1, learning_rate=rate, expected=False)
            if m + 1 in (4, 9):
                torch.testing.assert_close(found[seed, (4, 9).index(m + 1)], q_values)
    assert episodes.pooled[0][0].visits.sum() == 4 * 3 * 5
    assert episodes.pooled[1][1].visits.sum() == 9 * 3 * 5


def test_the_limits_of_td(module):
    common, learning = module("common"), module("td_learning")
    symmetric = common.make_game("a_sis", n_agents=6, horizon=4, eps=0.0, eps_beta=0.0)
    policy = learning.random_policy(symmetric, spread=1.0)
    exact = learning.exact_q(symmetric, policy, tau=0.1)
    for limit in learning.limit_q(symmetric, policy, tau=0.1):
        torch.testing.assert_close(limit, exact.q_values)
    dearer = common.make_game("a_sis", n_agents=6, horizon=1, eps=0.0, eps_beta=0.3)
    policy = policy[:1]
    exact = learning.exact_q(dearer, policy, tau=0.0)
    one, pooled = learning.limit_q(dearer, policy, tau=0.0)
    torch.testing.assert_close(pooled, exact.q_values)  # personal costs cancel
    assert (exact.q_values - one)[0, 0, 1].item() == pytest.approx(dearer.constants.beta)  # agent 1's do not


# That each script runs.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "pictures", "words"),
    [
        ("td_error", ["td_error.png"], []),
        ("exploitability_against_n", ["exploitability_against_n.png"], []),
        ("epochs", ["epochs.png"], ["--epochs", "3", "--long", "3"]),
        ("symm_against_ipmd", ["symm_against_ipmd.png"], ["--epochs", "2"]),
        ("symm_against_ipmd", ["symm_against_ipmd_literal.png"], ["--epochs", "1", "--literal"]),
    ],
)
def test_each_script_prints_its_table_and_draws_its_figure(module, capsys, tmp_path, script, pictures, words):
    assert module(script).main(["--quick", "--out", str(tmp_path), *words]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == pictures
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| ") for line in lines) > 3


def test_too_few_seeds_are_refused(module, capsys, tmp_path):
    with pytest.raises(SystemExit):
        module("td_error").main(["--quick", "--seeds", "2", "--out", str(tmp_path)])
    assert "--seeds=2" in capsys.readouterr().err


# The laws, by regimes in which they must hold.


@pytest.mark.slow
def test_the_error_of_td_falls_as_one_over_the_episodes(module):
    common, script = module("common"), module("td_error")
    options = common.options_of(
        "", ["--out", "."], agents=(200, 0, ""), episodes=(3000, 0, ""), seeds=(12, 0, "")
    )
    alone, pooled, with_floor, with_small_floor = script.against_episodes(options)
    for line in (alone, pooled):
        assert -1.3 < line.slope.value < -0.7, (line.label, str(line.slope))
    # asymmetry leaves agent 1 at its floor, which is the limit computed exactly; pooling has next to none
    assert with_floor.curve.value[-1].item() == pytest.approx(with_floor.limits[-1], rel=0.15)
    assert with_small_floor.curve.value[-1] < 1e-3 * with_floor.curve.value[-1]


@pytest.mark.slow
def test_the_floor_of_td_falls_as_the_laws_of_n_and_of_asymmetry_say(module):
    common, script = module("common"), module("td_error")
    sizes = {"sizes": ((4, 8, 16, 32), 0, ""), "episodes": (4000, 0, ""), "seeds": (12, 0, "")}
    options = common.options_of("", ["--out", "."], few=(100, 0, ""), **sizes)
    _, kinked, smooth = script.against_agents(options)
    assert -1.35 < kinked.slope.value < -0.85  # 1/n with n = N - 1, a little steeper in N
    assert smooth.slope.value < -1.6
    for which in ("eps", "eps_beta"):
        alone, pooled, one_sided = script.against_asymmetry(options, which)
        assert 1.7 < alone.slope.value < 2.3
        assert 1.7 < one_sided.slope.value < 2.3
        if which == "eps":
            assert pooled.slope.value > 3.3
        else:
            assert (pooled.curve.value < 4 * pooled.curve.error + 1e-9).all()


@pytest.mark.slow
def test_deviating_is_worth_one_over_root_n_and_never_more_than_the_certificate(module, tmp_path):
    common, script = module("common"), module("exploitability_against_n")
    sizes = {"sizes": ((10, 100, 1000), 0, ""), "tiny": ((4,), 0, ""), "played": ((30, 100, 1000), 0, "")}
    more = {"seeds": (4, 0, ""), "episodes": (200, 0, ""), "iterations": (600, 0, "")}
    options = common.options_of("", ["--out", str(tmp_path)], **sizes, **more)
    closed, _, bracket, _, counting_itself, *_ = script.symmetric_against_agents(options)
    assert -0.6 < closed.slope.value < -0.45
    assert -0.6 < bracket.slope.value < -0.4
    assert -1.1 < counting_itself.slope.value < -0.9
    rows = script.certificates(options)
    assert all(row.largest <= row.bound for row in rows)
    assert any(row.bound < row.horizon and row.n_agents == 1000 for row in rows if row.game == "a_beach mild")


def test_the_first_step_of_the_papers_schedule_is_discarded(module):
    common, script = module("common"), module("epochs")
    game = common.make_game("a_sis", n_agents=2, horizon=3)
    first, second = itertools.islice(
        script.averages_of_exact_steps(game.mean_field_model(), tau=0.1, n_actions=2), 2
    )
    torch.testing.assert_close(first, torch.full_like(first, 0.5))  # w_0 = 1
    assert (second - first).abs().max() > 1e-3


@pytest.mark.slow
def test_exploitability_falls_about_as_the_fourth_root_of_the_epochs_until_tau_stops_it(module):
    script, slopes = module("epochs"), module("slopes")
    marks = [30, 100, 300]

    def slope(tau):
        found = script.exact("a_beach", tau=tau, marks=marks)
        return slopes.fitted_slope(marks, torch.tensor([found], dtype=torch.float64)).value

    assert -0.4 < slope(0.015) < -0.2
    assert -0.15 < slope(0.4) < 0
