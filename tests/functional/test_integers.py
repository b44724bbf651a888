"""Small integers: their types, pairs and tallies."""

import pytest
import torch

from mf_pmd.functional.distributions import count_values
from mf_pmd.functional.integers import as_index, as_integers, paired, smallest_integer, tally

TYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]


def test_the_smallest_type_holds_the_largest_value():
    expected = {
        2: torch.uint8,
        2**8: torch.uint8,
        2**8 + 1: torch.int16,
        2**15: torch.int16,
        2**15 + 1: torch.int32,
        2**31: torch.int32,
        2**31 + 1: torch.int64,
    }
    for n_values, dtype in expected.items():
        assert smallest_integer(n_values) is dtype
        assert torch.iinfo(dtype).max >= n_values - 1


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n_second", [3, 90, 120])  # 3 x 120 pairs do not fit uint8
def test_pairs_do_not_overflow(dtype, n_second):
    first, second = torch.arange(3).unsqueeze(1), torch.arange(n_second)
    found = paired(first.to(torch.uint8), second.to(dtype), 3, n_second)
    assert found.dtype == torch.promote_types(smallest_integer(3 * n_second), dtype)
    assert torch.equal(found.long(), torch.arange(3 * n_second).reshape(3, n_second))


def test_what_is_out_of_range_in_int64_stays_so():
    with pytest.raises(RuntimeError):
        count_values(torch.tensor([[0, 300]]), 10)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("batch_size", [1, 30])  # 30 x 11 labels do not fit uint8
def test_values_are_counted_in_any_type(dtype, batch_size):
    values = torch.randint(11, (batch_size, 500), generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.one_hot(values, 11).sum(1)
    found = count_values(values.to(dtype), 11)
    assert found.dtype == torch.int64
    assert torch.equal(found, expected)


@pytest.mark.parametrize("n_values", [3, 33])
def test_tallies_on_other_devices_need_no_value(n_values):
    found = tally(torch.empty(50, dtype=torch.uint8, device="meta"), n_values)
    assert found.shape == (n_values,)
    assert found.dtype == torch.int64


def test_floats_become_integers_and_small_integers_indices():
    assert as_integers(torch.tensor([2.0])).dtype == torch.int64
    assert as_integers(torch.tensor([2], dtype=torch.uint8)).dtype == torch.uint8
    assert [as_index(torch.zeros(1, dtype=dtype)).dtype for dtype in TYPES] == [
        torch.int32,
        torch.int32,
        torch.int32,
        torch.int64,
    ]
