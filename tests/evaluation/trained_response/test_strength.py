"""Where backward induction knows the answer, the trained best response finds at least nine tenths of it."""

from dataclasses import replace

import pytest

from mf_pmd.evaluation.trained_response import trained_report, training_settings


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_nine_tenths_of_the_exact_gain_on_taxi_lite(make_game, seed):
    game = make_game("taxi_lite", n_agents=100)
    settings = replace(training_settings(), budget=400_000)
    found = trained_report(
        "taxi_lite", game, None, settings, called="the uniform policy", n_episodes=1000, seed=seed
    )
    known = found.strength.known
    assert known.mean_share > 0.9
    assert known.largest_share > 0.9
    for gain, exact in ((found.gains.mean, known.mean), (found.gains.largest, known.largest)):
        # a lower bound, and not a loose one
        assert 0.85 * exact.estimate < gain.lower < 1.02 * exact.estimate
