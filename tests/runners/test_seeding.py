"""The game's stream of a run that is resumed, on the same device or on another."""

import torch

from mf_pmd.runners.seeding import continue_stream

OF_A_GPU = torch.zeros(16, dtype=torch.uint8)  # seed and offset, which is all that CUDA's generators keep


def test_a_stream_goes_on_where_it_was():
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    torch.rand(3, generator=first)
    assert continue_stream(second, first.get_state())
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=second))


def test_a_stream_of_another_device_is_left_out():
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    assert not continue_stream(second, OF_A_GPU)
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=second))


def test_a_run_that_was_trained_on_a_gpu_is_resumed_without_one(build, caplog):
    runner = build("mf_pmd_tabular", "a_sis", "env_args.n_agents=6").runner
    state = runner.state_dict() | {"t_env": 200, "generator": OF_A_GPU}
    runner.load_state_dict(state)
    assert runner.t_env == 200
    assert "of a run on another device: the game draws anew from its seed on cpu" in caplog.text
