"""What a device that is not there becomes."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.host import run
from mf_pmd.host.assembly import make_args


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_that_is_not_there_is_none_that_is_used(configure, monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    config = configure("mf_pmd", "a_sis", "use_cuda=True")
    args = make_args(config, "token")
    assert (args.device, args.use_cuda) == (("cuda", True) if there else ("cpu", False))
    assert config["use_cuda"]  # the settings are as they were given


@pytest.mark.parametrize("asked", [True, False])
def test_a_gpu_that_is_not_there_is_warned_of_once(toy_config, monkeypatch, console, asked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ("t_max=20", "test_interval=20", "test_nepisode=1", "batch_size_run=1", "batch_size=1")
    run.train(toy_config(f"use_cuda={asked}", *words, "buffer_size=1"))
    told = [record.getMessage() for record in console.records if "GPU" in record.getMessage()]
    assert told == ["use_cuda=True, but torch finds no GPU here: running on the CPU"] * asked


def test_nothing_is_said_of_a_gpu_before_settings_are_refused(toy_config, monkeypatch, console):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="mac=nobody"):
        run.train(toy_config("use_cuda=True", "mac=nobody"))
    assert not console.records
