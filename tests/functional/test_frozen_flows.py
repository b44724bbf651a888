"""Frozen flows against path enumeration, and the bracket's coverage against a known answer."""

import itertools

import pytest
import torch

from mf_pmd.functional.frozen_flows import FrozenFlows, deviation_gain, flow_values, greedy_deviation


def random_flows(n_episodes, *, horizon=3, n_states=2, n_actions=2, seed=0, spread=1.0):
    """Random problems around a common one; ``spread`` 0 makes them equal."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        common = torch.rand(*shape[1:], generator=generator, dtype=torch.float64)
        own = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return (1 - spread) * common + spread * own

    transition = draw(n_episodes, horizon, n_states, n_actions, n_states) + 0.1
    initial = torch.full((n_states,), 1 / n_states, dtype=torch.float64)
    rewards = draw(n_episodes, horizon, n_states, n_actions)
    return FrozenFlows(transition / transition.sum(-1, keepdim=True), rewards, initial)


def random_policy(horizon=3, n_states=2, n_actions=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(horizon, n_states, n_actions, generator=generator).double(), -1)


def deterministic_policies(horizon=3, n_states=2, n_actions=2):
    for choice in itertools.product(range(n_actions), repeat=horizon * n_states):
        actions = torch.tensor(choice).reshape(horizon, n_states)
        yield torch.nn.functional.one_hot(actions, n_actions).double()


def test_values_equal_the_sum_over_paths():
    flows, policy = random_flows(2), random_policy()
    for b in range(2):
        total = 0.0
        for path in itertools.product(itertools.product(range(2), range(2)), repeat=3):
            chance, gained = float(flows.initial_law[path[0][0]]), 0.0
            for h, (s, a) in enumerate(path):
                chance *= float(policy[h, s, a])
                gained += float(flows.reward[b, h, s, a])
                if h < 2:
                    chance *= float(flows.transition[b, h, s, a, path[h + 1][0]])
            total += chance * gained
        assert flow_values(flows, policy)[b].item() == pytest.approx(total, abs=1e-12)


def test_the_greedy_deviation_is_the_best_on_equal_flows():
    flows = random_flows(4, spread=0.0, seed=3)
    best = max(flow_values(flows, policy)[0].item() for policy in deterministic_policies())
    found = flow_values(flows, greedy_deviation(flows))
    assert found.tolist() == pytest.approx([best] * 4, abs=1e-12)


def test_equal_flows_are_bracketed_exactly():
    flows, policy = random_flows(6, spread=0.0), random_policy()
    best = max(flow_values(flows, other)[0].item() for other in deterministic_policies())
    bracket = deviation_gain(flows, policy)
    truth = best - flow_values(flows, policy)[0].item()
    assert bracket[:3] == pytest.approx((truth, truth, truth), abs=1e-12)
    assert not bracket.too_weak


def test_a_best_response_gains_nothing():
    flows = random_flows(6, spread=0.0)
    bracket = deviation_gain(flows, greedy_deviation(flows))
    assert bracket.estimate == bracket.lower == bracket.upper == 0.0


def test_the_ends_are_the_paired_statistics():
    flows, policy = random_flows(10, seed=4), random_policy(seed=1)
    fitted, held_out = flows.halves()
    deviation = greedy_deviation(fitted)
    inside = flow_values(fitted, deviation) - flow_values(fitted, policy)
    outside = flow_values(held_out, deviation) - flow_values(held_out, policy)
    bracket = deviation_gain(flows, policy, z=2.0)
    error = 2.0 * outside.std().item() / 5**0.5
    assert bracket.estimate == pytest.approx(outside.mean().item())
    assert bracket.lower == pytest.approx(outside.mean().item() - error)
    above = inside.mean().item() + 2.0 * inside.std().item() / 5**0.5
    assert bracket.upper == pytest.approx(max(above, outside.mean().item() + error))


def test_a_deviator_fitted_to_noise_is_called_weak():
    # two flows of pure noise a half, and a policy that no deviation improves in expectation
    weak = [deviation_gain(random_flows(4, seed=seed), random_policy(seed=seed)) for seed in range(20)]
    assert sum(bracket.too_weak for bracket in weak) > 5
    assert all(bracket.lower <= 0 for bracket in weak if bracket.too_weak)
    strong = [
        deviation_gain(random_flows(400, seed=seed, spread=0.2), random_policy(seed=seed))
        for seed in range(5)
    ]
    assert not any(bracket.too_weak for bracket in strong)


def test_the_bracket_covers_what_enumeration_finds():
    # flows drawn from ten equally likely ones, so that the estimand is a maximum over 64 policies
    population, policy = random_flows(10, seed=7, spread=0.6), random_policy(seed=2)
    own = flow_values(population, policy).mean()
    truth = max((flow_values(population, other).mean() - own).item() for other in deterministic_policies())
    covered = 0
    for seed in range(100):
        index = torch.randint(10, (200,), generator=torch.Generator().manual_seed(seed))
        drawn = FrozenFlows(population.transition[index], population.reward[index], population.initial_law)
        bracket = deviation_gain(drawn, policy)
        covered += bracket.lower <= truth <= bracket.upper
    assert covered >= 90
