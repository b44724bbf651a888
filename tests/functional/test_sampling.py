"""Draws from the rows of a table: laws by chi-square, ends and zeros exactly."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.sampling import draw_from_rows, row_thresholds

LARGEST = 1 - 2**-24  # float32 draws are multiples of 2^-24 below 1


def draw(laws, rows, draws):
    return draw_from_rows(row_thresholds(laws), rows, draws, laws.shape[1])


def test_every_row_has_its_law(assert_laws):
    laws = torch.tensor([[0.1, 0.2, 0.7], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64)
    rows = torch.arange(3).repeat(20_000)
    draws = torch.rand(60_000, generator=torch.Generator().manual_seed(0))
    found = draw(laws, rows, draws)
    counts = [torch.bincount(found[rows == k], minlength=3) for k in range(3)]
    assert_laws(torch.stack(counts), laws)


def test_both_ends_of_a_row_and_nothing_impossible():
    laws = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0], [0.5, 0.0, 0.5, 0.0, 0.0]], dtype=torch.float64)
    rows = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    draws = torch.tensor([0.0, 0.2999, 0.3001, LARGEST, 0.0, 0.4999, 0.5, LARGEST])
    assert draw(laws, rows, draws).tolist() == [1, 1, 3, 3, 0, 0, 2, 2]


def test_sums_that_miss_one_by_rounding_stay_in_their_row():
    for excess in (-1e-7, 1e-7):
        laws = torch.tensor([[0.5, 0.5 + excess, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
        assert draw(laws, torch.tensor([0, 1]), torch.tensor([LARGEST, 0.0])).tolist() == [1, 0]


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 1e-12, 1e-3, 1.0, 7.0]), min_size=4, max_size=4).filter(any),
        min_size=1,
        max_size=40,
    ),
    st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=20),
)
def test_it_is_the_first_state_whose_sum_exceeds_the_draw(weights, draws):
    laws = torch.tensor(weights, dtype=torch.float64)
    laws = laws / laws.sum(1, keepdim=True)
    draws = torch.tensor(draws, dtype=torch.float64) / 2**24
    rows = torch.arange(len(laws)).unsqueeze(1).expand(-1, len(draws))
    found = draw(laws, rows, draws.expand(len(laws), -1).float())
    for k, row in enumerate(laws):
        for u, s in zip(draws.tolist(), found[k].tolist(), strict=True):
            assert row[s] > 0
            assert row[:s].sum().item() <= u + 1e-9
            assert u < row[: s + 1].sum().item() + 1e-9
