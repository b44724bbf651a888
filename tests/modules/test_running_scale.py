"""The unit of a critic: exact over batches of any size, and sound where there is nothing to measure."""

import pytest
import torch

from mf_pmd.modules.running_scale import RunningScale


def test_batches_merge_into_the_mean_and_deviation_of_all():
    random = torch.Generator().manual_seed(0)
    batches = [100 * k + torch.randn(n, generator=random) for k, n in enumerate((1, 50, 7, 0, 300))]
    scale = RunningScale()
    for batch in batches:
        scale.update(batch)
    everything = torch.cat(batches).double()
    assert scale.count == 358
    assert scale.mean == pytest.approx(everything.mean().item())
    assert scale.deviation == pytest.approx(everything.std(correction=0).item())


def test_standardised_and_back():
    scale = RunningScale()
    scale.update(torch.tensor([1.0, 3.0]))
    values = torch.tensor([0.0, 2.0, 5.0])
    assert scale.standardise(values).tolist() == [-2, 0, 3]
    torch.testing.assert_close(scale.restore(scale.standardise(values)), values)


def test_nothing_and_sameness_leave_the_unit_at_1():
    scale = RunningScale()
    assert (scale.mean, scale.deviation) == (0, 1)
    scale.update(torch.zeros(0))
    assert (scale.mean, scale.deviation) == (0, 1)
    scale.update(torch.full((9,), 4.0))
    assert (scale.mean, scale.deviation) == (4, 1)


def test_it_resumes():
    scale, other = RunningScale(), RunningScale()
    scale.update(torch.tensor([1.0, 2.0, 4.0]))
    other.load_state_dict(scale.state_dict())
    for one in (scale, other):
        one.update(torch.tensor([10.0]))
    assert scale.state_dict() == other.state_dict()
