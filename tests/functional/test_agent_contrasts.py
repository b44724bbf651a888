"""Contrasts by hand, exactness where groups are composed unevenly, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.functional.trajectories import NotTrajectoriesError, require_play


def still(rewards, actions=None):
    """One state; rewards [B, T, N]."""
    n_episodes, horizon, n_agents = rewards.shape
    states = torch.zeros(n_episodes, horizon + 1, n_agents, dtype=torch.long)
    return states, torch.zeros_like(rewards).long() if actions is None else actions, rewards


def test_contrasts_by_hand(contrasts_of):
    rewards = torch.tensor([0.2, 0.5, 0.8]).double().expand(8, 2, 3)
    found = contrasts_of(still(rewards), n_states=1, n_actions=1)
    sums, noise = found.reward
    assert found.visits.tolist() == [[[2.0]] * 3] * 8
    assert torch.allclose(sums[:, :, 0], torch.tensor([-0.6, 0.0, 0.6]).double().expand(8, 3))
    assert torch.allclose(noise, torch.zeros_like(noise), atol=1e-12)
    assert list(found.outcomes()) == []  # nobody moves
    # the others' mean differs by .45, .0 and .45: scatter is the sum of squares of 16 visits
    assert torch.allclose(found.scatter[1, :, 0], 16 * torch.tensor([0.45, 0.0, 0.45]).double() ** 2)
    assert found.scatter[0].abs().max() == 0


def test_outcomes_by_hand(contrasts_of):
    # agents 0 and 1 always go to state 1, agent 2 stays; everyone starts anew in state 0
    states = torch.zeros(8, 2, 3, dtype=torch.long)
    states[:, 1, :2] = 1
    played = states, torch.zeros(8, 1, 3, dtype=torch.long), torch.full((8, 1, 3), 0.5)
    found = contrasts_of(played, n_states=2, n_actions=1)
    (stay, _), (go, _) = found.outcomes()
    third = torch.tensor([-1, -1, 2]).double() / 3
    assert torch.allclose(stay[:, :, 0], third.expand(8, 3))
    assert torch.allclose(go, -stay)
    assert found.outcome_of.tolist() == [[0, 1], [-1, -1]]
    # of the others, agent 0 sees one of two do the same, agent 2 none
    assert torch.allclose(found.scatter[0, :, 0], 8 * torch.tensor([0.25, 0.25, 1.0]).double())


def test_who_is_alone_is_dropped(contrasts_of):
    rewards = torch.tensor([0.2, 0.5, 0.8, 0.1]).double().expand(8, 1, 4)
    actions = torch.tensor([0, 0, 0, 1]).expand(8, 1, 4)
    found = contrasts_of(still(rewards, actions), n_states=1, n_actions=2)
    assert found.dropped.tolist() == [0.0, 8.0]
    assert found.visits[:, :, 1].sum() == 0
    assert found.sums[:, :, :, 1].abs().max() == 0
    # the reference is the mean over the agents that were there
    assert torch.allclose(
        found.reward[0].sum((0, 2)) / 8, torch.tensor([-0.3, 0, 0.3, 0]).double(), atol=1e-7
    )


def sorted_play(*, seed, n_agents=12, n_episodes=24, horizon=5):
    """Two types, the first of which prefers action 0; rewards .5 + .1 type + what the group brings."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.arange(n_agents) % 2
    shape = (n_episodes, horizon, n_agents)
    prefers = 0.2 + 0.6 * kind
    actions = (torch.rand(shape, generator=random) < prefers).long()
    mood = torch.rand(n_episodes, horizon, 2, generator=random).double() * 0.4
    return still(0.5 + 0.1 * kind.double() + mood.gather(2, actions), actions), kind.double() * 0.1


