"""Policies that are none."""

import math

import pytest
import torch

from mf_pmd.functional.checks import NotAPolicyError, require_policy
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy

BAD = [
    ([0.5, math.nan], "NaN"),
    ([math.inf, 0.5], "infinite"),
    ([1.5, -0.5], "negative probability, -0.5"),
    ([0.5, 0.4], r"sums to 0\.9"),
    ([0.6, 0.6], r"sums to 1\.2"),
    ([0.0, 0.0], "sums to 0"),
    ([0.5, 0.4999 - 2e-4], r"sums to 0\.9997"),
]


@pytest.mark.parametrize(("row", "what"), BAD)
def test_one_bad_row_among_good_ones_is_refused(make_game, row, what):
    table = torch.full((3, 2, 2), 0.5, dtype=torch.float64)
    table[1, 1] = torch.tensor(row, dtype=torch.float64)
    with pytest.raises(NotAPolicyError, match=f"the table.*{what}"):
        require_policy(table, name="the table")
    model = make_game("a_sis", horizon=3).mean_field_model()
    with pytest.raises(NotAPolicyError, match=f"step 1.*{what}"):
        mean_field_exploitability(model, tabular_policy(table))


def test_what_is_a_policy_is_passed_on_untouched():
    rows = torch.softmax(torch.randn(50, 7), -1)
    assert require_policy(rows) is rows
    assert require_policy(torch.tensor([[1.0, 0.0]])).tolist() == [[1.0, 0.0]]
    assert require_policy(torch.zeros(0, 3)).shape == (0, 3)
