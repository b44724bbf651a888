"""What a device that is not there becomes."""

import logging

import pytest
import torch

from mf_pmd.host.assembly import make_args


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_that_is_not_there_is_warned_of_once(configure, monkeypatch, caplog, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    console = logging.getLogger("test_assembly")
    config = configure("mf_pmd", "a_sis", "use_cuda=True")
    with caplog.at_level(logging.WARNING, logger=console.name):
        args = make_args(config, "token", console)
    told = [record.getMessage() for record in caplog.records]
    assert told == ([] if there else ["use_cuda=True, but torch finds no GPU here: running on the CPU"])
    assert (args.device, args.use_cuda) == (("cuda", True) if there else ("cpu", False))
    assert config["use_cuda"]  # the settings are as they were given