def test_the_composition_of_groups_is_taken_out(contrasts_of):
    # a mean over a group that is full of one's own type says too little of one's deviation
    played, effect = sorted_play(seed=1)
    found = contrasts_of(played, n_states=1, n_actions=2)
    mean = found.reward[0].sum(0) / found.visits.sum(0)  # [N, C]
    expected = (effect - effect.mean()).unsqueeze(1).expand(-1, 2)
    assert (mean - expected).abs().max() < 1e-7
    raw = contrasts_of(played, n_states=1, n_actions=2, tolerance=torch.inf)
    assert raw.sweeps == 1 < found.sweeps
    plain = raw.reward[0].sum(0) / raw.visits.sum(0)
    assert (plain - expected).abs().max() > 1e-5


def test_sums_over_blocks_do_not_depend_on_how_many_there_are(contrasts_of):
    played, _ = sorted_play(seed=2)
    few, many = (contrasts_of(played, n_states=1, n_actions=2, n_blocks=k) for k in (8, 24))
    assert torch.allclose(few.sums.sum(1), many.sums.sum(1))
    assert torch.allclose(few.visits.sum(0), many.visits.sum(0))
    assert len(many.visits) == 24


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_contrasts_follow_a_permutation_of_the_agents(contrasts_of, seed):
    played, _ = sorted_play(seed=3, n_agents=6, n_episodes=8, horizon=1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    found = contrasts_of(played, n_states=1, n_actions=2)
    permuted = contrasts_of([part[:, :, order] for part in played], n_states=1, n_actions=2)
    assert torch.allclose(permuted.sums, found.sums[:, :, order], atol=1e-9)
    assert torch.allclose(permuted.noise, found.noise[:, :, order], atol=1e-9)
    assert torch.equal(permuted.visits, found.visits[:, order])


def test_the_noise_has_the_expectation_of_the_squared_noise(contrasts_of, coin_play):
    # agents are alike, so that all of an agent's sum is noise; 2 visits a step and block, about
    heads = torch.full((30,), 0.5).double()
    squares, noises = [], []
    for seed in range(40):
        played = coin_play(seed, heads, n_episodes=16, horizon=2)
        found = contrasts_of(played, n_states=2, n_actions=1, tolerance=1e-6)
        for sums, noise in found.outcomes():
            squares.append((sums.sum(0) ** 2).mean(0))
            noises.append((noise**2).sum(0).mean(0))
    squares, noises = torch.stack(squares), torch.stack(noises)  # [80, C]
    gap = squares - noises
    error = gap.std(0) / (len(gap) / 2) ** 0.5  # the two outcomes mirror each other
    assert (gap.mean(0).abs() < 3.5 * error).all()
    assert (error < 0.05 * squares.mean(0)).all()


def refused(message, states=None, actions=None, rewards=None, **sizes):
    base = still(torch.full((8, 2, 3), 0.5))
    asked = (states, actions, rewards)
    parts = [b if a is None else a for a, b in zip(asked, base, strict=True)]
    with pytest.raises(NotTrajectoriesError, match=message):
        require_play(*parts, **{"n_states": 1, "n_actions": 1, "n_blocks": 8, **sizes})


def test_what_is_no_trajectory_is_refused():
    rewards = torch.full((8, 2, 3), 0.5)
    refused("must be", states=torch.zeros(8, 2, 3).long())
    refused("must be", rewards=rewards[:, :1])
    refused("no step", *still(rewards[:, :0]))
    refused("2 agents", *still(rewards[:, :, :2]))
    refused("7 episodes", *still(rewards[:7]))
    refused("n_blocks=1", n_blocks=1)
    refused("NaN", rewards=torch.where(torch.rand(8, 2, 3) < 2, torch.nan, rewards))
    refused("0 to 1.5", rewards=torch.linspace(0, 1.5, 48).reshape(8, 2, 3).round(decimals=3))
    refused("states range from 0 to 1", states=torch.ones(8, 3, 3).long().tril())
    refused("actions range", actions=torch.full((8, 2, 3), -1))
    refused("tell fewer states apart", n_states=10**5, n_actions=100)
