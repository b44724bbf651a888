"""Benchmarks on a GPU: their clocks wait for it, and where there is none they measure nothing."""

import pytest
import torch

SMALL = ("env_args.horizon=2", "batch_size_run=2", "batch_size=2", "buffer_size=2")


def test_a_clock_is_read_when_the_device_is_done(gpu, module, monkeypatch):
    waits, synchronize = [], torch.cuda.synchronize
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(synchronize()))
    clocks = module("training")
    training = clocks.Training("mf_pmd_tabular", "a_sis", agents=13, threads=1, device="cuda", words=SMALL)
    parts = training.epoch_apart()
    assert len(waits) == len(parts) + 1 == 4
    assert training.rollouts(2).keys() == {"total"}
    assert len(waits) == 6
    assert clocks.Episodes("a_sis", agents=13, batch_size=2, threads=1, device="cuda")()["total"] > 0
    assert len(waits) == 8
    assert module("traffic").copy_seconds(2**10, "cuda") > 0
    assert len(waits) == 10


def test_bytes_are_counted_on_the_device(gpu, module):
    x = torch.ones(1000, device="cuda")
    assert module("traffic").moved_bytes(lambda: x * 2) == 8000


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("script", ["growth", "identity_ladder"])
def test_without_a_gpu_nothing_is_measured_on_one(module, capsys, script):
    with pytest.raises(SystemExit):
        module(script).parse(["--device", "cuda"])
    assert "--device=cuda: no CUDA here, nothing is measured" in capsys.readouterr().err
