"""Fictitious play: by hand, the flow of its average, and its rate on a monotone game."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.fictitious_play import density_mixture, deviator_density, fictitious_play_step
from mf_pmd.functional.mean_field import MeanFieldModel, mean_field_flow, tabular_policy


@pytest.fixture(scope="module")
def monotone(make_game):
    """A small A-Beach: kernels that do not read mu, solitude that does."""
    return make_game("a_beach", n_sites=5, horizon=6).mean_field_model()


def uniform(horizon, n_states, n_actions):
    return torch.full((horizon, n_states, n_actions), 1 / n_actions, dtype=torch.float64)


def test_one_step_by_hand():
    # R = 1 - mu: the best response to (1/2, 1/2) is action 0 (ties to the lowest), the average (3/4, 1/4);
    # then action 1 with weight 1/3: (1/2, 1/2); then action 0 again: (5/8, 3/8)
    model = MeanFieldModel(
        torch.ones(1, dtype=torch.float64), 1, lambda mu: torch.ones(1, 2, 1).double(), lambda mu: 1 - mu
    )
    policy, played = uniform(1, 1, 2), []
    for t in range(3):
        found = fictitious_play_step(model, policy, weight=1 / (t + 2))
        policy = found.policy
        played.append((found.response.flatten().tolist(), policy.flatten().tolist()))
    assert [response for response, _ in played] == [[1, 0], [0, 1], [1, 0]]
    averages = [p for _, average in played for p in average]
    assert averages == pytest.approx([0.75, 0.25, 0.5, 0.5, 0.625, 0.375])


def test_the_mixture_weighs_by_density():
    # state 0: masses .5 * .8 and .5 * .2; state 1: .5 * .2 and .5 * .8; state 2: nobody
    first, second = torch.tensor([[[1.0, 0.0]] * 3]), torch.tensor([[[0.0, 1.0]] * 3])
    densities = torch.tensor([[[0.8, 0.2, 0.0]], [[0.2, 0.8, 0.0]]])
    mixture = density_mixture(torch.stack([first, second]), densities, torch.tensor([0.5, 0.5]))
    assert torch.allclose(mixture, torch.tensor([[[0.8, 0.2], [0.2, 0.8], [0.5, 0.5]]]))


def test_the_flow_of_the_average_is_the_average_of_the_flows(monotone):
    # kernels free of mu: after t best responses the flow is the plain mean of t + 1 flows, exactly
    policy = uniform(6, 5, 3)
    flows = [mean_field_flow(monotone, tabular_policy(policy)).mu]
    for t in range(12):
        found = fictitious_play_step(monotone, policy, weight=1 / (t + 2))
        flows.append(mean_field_flow(monotone, tabular_policy(found.response)).mu)
        policy = found.policy
        average = mean_field_flow(monotone, tabular_policy(policy)).mu
        assert torch.allclose(average, torch.stack(flows).mean(0), atol=1e-14, rtol=0)
    assert (torch.stack(flows).std(0) > 0.01).any()


@given(st.integers(0, 10**6))
def test_the_density_of_a_deviator_equals_loops(random_model, random_policy, seed):
    model = random_model(seed, horizon=4, n_states=3, n_actions=2)
    flow = mean_field_flow(model, tabular_policy(random_policy(seed, 4, 3, 2)))
    deviation = random_policy(seed + 1, 4, 3, 2)
    found = deviator_density(flow, deviation, model.initial_law)
    law = model.initial_law.tolist()
    for h in range(4):
        assert found[h].tolist() == pytest.approx(law, abs=1e-12)
        before, law = law, [0.0] * 3
        for s, a, target in itertools.product(range(3), range(2), range(3)):
            law[target] += before[s] * (deviation[h, s, a] * flow.transition[h, s, a, target]).item()
    own = deviator_density(flow, flow.policy, model.initial_law)
    assert torch.allclose(own, flow.mu.sum(-1))


@given(st.integers(0, 10**6), st.floats(0.0, 1.0))
def test_rows_stay_distributions(random_model, random_policy, seed, weight):
    model = random_model(seed, horizon=3, n_states=3, n_actions=2)
    policy = fictitious_play_step(model, random_policy(seed, 3, 3, 2), weight=weight).policy
    assert (policy >= 0).all()
    assert torch.allclose(policy.sum(-1), torch.ones(3, 3, dtype=torch.float64))


def test_exploitability_falls_as_one_over_t_in_a_monotone_game(monotone):
    policy, scaled = uniform(6, 5, 3), {}
    for t in range(1, 401):
        policy = fictitious_play_step(monotone, policy, weight=1 / (t + 1)).policy
        if t in (25, 50, 100, 200, 400):
            scaled[t] = t * mean_field_exploitability(monotone, tabular_policy(policy)).item()
    assert scaled[400] / 400 < 2e-2
    assert max(scaled.values()) < 3 * min(scaled.values())  # t E stays in a band: neither slower nor stuck
