"""Types against the mean over all agents: exact whatever the groups are made of."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.functional.agent_contrasts import outcomes_of
from mf_pmd.functional.spread_over_agents import Jackknifed
from mf_pmd.functional.trajectories import require_play
from mf_pmd.functional.type_contrasts import type_contrasts, types_met


def means(played, type_of, *, n_types, n_actions):
    play = require_play(*played, n_states=1, n_actions=n_actions, n_blocks=8)
    found = type_contrasts(play, outcomes_of(play), types_met(play, type_of, n_types))
    mean = found.mean()
    return found, Jackknifed(mean.value[-1:], mean.left_out[:, -1:])


def moody_play(kind, effect, *, seed=0, n_episodes=16, horizon=3):
    """Rewards .4 + effect(type) x, x a mood of each group that also decides who is in it; two actions."""
    random = torch.Generator().manual_seed(seed)
    shape = (n_episodes, horizon, len(kind))
    mood = torch.rand(n_episodes, horizon, 2, generator=random).double()
    prefers = 0.3 + 0.4 * torch.where(
        kind == 0, mood[..., :1], 1 - mood[..., :1]
    )  # sorted by the mood itself
    actions = (torch.rand(shape, generator=random) < prefers).long()
    own = effect[kind]
    rewards = 0.4 + own * mood.gather(2, actions)
    deviations = (own - effect[kind].mean()) * mood.gather(2, actions)
    return (torch.zeros(n_episodes, horizon + 1, len(kind)).long(), actions, rewards), deviations


def test_types_are_exact_where_deviations_follow_the_population():
    kind = (torch.arange(100) >= 40).long()
    played, deviations = moody_play(kind, torch.tensor([0.3, -0.1]).double())
    found, mean = means(played, kind, n_types=2, n_actions=2)
    for action in (0, 1):
        here = played[1] == action
        crowd = here.sum(2, keepdim=True)
        with_both = (here & (kind == 0)).any(2, keepdim=True) & (here & (kind == 1)).any(2, keepdim=True)
        assert bool((with_both | (crowd < 2)).all()), "every group that counts has both types here"
        for g in (0, 1):
            mine = here & (kind == g) & (crowd > 1)
            assert mean.value[0, g, action].item() == pytest.approx(deviations[mine].mean().item(), abs=1e-12)
            assert found.visits[:, :, g, action].sum() == mine.sum()


def test_a_type_that_is_missing_is_put_in():
    # three types, one of them a single agent that is rarely with the others; effects are additive
    kind = torch.tensor([0] * 5 + [1] * 5 + [2])
    effect = torch.tensor([0.3, 0.0, 0.1]).double()
    random = torch.Generator().manual_seed(1)
    actions = (torch.rand(16, 4, 11, generator=random) < 0.5).long()
    mood = 0.4 * torch.rand(16, 4, 2, generator=random).double().gather(2, actions)
    played = torch.zeros(16, 5, 11).long(), actions, mood + effect[kind]
    _, mean = means(played, kind, n_types=3, n_actions=2)
    expected = (effect - effect[kind].mean()).unsqueeze(1).expand(-1, 2)
    assert torch.allclose(mean.value[0], expected, atol=1e-12)
    assert (mean.error < 1e-12).all()


def test_outcomes_of_types_sum_to_zero(coin_play):
    kind = torch.arange(12) % 3
    heads = torch.tensor([0.2, 0.5, 0.6]).double()[kind]
    played = coin_play(0, heads, n_episodes=40, horizon=4)
    play = require_play(*played, n_states=2, n_actions=1, n_blocks=8)
    found = type_contrasts(play, outcomes_of(play), types_met(play, kind, 3))
    mean = found.mean()
    outcomes = Jackknifed(mean.value[:2], mean.left_out[:, :2])
    assert outcomes.value.shape == (2, 3, 2)
    assert torch.allclose(outcomes.value.sum(0), torch.zeros(3, 2).double(), atol=1e-12)
    centred = torch.tensor([0.2, 0.5, 0.6]).double() - 1.3 / 3  # of heads, the second outcome
    gap = (outcomes.value[1] - centred.unsqueeze(1)).abs()
    assert (gap < 4 * outcomes.error[1]).all()
    assert (outcomes.error < 0.05).all()


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_numbers_of_types_and_order_of_agents_do_not_matter(seed):
    kind = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    played, _ = moody_play(kind, torch.tensor([0.3, -0.1, 0.2]).double(), n_episodes=8, horizon=2)
    _, mean = means(played, kind, n_types=3, n_actions=2)
    random = torch.Generator().manual_seed(seed)
    order, names = torch.randperm(7, generator=random), torch.randperm(3, generator=random)
    shuffled = [part[:, :, order] for part in played]
    _, again = means(shuffled, names[kind][order], n_types=3, n_actions=2)
    assert torch.allclose(again.value[:, names], mean.value, atol=1e-9, equal_nan=True)
    assert torch.allclose(again.error[:, names], mean.error, atol=1e-9, equal_nan=True)
