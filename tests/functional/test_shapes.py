"""Shapes told without asking torch, against torch's."""

import itertools

import pytest
import torch

from mf_pmd.functional.shapes import common_shape

SHAPES = ((), (1,), (3,), (1, 1), (2, 1), (1, 3), (2, 3), (4, 1, 3), (4, 2, 1), (1, 1, 1))


@pytest.mark.parametrize("kind", [tuple, torch.Size])
def test_it_is_torchs_own(kind):
    for shapes in itertools.product(SHAPES, repeat=3):
        assert common_shape(*map(kind, shapes)) == tuple(torch.broadcast_shapes(*shapes)), shapes
