"""Online mirror descent by hand, against loops, and on a monotone game."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import MeanFieldModel, expected_return, mean_field_flow, tabular_policy
from mf_pmd.functional.online_mirror_descent import online_mirror_descent_step, policy_q_values


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_q_values_equal_loops(random_model, random_policy, seed, horizon, n_states, n_actions):
    model = random_model(seed, horizon=horizon, n_states=n_states, n_actions=n_actions)
    table = random_policy(seed, horizon, n_states, n_actions)
    flow = mean_field_flow(model, tabular_policy(table))

    def q(h, s, a):
        if h == horizon:
            return 0.0
        ahead = 0.0
        for t in range(n_states):
            for b in range(n_actions) if h + 1 < horizon else ():
                ahead += flow.transition[h, s, a, t].item() * table[h + 1, t, b].item() * q(h + 1, t, b)
        return flow.reward[h, s, a].item() + ahead

    found = policy_q_values(flow)
    for h in range(max(0, horizon - 2), horizon):  # loops branch: two steps are enough of them
        for s in range(n_states):
            for a in range(n_actions):
                assert found[h, s, a].item() == pytest.approx(q(h, s, a), abs=1e-12)
    value = (table[0] * found[0]).sum(-1) @ model.initial_law
    assert value.item() == pytest.approx(expected_return(flow).item(), abs=1e-12)


def one_step(reward):
    """A game of one state, one step and the actions' rewards as a function of their shares mu [1, A]."""
    return MeanFieldModel(
        torch.ones(1, dtype=torch.float64),
        1,
        lambda mu: torch.ones(1, mu.shape[-1], 1, dtype=torch.float64),
        reward,
    )


def test_one_step_by_hand():
    # rewards (1, 0) whatever the population does: odds grow by e^.5 a step
    model = one_step(lambda mu: torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    logits = torch.zeros(1, 1, 2, dtype=torch.float64)
    for t in range(1, 4):
        logits = online_mirror_descent_step(model, logits, step_size=0.5).logits
        assert logits.flatten().tolist() == [0.5 * t, 0.0]
    # congestion: R = 1 - mu, from pi = (3/4, 1/4): Q = (1/4, 3/4), odds 3 e^(-.5 * 2)
    model = one_step(lambda mu: 1 - mu)
    logits = torch.tensor([[[math.log(3.0), 0.0]]], dtype=torch.float64)
    found = online_mirror_descent_step(model, logits, step_size=2.0)
    assert found.q_values.flatten().tolist() == pytest.approx([0.25, 0.75])
    odds = torch.softmax(found.logits, -1).flatten()
    assert (odds[0] / odds[1]).item() == pytest.approx(3 * math.exp(-1.0))


def test_a_nash_policy_stays():
    # R = 1 - mu at equal shares: both actions pay the same, so the policy does not move
    logits = online_mirror_descent_step(
        one_step(lambda mu: 1 - mu), torch.zeros(1, 1, 2, dtype=torch.float64), step_size=3.0
    ).logits
    assert torch.softmax(logits, -1).flatten().tolist() == [0.5, 0.5]


def test_exploitability_vanishes_in_a_monotone_game(make_game):
    model = make_game("a_beach", eps=0.0, eps_beta=0.0, n_sites=5, horizon=6).mean_field_model()
    logits = torch.zeros(6, 5, 3, dtype=torch.float64)
    scores = []
    for t in range(301):
        if t in (0, 10, 100, 300):
            policy = tabular_policy(torch.softmax(logits, -1))
            scores.append(mean_field_exploitability(model, policy).item())
        logits = online_mirror_descent_step(model, logits, step_size=5.0).logits
    assert scores[0] > 0.5
    assert scores[1] < 0.1 * scores[0]
    assert scores[3] < 1e-3 * scores[0]
    assert scores == sorted(scores, reverse=True)
