"""Every algorithm learns every game, with the defaults: seeds 1 to 5, median and worst.

The numbers are mean-field exploitabilities of the policy returned (its ``tail``), in reward units summed over
the horizon. About fifteen minutes in all on one core, a third of them the small town's.
"""

import json
import statistics

import pytest

from mf_pmd.host import run

pytestmark = pytest.mark.slow
SEEDS = range(1, 6)
FINAL = "test_mean_field_exploitability_tail"
PLAYED = "test_mean_field_exploitability"


@pytest.fixture
def learn(configure):
    """The tests of one run: environment steps, and the exploitability of the policy returned."""

    def train(alg, env, seed, *words):
        result = run.train(configure(alg, env, f"seed={seed}", "save_model=False", *words))
        metrics = json.loads((result.results_dir / "metrics.json").read_text())
        assert metrics[PLAYED]["steps"] == metrics[FINAL]["steps"]
        assert metrics[FINAL]["steps"][-1] == result.t_env
        return metrics[FINAL]["steps"], metrics[FINAL]["values"], metrics[PLAYED]["values"]

    return train


# uniform policy, bound on the worst of five, whether every test of the last quarter keeps it too
BOUNDS = {
    ("mf_pmd_tabular", "a_sis"): (1.495, 0.13, False),
    ("mf_pmd_tabular", "a_rps"): (0.283, 0.05, False),
    ("mf_pmd_tabular", "a_beach"): (4.033, 0.12, False),
    ("mf_pmd_tabular", "taxi_lite"): (1.843, 0.03 * 1.843, False),
    ("mf_pmd", "a_sis"): (1.495, 0.15, True),
    ("mf_pmd", "a_rps"): (0.283, 0.06, False),
    ("mf_pmd", "a_beach"): (4.033, 0.25, False),
}


@pytest.mark.parametrize(("alg", "env"), BOUNDS)
def test_defaults_reach_the_bound(learn, capsys, alg, env):
    uniform, bound, stays = BOUNDS[alg, env]
    finals, lates = [], []
    for seed in SEEDS:
        steps, values, played = learn(alg, env, seed)
        assert steps[0] == 0
        assert values[0] == pytest.approx(uniform, abs=1e-3)
        assert played[-1] < values[-1] + 0.05  # what was seen to play is what was scored
        finals.append(values[-1])
        lates.append(max(v for t, v in zip(steps, values, strict=True) if t >= 0.75 * steps[-1]))
    with capsys.disabled():
        print(
            f"\n{alg} {env}: median {statistics.median(finals):.4f}, worst {max(finals):.4f} of "
            f"{[round(value, 4) for value in finals]}; worst in the last quarter {max(lates):.4f}"
        )
    assert statistics.median(finals) <= bound
    assert max(finals) <= bound
    if stays:
        assert max(lates) <= bound


def test_networks_reach_a_tenth_of_the_uniform_policy_on_the_small_town(learn, capsys):
    # one seed of 300 epochs: half of the time of this file; benchmarks/learning.py runs others
    _, values, _ = learn("mf_pmd", "taxi_lite", 2)
    with capsys.disabled():
        print(f"\nmf_pmd taxi_lite: {values[-1]:.4f}, worst in the last quarter {max(values[-3:]):.4f}")
    assert values[0] == pytest.approx(1.843, abs=1e-3)
    assert max(values[-3:]) <= 0.1 * values[0]


# nothing is tuned to the defaults: other sizes, and games that are exactly symmetric
ELSEWHERE = {
    "symmetric a_sis": ("a_sis", ["eps=0.0", "eps_beta=0.0", "n_agents=300"]),
    "larger spread": ("a_sis", ["eps=0.2", "eps_beta=0.6", "horizon=15"]),
    "7 sites, 12 steps": ("a_beach", ["n_sites=7", "horizon=12", "n_agents=301"]),
    "symmetric a_beach": ("a_beach", ["eps=0.0", "eps_beta=0.0", "n_agents=300"]),
}


@pytest.mark.parametrize("alg", ["mf_pmd_tabular", "mf_pmd"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_games_reach_a_tenth_of_the_uniform_policy(learn, capsys, alg, name):
    env, words = ELSEWHERE[name]
    _, values, _ = learn(alg, env, 1, *(f"env_args.{word}" for word in words))
    with capsys.disabled():
        print(f"\n{alg} {name}: {values[0]:.4f} -> {values[-1]:.4f} ({values[-1] / values[0]:.1%})")
    assert values[-1] <= 0.1 * values[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_deep_sets_learn_what_cells_do(learn, capsys, seed):
    words = ["agent=deep_set_network", "env_args.n_agents=200", "test_interval=8000"]
    _, values, _ = learn("mf_pmd", "a_sis", seed, *words)
    with capsys.disabled():
        print(f"\nmf_pmd deep sets a_sis, seed {seed}: {values[0]:.4f} -> {values[-1]:.4f}")
    assert values[-1] <= 0.15  # single returns of lambda near 1, or a policy half fitted, stay above .2


@pytest.mark.parametrize("seed", [1, 2])
def test_taxis_that_no_table_holds_learn_to_drive(configure, seed):
    words = ["env_args.n_agents=50", "env_args.horizon=64", "t_max=9600", "test_interval=9600"]
    result = run.train(configure("mf_pmd", "a_taxi", f"seed={seed}", "save_model=False", *words))
    returns = json.loads((result.results_dir / "metrics.json").read_text())
    assert returns["return_mean"]["values"][-1] > 5 * returns["return_mean"]["values"][0]
    assert returns["test_return_mean"]["values"][-1] > 3 * returns["test_return_mean"]["values"][0]
