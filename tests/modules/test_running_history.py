"""Running sums against the list of iterates, and against PolicyHistory."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.modules.policy_history import OUTPUT_POLICIES, PolicyHistory
from mf_pmd.modules.running_history import BLOCKS, RunningHistory


def iterates(length, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.softmax(torch.randn(2, 3, 2, generator=random), -1) for _ in range(length)]


def filled(tables):
    history = RunningHistory()
    for table in tables:
        history.append(table)
    return history


def start_of_tail(length):
    """floor(length / 2), rounded down to the block size, the smallest power of two above length / 16."""
    size = 1
    while 16 * size < length:
        size *= 2
    if 16 * size == length:
        size *= 2
    return length // 2 // size * size


@given(st.integers(1, 150), st.integers(0, 10**6))
def test_means_are_those_of_the_list(length, seed):
    tables = iterates(length, seed)
    history = filled(tables)
    expected = {
        "last": tables[-1],
        "average": torch.stack(tables).double().mean(0).float(),
        "tail": torch.stack(tables[start_of_tail(length) :]).mean(0),
    }
    for name, mean in expected.items():
        assert torch.allclose(history.mean(name), mean, atol=1e-6), name
        assert history.mean(name).dtype == torch.float32
    assert torch.equal(history.mean("last"), tables[-1])


@pytest.mark.parametrize("length", [*range(1, 18), 20, 40, 41, 64, 96, 128])
def test_the_tail_is_the_exact_half_where_blocks_allow(length):
    exact = PolicyHistory(keep_all=False)
    tables = iterates(length)
    for table in tables:
        exact.append(table)
    assert torch.allclose(filled(tables).mean("tail"), exact.mean("tail"), atol=1e-6)


@given(st.integers(1, 3000))
def test_the_tail_is_never_a_quarter_longer_than_half(length):
    half = length - length // 2
    assert half <= length - start_of_tail(length) < 1.25 * half


def test_memory_does_not_grow():
    history, most = RunningHistory(), 0
    for _ in range(1000):
        history.append(torch.ones(1))
        most = max(most, len(history.blocks))
    assert most <= BLOCKS + 1
    assert history.mean("tail").item() == history.mean("average").item() == 1.0


@given(st.integers(1, 40), st.integers(0, 40))
def test_a_restored_history_goes_on_alike(before, after):
    tables = iterates(before + after)
    whole, resumed = filled(tables), RunningHistory()
    resumed.load_state_dict(filled(tables[:before]).state_dict())
    for table in tables[before:]:
        resumed.append(table)
    for name in OUTPUT_POLICIES:
        assert torch.equal(whole.mean(name), resumed.mean(name)), name


def test_iterates_are_copied():
    table = torch.ones(2)
    history = filled([table])
    table.zero_()
    for name in OUTPUT_POLICIES:
        assert history.mean(name).tolist() == [1.0, 1.0]
