"""The lattice, its order and its tuples, against itertools."""

import itertools
import math

import pytest
import torch

from mf_pmd.functional.lattice import (
    arrangements,
    count_tuples,
    lattice,
    lattice_index,
    lattice_size,
    n_arrangements,
    representatives,
)

SIZES = [(1, 1), (1, 4), (3, 1), (2, 3), (4, 3), (3, 5), (5, 2)]


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_the_lattice_holds_every_multiset_once_in_order(n, d):
    points = lattice(n, d)
    held = list(itertools.combinations_with_replacement(range(d), n))
    assert representatives(points).tolist() == [list(x) for x in held]
    assert len(points) == lattice_size(n, d) == math.comb(n + d - 1, n)
    assert torch.equal(lattice_index(points), torch.arange(len(points)))


def test_no_agents_are_one_point():
    assert lattice(0, 3).tolist() == [[0, 0, 0]]
    assert lattice_index(lattice(0, 3)).tolist() == [0]


def test_a_point_far_down_a_large_lattice_is_found():
    n, d = 4, 30
    points = lattice(n, d)
    shuffled = torch.randperm(len(points), generator=torch.Generator().manual_seed(0)).reshape(-1, 2)
    assert torch.equal(lattice_index(points[shuffled]), shuffled)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_arrangements_of_the_lattice_are_all_tuples(n, d):
    points = lattice(n, d)
    owner, tuples = arrangements(points)
    assert sorted(map(tuple, tuples.tolist())) == list(itertools.product(range(d), repeat=n))
    assert torch.equal(count_tuples(tuples, d), points[owner])
    assert n_arrangements(points).sum().item() == d**n
    assert torch.equal(torch.bincount(owner).double(), n_arrangements(points))


def test_counts_of_a_batch_of_tuples():
    tuples = torch.tensor([[[0, 2, 2]], [[1, 1, 1]]])
    assert count_tuples(tuples, 4).tolist() == [[[1, 0, 2, 0]], [[0, 3, 0, 0]]]
