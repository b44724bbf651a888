"""Working on some agents at a time: every agent once, and equal to all at once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional import parts
from mf_pmd.functional.parts import in_parts, parts_of
from mf_pmd.functional.sampling import actions_drawn, inverse_cdf_thresholds


def looked_up(rows, weights, table):
    return table.gather(1, rows) * weights, rows % 3 == 0


@given(st.integers(1, 7), st.integers(1, 12), st.integers(1, 30))
def test_every_agent_is_in_one_part_of_no_more_than_asked(batch_size, n_agents, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "AGENTS_AT_ONCE", at_once)
        seen = torch.zeros(batch_size, n_agents)
        for some, who in parts_of(batch_size, n_agents):
            assert 0 < seen[some, who].numel() <= at_once
            seen[some, who] += 1
        assert seen.eq(1).all()


@pytest.mark.parametrize("at_once", [1, 4, 10, 25, 10**6])
def test_parts_together_are_the_whole(monkeypatch, at_once):
    monkeypatch.setattr(parts, "AGENTS_AT_ONCE", at_once)
    random, sizes = torch.Generator().manual_seed(0), []

    def counted(*inputs):
        sizes.append(inputs[0].numel())
        return looked_up(*inputs)

    rows = torch.randint(5, (6, 10), generator=random)
    weights = torch.rand(10, generator=random).expand(6, 10)
    table = torch.rand(6, 5, generator=random)
    scaled, third = in_parts(counted, (rows, weights), (table,))
    expected = looked_up(rows, weights, table)
    assert torch.equal(scaled, expected[0])
    assert torch.equal(third, expected[1])
    assert (scaled.dtype, third.dtype) == (torch.float32, torch.bool)
    assert sum(sizes) == 60
    assert max(sizes) <= max(at_once, 1)
    assert len(sizes) > 1 or at_once >= 60


@pytest.mark.parametrize("n_rows", [1, 3])  # of thresholds: shared by the episodes, or their own
def test_actions_are_drawn_alike(monkeypatch, n_rows):
    random = torch.Generator().manual_seed(1)
    thresholds = inverse_cdf_thresholds(torch.softmax(torch.randn(n_rows, 4, 5, generator=random), -1))
    states, draws = torch.randint(4, (3, 50), generator=random), torch.rand(3, 50, generator=random)
    whole = actions_drawn(thresholds, states, draws, dtype=torch.uint8)
    below = draws.unsqueeze(-1) >= thresholds.expand(3, -1, -1)[torch.arange(3).unsqueeze(1), states]
    assert torch.equal(whole.long(), below.sum(-1))
    monkeypatch.setattr(parts, "AGENTS_AT_ONCE", 7)
    assert torch.equal(actions_drawn(thresholds, states, draws, dtype=torch.uint8), whole)
