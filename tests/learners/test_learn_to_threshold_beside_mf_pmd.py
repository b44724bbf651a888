"""What mf_pmd is compared with learns too: ipmd from its own trajectories, the oracles from the tables.

Numbers are exploitabilities of the last test, in reward units summed over the horizon. About three minutes on
two cores.
"""

import json
import statistics

import pytest

from mf_pmd.host import run

pytestmark = pytest.mark.slow


@pytest.fixture
def learn(configure, capsys):
    """The last value of every metric of a run."""

    def train(alg, env, seed, *words):
        result = run.train(configure(alg, env, f"seed={seed}", "save_model=False", *words))
        metrics = json.loads((result.results_dir / "metrics.json").read_text())
        values = {key: series["values"][-1] for key, series in metrics.items()}
        shown = {key: round(value, 4) for key, value in values.items() if "exploitability" in key}
        with capsys.disabled():
            print(f"\n{alg} {env} seed {seed} {' '.join(words)}: {shown}")
        return values

    return train


@pytest.mark.parametrize("env", ["a_sis", "a_rps"])
def test_at_the_same_trajectories_sharing_is_worth_twice_and_more(learn, env):
    key = "test_mean_field_exploitability_tail"
    seeds, rare = (1, 2, 3), ["test_interval=100000"]
    medians = {
        alg: statistics.median(learn(alg, env, seed, *rare)[key] for seed in seeds)
        for alg in ("ipmd", "mf_pmd_tabular")
    }
    assert medians["ipmd"] >= 2 * medians["mf_pmd_tabular"]


@pytest.mark.parametrize("seed", [1, 2])
def test_with_twenty_times_the_trajectories_ipmd_suits_every_agent(learn, seed):
    sizes = [f"{key}=200" for key in ("batch_size_run", "batch_size", "buffer_size", "test_nepisode")]
    words = [*sizes, "env_args.n_agents=200", "t_max=160000", "test_interval=160000"]
    found = learn("ipmd", "a_sis", seed, *words)
    assert found["test_mean_field_exploitability_tail"] < 0.2  # from 1.495
    # one policy for all leaves .45 and more, whatever trains it
    assert found["test_exploitability_mean_upper"] < 0.2


# bound on the default run and on one of 200 iterations, which an oracle's last iterate must keep
BOUNDS = {"omd": (0.03, 0.005), "fictitious_play": (0.06, 0.015)}


@pytest.mark.parametrize("alg", BOUNDS)
def test_oracles_solve_a_monotone_game(learn, alg):
    default, long = BOUNDS[alg]
    key = "test_mean_field_exploitability_last"
    assert learn(alg, "a_beach", 1, "test_interval=10000")[key] < default  # from 4.033
    # equal agents: what solves the mean field is, up to 1 / sqrt N, an equilibrium of theirs
    words = ["eps=0.0", "eps_beta=0.0", "n_agents=500"]
    found = learn(
        alg, "a_beach", 1, "t_max=40000", "test_interval=40000", *(f"env_args.{word}" for word in words)
    )
    assert found[key] < long
    assert found["test_exploitability_mean"] < 0.05
