"""Moves from a population to others."""

import torch

from mf_pmd.functional.populations import moves


def test_mass_moves_however_thinly_it_is_spread():
    d = 3000
    there = moves(torch.full((d,), 1 / d).double(), 5, share=1.0, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(there.sum(1), torch.ones(5).double())
    assert ((there == 0).sum(1) == 1).all()
    assert ((there > 1.5 / d).sum(1) == 1).all()
