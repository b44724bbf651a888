"""The flow of a policy and its value, against loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.mean_field import expected_return, mean_field_flow, tabular_policy, uniform_policy


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_flow_equals_loops_and_keeps_its_mass(
    random_model, random_policy, seed, horizon, n_states, n_actions
):
    model = random_model(seed, horizon=horizon, n_states=n_states, n_actions=n_actions)
    table = random_policy(seed, horizon, n_states, n_actions)
    flow = mean_field_flow(model, tabular_policy(table))
    assert flow.mu.shape == (horizon, n_states, n_actions)
    assert flow.mu.sum((1, 2)).tolist() == pytest.approx([1.0] * horizon)
    assert (flow.mu >= 0).all()

    nu, total = model.initial_law.tolist(), 0.0
    for h in range(horizon):
        mu = [[nu[s] * table[h, s, a].item() for a in range(n_actions)] for s in range(n_states)]
        assert flow.mu[h].flatten().tolist() == pytest.approx([x for row in mu for x in row], abs=1e-12)
        cells = torch.tensor(mu, dtype=torch.float64)
        transition, reward = model.transition(cells), model.reward(cells)
        nu = [0.0] * n_states
        for s in range(n_states):
            for a in range(n_actions):
                total += mu[s][a] * reward[s, a].item()
                for t in range(n_states):
                    nu[t] += mu[s][a] * transition[s, a, t].item()
    assert expected_return(flow).item() == pytest.approx(total, abs=1e-12)
    assert torch.equal(flow.policy, table)


def test_a_policy_is_shown_its_own_flow(random_model):
    model = random_model(3, horizon=4, n_states=3, n_actions=2)
    seen = []

    def policy(h, nu):
        seen.append((h, nu.clone()))
        return torch.stack([nu, 1 - nu], -1)

    flow = mean_field_flow(model, policy)
    assert [h for h, _ in seen] == [0, 1, 2, 3]
    for h, nu in seen:
        assert torch.allclose(nu, flow.mu[h].sum(-1))
    assert torch.equal(seen[0][1], model.initial_law)


def test_uniform_policy_and_precision(random_model):
    model = random_model(0, n_states=3, n_actions=4)
    rows = uniform_policy(3, 4)(0, model.initial_law)
    assert rows.shape == (3, 4)
    assert (rows == 0.25).all()
    assert rows.dtype == torch.float64
    table = torch.full((3, 3, 4), 0.25)  # float32: the flow stays in the model's precision
    assert mean_field_flow(model, tabular_policy(table)).mu.dtype == torch.float64
