"""mf_ppo on games that are solved exactly: seeds 1 to 3, the worst, at the last test.

The numbers are mean-field exploitabilities of the population-average policy seen to play, in reward units
summed over the horizon. PPO promises no equilibrium: it is held to having learnt.
"""

import json

import pytest

from mf_pmd.host import run

pytestmark = pytest.mark.slow
PLAYED = "test_mean_field_exploitability"
# uniform policy, bound on the worst of three seeds, environment steps
BOUNDS = {
    "taxi_lite": (1.843, 0.184, 18000),  # a tenth of the uniform policy's, in 60 epochs
    "a_sis": (1.495, 0.5, 8000),
    "a_beach": (4.033, 0.3, 10000),
}


@pytest.mark.parametrize("env", BOUNDS)
def test_defaults_reach_the_bound(configure, capsys, env):
    uniform, bound, t_max = BOUNDS[env]
    finals, gains = [], []
    for seed in (1, 2, 3):
        # the first test and the last
        words = [f"seed={seed}", f"t_max={t_max}", "save_model=False", "test_interval=1000000"]
        result = run.train(configure("mf_ppo", env, *words))
        metrics = json.loads((result.results_dir / "metrics.json").read_text())
        values, returns = (metrics[key]["values"] for key in (PLAYED, "test_return_mean"))
        assert values[0] == pytest.approx(uniform, abs=0.02)
        finals.append(values[-1])
        gains.append(returns[-1] - returns[0])
    with capsys.disabled():
        print(f"\nmf_ppo {env}: {[round(value, 4) for value in finals]}, return gained {gains}")
    assert max(finals) <= bound
