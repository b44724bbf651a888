"""Selectors, on policies whose samples are certain."""

from types import SimpleNamespace

import pytest
import torch

from mf_pmd.host.components.action_selectors import REGISTRY, linear_decay

ARGS = SimpleNamespace(
    epsilon_start=1.0, epsilon_finish=0.2, epsilon_anneal_time=10, evaluation_epsilon=0.0, test_greedy=True
)
POLICY = torch.tensor([[[0.0, 1.0, 0.0], [0.6, 0.0, 0.4]]])  # [1, 2, 3]
OPEN = torch.ones(1, 2, 3, dtype=torch.int)
WITHOUT_FIRST = torch.tensor([[[1, 1, 1], [0, 1, 1]]])


@pytest.mark.parametrize("name", list(REGISTRY))
def test_actions_are_long_and_one_for_each_agent(name):
    actions = REGISTRY[name](ARGS).select_action(POLICY, OPEN, t_env=0)
    assert actions.dtype == torch.long
    assert actions.shape == (1, 2)


def test_soft_policies_sample_in_test_mode_too():
    torch.manual_seed(0)
    selector = REGISTRY["soft_policies"](ARGS)
    drawn = {tuple(selector.select_action(POLICY, OPEN, 0, test_mode=True)[0].tolist()) for _ in range(50)}
    assert drawn == {(1, 0), (1, 2)}


def test_multinomial_masks_and_is_greedy_in_tests():
    selector = REGISTRY["multinomial"](ARGS)
    assert selector.select_action(POLICY, WITHOUT_FIRST, 0).tolist() == [[1, 2]]
    assert selector.select_action(POLICY, OPEN, 0, test_mode=True).tolist() == [[1, 0]]


def test_epsilon_greedy_explores_among_available_actions_alone():
    torch.manual_seed(0)
    selector = REGISTRY["epsilon_greedy"](ARGS)
    drawn = {tuple(selector.select_action(POLICY, WITHOUT_FIRST, 0)[0].tolist()) for _ in range(200)}
    assert drawn == {(a, b) for a in range(3) for b in (1, 2)}
    assert selector.select_action(POLICY, WITHOUT_FIRST, 0, test_mode=True).tolist() == [[1, 2]]
    assert selector.epsilon == 0.0


@pytest.mark.parametrize(("t", "value"), [(0, 1.0), (5, 0.6), (10, 0.2), (99, 0.2)])
def test_linear_decay(t, value):
    assert linear_decay(t, start=1.0, finish=0.2, duration=10) == pytest.approx(value)
    assert linear_decay(t, start=1.0, finish=0.2, duration=0) == 0.2
