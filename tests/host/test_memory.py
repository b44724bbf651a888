"""One line when memory runs out."""

import numpy as np
import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.host.utils.memory import memory_told

CONFIG = {
    "env_args": {"key": "a_sis", "n_agents": 1000, "horizon": 20},
    "batch_size_run": 10,
    "buffer_size": 10,
}
LOWER = "lower env_args.n_agents=1000 or env_args.horizon=20 or batch_size_run=10"


def test_the_cpu_s_own_refusal_is_told():
    with pytest.raises(UserError) as told, memory_told(CONFIG):
        torch.empty(2**58, dtype=torch.uint8)  # more than any machine maps
    assert str(told.value) == f"out of memory, 2.68e+08 GiB more were needed: {LOWER}"
    assert isinstance(told.value.__cause__, RuntimeError)


def test_a_container_that_cannot_grow_is_told():
    with pytest.raises(UserError) as told, memory_told(CONFIG):
        torch.zeros(1).expand(2**55).topk(1)  # sorts in a std::vector, and then says std::bad_alloc alone
    assert str(told.value) == f"out of memory: {LOWER}"
    assert isinstance(told.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("size", "needed"), [(2**55, "32.0 PiB"), (999 * 2**50, "999 PiB"), (2**60, "1.00 EiB")]
)
def test_numpy_s_refusal_is_told(size, needed):
    with pytest.raises(UserError) as told, memory_told(CONFIG):
        np.empty(size, dtype=np.uint8)
    assert str(told.value) == f"out of memory, {needed} more were needed: {LOWER}"
    assert isinstance(told.value.__cause__, MemoryError)


@pytest.mark.parametrize(
    ("error", "needed"),
    [
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total"),
            ", 2.50 GiB more were needed",
        ),
        (MemoryError(), ""),
    ],
)
def test_other_ways_of_running_out_are_told(error, needed):
    with pytest.raises(UserError) as told, memory_told(CONFIG):
        raise error
    assert str(told.value) == f"out of memory{needed}: {LOWER}"


def test_what_a_run_has_not_is_not_named():
    config = {"env_args": {"key": "matrix"}, "batch_size_run": 1, "buffer_size": 5000}
    with (
        pytest.raises(UserError, match=r": lower batch_size_run=1 or buffer_size=5000$"),
        memory_told(config),
    ):
        raise MemoryError


def test_other_errors_pass():
    for error in (RuntimeError("shape mismatch"), ValueError("out of memory"), UserError("no")):
        with pytest.raises(type(error)) as passed, memory_told(CONFIG):
            raise error
        assert passed.value is error
