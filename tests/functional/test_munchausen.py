"""Munchausen targets by hand, their limits, and their identity with mirror descent."""

import math

import pytest
import torch

from mf_pmd.functional.cells import CellStatistics
from mf_pmd.functional.distributions import entropy
from mf_pmd.functional.mean_field import mean_field_flow, tabular_policy
from mf_pmd.functional.mirror_descent import mirror_descent_target
from mf_pmd.functional.munchausen import munchausen_sweep, soft_value

H, S, A = 3, 2, 2


@pytest.fixture
def exact(random_model):
    """Statistics of infinitely many agents: the flow of a policy in a random game, as fractions of visits."""

    def make(policy, seed=0):
        flow = mean_field_flow(random_model(seed, horizon=H), tabular_policy(policy))
        visits = flow.mu.unsqueeze(0) * 1e6
        return flow, CellStatistics(
            visits=visits,
            reward_sum=visits * flow.reward,
            next_state=visits.unsqueeze(-1) * flow.transition,
            next_cell=None,
            state_count=visits.sum(-1),
        )

    return make


def evaluate(flow, log_policy, tau):
    """Q^pi of the flow's tables with the entropy of the steps after h, [H, S, A], by loops."""
    q = torch.zeros(H, S, A, dtype=torch.float64)
    policy = log_policy.exp()
    for h in reversed(range(H)):
        for s in range(S):
            for a in range(A):
                q[h, s, a] = flow.reward[h, s, a]
                for t in range(S if h + 1 < H else 0):
                    value = (policy[h + 1, t] * q[h + 1, t]).sum() + tau * entropy(log_policy[h + 1, t])
                    q[h, s, a] += flow.transition[h, s, a, t] * value
    return q


def test_the_target_by_hand():
    # one state, two steps; pi_1 = (1/4, 3/4), both actions were played at step 0
    log_policy = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64).log().reshape(1, 2, 1, 2)
    visits = torch.tensor([[4.0, 2.0], [0.0, 6.0]], dtype=torch.float64).reshape(1, 2, 1, 2)
    rewards = torch.tensor([[1.0, 0.5], [0.0, 3.0]], dtype=torch.float64).reshape(1, 2, 1, 2)
    statistics = CellStatistics(visits, rewards, visits.unsqueeze(-1), None, visits.sum(-1))
    fallback = torch.full((1, 2, 1, 2), 7.0, dtype=torch.float64)
    sweep = munchausen_sweep(statistics, log_policy, fallback, tau=0.2, weight=0.9)
    last = 3 / 6 + 0.9 * 0.2 * math.log(0.75)  # of the action that was played; the other is at 7
    value = 0.25 * (7 - 0.2 * math.log(0.25)) + 0.75 * (last - 0.2 * math.log(0.75))
    bonus = 0.9 * 0.2 * math.log(0.5)
    expected = [[1 / 4 + bonus + value, 0.5 / 2 + bonus + value], [7, last]]
    assert sweep.q_values.flatten().tolist() == pytest.approx([x for row in expected for x in row])
    assert sweep.visited.flatten().tolist() == [True, True, False, True]


def test_the_soft_value_of_the_softmax_is_the_log_sum_of_exponentials(random_policy):
    q_values = random_policy(0, 5, S, A).log()
    for tau in (1.0, 0.1, 0.01):
        found = soft_value(q_values, (q_values / tau).log_softmax(-1), tau=tau)
        assert torch.allclose(found, tau * (q_values / tau).logsumexp(-1))
    assert torch.allclose(found, q_values.max(-1).values, atol=0.01 * math.log(A))


def test_an_impossible_action_is_worth_nothing():
    log_policy = torch.tensor([0.0, -math.inf], dtype=torch.float64)
    assert soft_value(torch.tensor([2.0, 5.0], dtype=torch.float64), log_policy, tau=0.3).item() == 2


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_the_softmax_of_the_exact_target_is_the_mirror_descent_step(exact, random_policy, weight, tau):
    """softmax(Q / tau) = pi^weight exp(q / tau), q = Q^pi with entropy weight (1 - weight) tau."""
    log_policy = random_policy(3, H, S, A).log()
    flow, statistics = exact(log_policy.exp())
    zero = torch.zeros(1, H, S, A, dtype=torch.float64)
    sweep = munchausen_sweep(statistics, log_policy.unsqueeze(0), zero, tau=tau, weight=weight)
    assert sweep.visited.all()
    q = evaluate(flow, log_policy, (1 - weight) * tau)
    assert torch.allclose(sweep.q_values[0], q + weight * tau * log_policy, atol=1e-9)
    found = (sweep.q_values[0] / tau).log_softmax(-1)
    expected = mirror_descent_target(log_policy, q, xi=1 / tau, tau=(1 - weight) * tau) if weight else None
    if weight:
        assert torch.allclose(found, expected, atol=1e-7)
    else:  # no memory of the last policy: the soft policy improvement
        assert torch.allclose(found, (q / tau).log_softmax(-1), atol=1e-9)


def test_a_fixed_point_is_a_fixed_point_of_regularised_mirror_descent(exact):
    """Iterated on exact Q, it settles where mirror descent of any step size stands still."""
    tau, weight = 0.5, 0.5
    log_policy = torch.full((H, S, A), 1 / A, dtype=torch.float64).log()
    q_values = torch.zeros(1, H, S, A, dtype=torch.float64)
    for _ in range(200):
        flow, statistics = exact(log_policy.exp())
        q_values = munchausen_sweep(
            statistics, log_policy.unsqueeze(0), q_values, tau=tau, weight=weight
        ).q_values
        log_policy = (q_values[0] / tau).log_softmax(-1)
    flow, _ = exact(log_policy.exp())
    q = evaluate(flow, log_policy, (1 - weight) * tau)
    still = mirror_descent_target(log_policy, q, xi=0.7, tau=(1 - weight) * tau)
    assert torch.allclose(still, log_policy, atol=1e-8)
    assert (log_policy.exp() - 1 / A).abs().max() > 0.05


def test_the_greedy_limit(exact, random_policy):
    """tau -> 0 without the Munchausen term: the targets of Q-learning, r + max Q."""
    log_policy = random_policy(4, H, S, A).log()
    flow, statistics = exact(log_policy.exp())
    tau = 1e-4
    q_old = torch.zeros(1, H, S, A, dtype=torch.float64)
    for _ in range(H):  # the policy of the last iteration is greedy in Q once Q is right
        soft = (q_old / tau).log_softmax(-1)
        q_old = munchausen_sweep(statistics, soft, q_old, tau=tau, weight=0.0).q_values
    best = torch.zeros(H, S, A, dtype=torch.float64)
    for h in reversed(range(H)):
        value = best[h + 1].max(-1).values if h + 1 < H else torch.zeros(S, dtype=torch.float64)
        best[h] = flow.reward[h] + flow.transition[h] @ value
    assert torch.allclose(q_old[0], best, atol=1e-3)


def test_episodes_are_swept_on_their_own(exact, random_policy):
    log_policy = random_policy(3, H, S, A).log().unsqueeze(0)
    first, second = (exact(log_policy.exp()[0], seed)[1] for seed in (0, 1))
    zero = torch.zeros(1, H, S, A, dtype=torch.float64)
    both = munchausen_sweep(first.joined(second), log_policy, zero.expand(2, -1, -1, -1), tau=0.1, weight=0.9)
    for row, statistics in enumerate((first, second)):
        alone = munchausen_sweep(statistics, log_policy, zero, tau=0.1, weight=0.9)
        assert torch.equal(both.q_values[row], alone.q_values[0])
