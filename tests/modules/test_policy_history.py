"""last, average and tail against an explicit list of iterates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.modules.policy_history import OUTPUT_POLICIES, PolicyHistory


def iterates(seed, length):
    random = torch.Generator().manual_seed(seed)
    return [torch.softmax(torch.randn(2, 3, 2, generator=random), -1) for _ in range(length)]


def filled(tables, *, keep_all):
    history = PolicyHistory(keep_all=keep_all)
    for table in tables:
        history.append(table)
    return history


def explicit(tables):
    """pi_0 .. pi_t: the last, the mean of all, the mean of pi_m .. pi_t with m = floor((t + 1) / 2)."""
    start = len(tables) // 2
    return {
        "last": tables[-1],
        "average": torch.stack(tables).mean(0),
        "tail": torch.stack(tables[start:]).mean(0),
    }


@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
def test_means_are_those_of_the_list(seed, length, keep_all):
    tables = iterates(seed, length)
    history = filled(tables, keep_all=keep_all)
    for name, expected in explicit(tables).items():
        assert torch.allclose(history.mean(name), expected, atol=1e-6), name
        assert history.mean(name).dtype == torch.float32
    assert torch.equal(history.mean("last"), tables[-1])
    assert history.count == length


def test_the_tail_of_one_two_three_four():
    tables = [torch.tensor([float(k)]) for k in range(4)]
    expected = [0.0, 1.0, 1.5, 2.5]  # of [0], [1], [1 2], [2 3]
    history = PolicyHistory(keep_all=False)
    for table, mean in zip(tables, expected, strict=True):
        history.append(table)
        assert history.mean("tail").item() == mean


@given(st.integers(1, 60))
def test_memory_of_tables_is_half_of_the_iterates(length):
    history = filled([torch.zeros(1)] * length, keep_all=False)
    assert len(history.window) == (length + 1) // 2
    assert len(filled([torch.zeros(1)] * length, keep_all=True).window) == length


def test_members_are_the_iterates_themselves():
    tables = iterates(0, 7)
    history = filled(tables, keep_all=True)
    assert torch.equal(history.members("average"), torch.stack(tables))
    assert torch.equal(history.members("tail"), torch.stack(tables[3:]))
    assert torch.equal(history.members("last"), tables[-1].unsqueeze(0))
    with pytest.raises(AssertionError):
        filled(tables, keep_all=False).members("average")


def test_iterates_are_copied():
    table = torch.ones(2)
    history = filled([table], keep_all=False)
    table.zero_()
    for name in OUTPUT_POLICIES:
        assert history.mean(name).tolist() == [1.0, 1.0]


@given(st.integers(1, 12), st.integers(0, 12), st.booleans())
def test_a_restored_history_goes_on_alike(before, after, keep_all):
    tables = iterates(1, before + after)
    whole = filled(tables, keep_all=keep_all)
    resumed = PolicyHistory(keep_all=keep_all)
    resumed.load_state_dict(filled(tables[:before], keep_all=keep_all).state_dict())
    for table in tables[before:]:
        resumed.append(table)
    for name in OUTPUT_POLICIES:
        assert torch.equal(whole.mean(name), resumed.mean(name)), name
    assert len(whole.window) == len(resumed.window)
