"""Which steps of a batch somebody took."""

import torch

from mf_pmd.functional.masks import counted_steps


def test_a_step_counts_until_the_episode_ends_however_it_ends():
    filled = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    terminated = torch.tensor([[0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).byte()
    # ended at the last step; ended early; cut short after two steps, in a batch of longer episodes: the
    # third observation is filled, and nobody acted on it; cut off at the limit
    expected = [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert counted_steps(filled, terminated).int().tolist() == expected


def test_a_host_that_fills_nothing_after_the_last_step_loses_no_step():
    filled, terminated = torch.tensor([[1, 1, 0, 0]]), torch.tensor([[0, 1, 0, 0]])
    assert counted_steps(filled, terminated).tolist() == [[True, True, False]]


def test_nothing_counts_after_a_terminal_step_however_long_it_is_filled():
    filled, terminated = torch.ones(1, 5), torch.tensor([[0, 1, 0, 1, 0]])
    assert counted_steps(filled, terminated).tolist() == [[True, True, False, False]]
