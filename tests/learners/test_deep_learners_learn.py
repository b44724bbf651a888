"""mf_q, mf_ac and munchausen_omd on a game at its defaults: seeds 1 to 3, the worst, at the last test.

The numbers are mean-field exploitabilities of the population-average policy seen to play, in reward units
summed over the horizon. Equilibria are promised by munchausen_omd alone; the others are held to having
learnt.
"""

import json

import pytest

from mf_pmd.host import run

pytestmark = pytest.mark.slow
PLAYED = "test_mean_field_exploitability"
# uniform policy, bound on the worst of three seeds
BOUNDS = {
    ("munchausen_omd", "a_sis"): (1.495, 0.15),
    ("munchausen_omd", "a_rps"): (0.283, 0.09),
    ("munchausen_omd", "a_beach"): (4.033, 0.15),
    ("mf_q", "a_sis"): (1.495, 0.5),
    ("mf_ac", "a_sis"): (1.495, 0.75),
}


@pytest.mark.parametrize(("alg", "env"), BOUNDS)
def test_defaults_reach_the_bound(configure, capsys, alg, env):
    uniform, bound = BOUNDS[alg, env]
    finals, gains = [], []
    for seed in (1, 2, 3):
        words = [f"seed={seed}", "save_model=False", "test_interval=1000000"]  # the first test and the last
        result = run.train(configure(alg, env, *words))
        metrics = json.loads((result.results_dir / "metrics.json").read_text())
        values, returns = (metrics[key]["values"] for key in (PLAYED, "test_return_mean"))
        assert values[0] == pytest.approx(uniform, abs=0.02)
        finals.append(values[-1])
        gains.append(returns[-1] - returns[0])
    with capsys.disabled():
        print(f"\n{alg} {env}: {[round(value, 4) for value in finals]}, return gained {gains}")
    assert max(finals) <= bound
