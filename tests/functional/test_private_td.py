"""Private TD of N agents against the TD of one: agent by agent the two must agree, in every form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.cells import cell_statistics
from mf_pmd.functional.distributions import entropy
from mf_pmd.functional.private_td import (
    Trajectories,
    private_td_error,
    private_td_step,
    sweep_backwards_privately,
    visited_cells,
)
from mf_pmd.functional.td_targets import sweep_backwards, td_error, td_step, visit_learning_rate

B, T, N, S, A = 4, 3, 5, 3, 2
EXACT = {"atol": 1e-12, "rtol": 0}


def sample(seed):
    """Random trajectories and a random policy for each agent, float64."""
    random = torch.Generator().manual_seed(seed)
    states = torch.randint(S, (B, T + 1, N), generator=random).float()
    actions = torch.randint(A, (B, T + 1, N), generator=random)  # the host's batch has one step more
    rewards = torch.rand(B, T, N, generator=random, dtype=torch.float64)
    policy = torch.softmax(2 * torch.randn(N, T, S, A, generator=random, dtype=torch.float64), -1)
    return Trajectories(states, actions, rewards), policy.log()


def alone(trajectories, i):
    """Cell statistics of agent i and nobody else."""
    one = trajectories.agents(slice(i, i + 1))
    sizes = {"n_states": S, "n_actions": A, "dtype": torch.float64}
    return cell_statistics(*one, **sizes, count_next_cells=True)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_the_sweep_is_that_of_each_agent_alone(seed, expected, tau):
    trajectories, log_policy = sample(seed)
    found = sweep_backwards_privately(trajectories, log_policy, tau=tau, expected=expected)
    for i in range(N):
        statistics = alone(trajectories, i).pooled()
        sweep = sweep_backwards(statistics, log_policy[i : i + 1], tau=tau, expected=expected)
        assert torch.allclose(found.q_values[i], sweep.q_values[0], **EXACT)
        assert torch.equal(found.visits[i], statistics.visits[0])
        assert (found.q_values[i][statistics.visits[0] == 0] == 0).all()


@given(st.integers(0, 10**6), st.booleans())
def test_the_error_of_a_visit_is_the_cell_s(seed, expected):
    trajectories, log_policy = sample(seed)
    q_values = torch.rand(N, T, S, A, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = private_td_error(q_values, trajectories, log_policy, tau=0.2, expected=expected)
    assert found.shape == (B, T, N)
    for i in range(N):
        cells = td_error(q_values[i], alone(trajectories, i), log_policy[i], tau=0.2, expected=expected)
        for b in range(B):
            for h in range(T):
                s, a = int(trajectories.states[b, h, i]), int(trajectories.actions[b, h, i])
                assert found[b, h, i].item() == pytest.approx(cells[b, h, s, a].item(), abs=1e-12)


@given(st.integers(0, 10**6), st.booleans())
def test_updates_episode_by_episode_are_those_of_each_agent_alone(seed, expected):
    trajectories, log_policy = sample(seed)
    q_values = torch.zeros(N, T, S, A, dtype=torch.float64)
    visits = torch.zeros_like(q_values)
    single, counted = [torch.zeros(T, S, A, dtype=torch.float64)] * N, torch.zeros_like(q_values)
    for m in range(B):
        visits += visited_cells(trajectories.episode(m), visits)
        rate = visit_learning_rate(visits)
        q_values = private_td_step(
            q_values, trajectories.episode(m), log_policy, tau=0.1, learning_rate=rate, expected=expected
        )
        for i in range(N):
            episode = alone(trajectories, i).episode(m)
            counted[i] += episode.visits[0]
            single[i] = td_step(
                single[i],
                episode,
                log_policy[i],
                tau=0.1,
                learning_rate=visit_learning_rate(counted[i]),
                expected=expected,
            )
    assert torch.equal(visits, counted)
    assert torch.allclose(q_values, torch.stack(single), **EXACT)


def test_one_step_by_hand():
    # agent 0: action 0 pays 1 then 0, action 1 never; agent 1: action 1 pays .5 twice. tau = 0
    trajectories = Trajectories(
        torch.zeros(2, 2, 2), torch.tensor([[[0, 1]], [[0, 1]]]), torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])
    )
    log_policy = torch.full((2, 1, 1, 2), 0.5).log()
    found = sweep_backwards_privately(trajectories, log_policy, tau=0.0)
    assert found.q_values.flatten().tolist() == [0.5, 0.0, 0.0, 0.5]
    assert found.visits.flatten().tolist() == [2, 0, 0, 2]
    with_entropy = sweep_backwards_privately(trajectories, log_policy, tau=1.0).q_values.flatten()
    bonus = entropy(log_policy[0, 0, 0]).item()
    assert with_entropy.tolist() == pytest.approx([0.5 + bonus, 0.0, 0.0, 0.5 + bonus])


def test_nobody_learns_from_another():
    trajectories, log_policy = sample(0)
    before = sweep_backwards_privately(trajectories, log_policy, tau=0.1).q_values
    rewards = trajectories.rewards.clone()
    rewards[:, :, 2] += 1.0
    after = sweep_backwards_privately(trajectories._replace(rewards=rewards), log_policy, tau=0.1).q_values
    moved = (after != before).flatten(1).any(1)
    assert moved.tolist() == [False, False, True, False, False]
