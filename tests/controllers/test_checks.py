"""Policies that no controller plays."""

import pytest

from mf_pmd.errors import DivergenceError


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("alg", ["mf_pmd_tabular", "ipmd"])
def test_a_table_that_is_none_is_not_played(build, alg, value):
    pieces = build(alg, "a_sis", "env_args.n_agents=4", "env_args.horizon=3")
    mac = pieces.learner.mac
    table = mac.agent.log_table if alg == "mf_pmd_tabular" else mac.log_table
    table[..., 1, 1, 0] = value  # a log-probability: 0 makes a row of more than 1
    mac.record_iterate()
    with pytest.raises(
        DivergenceError, match=r"the last policy.* (holds NaN or infinite|has a row that sums to)"
    ):
        pieces.runner.run(test_mode=False)
