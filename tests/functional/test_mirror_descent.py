"""The closed form of a mirror-descent step, against numerical optimisation and its own definition."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.mirror_descent import (
    looked_ahead,
    mirror_descent_step,
    mirror_descent_target,
    mix_with_uniform,
    mixing_weight,
    scale_free_step_size,
    square_spread,
    step_size,
)


def objective(u, pi, q, xi, tau):
    """xi / (1 - tau xi) [<q, u> + tau Ent(u)] - KL(u | pi), as Def. 12 has it."""
    u, pi, q = (np.asarray(x, dtype=float) for x in (u, pi, q))
    log_u = np.log(np.where(u > 0, u, 1.0))
    entropy = -(u * log_u).sum(-1)
    kl = (u * (log_u - np.log(pi))).sum(-1)
    return xi / (1 - tau * xi) * ((q * u).sum(-1) + tau * entropy) - kl


@st.composite
def problems(draw):
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    n_actions = draw(st.integers(2, 5))
    tau = draw(st.floats(0.0, 0.5))
    xi = draw(st.floats(0.05, 0.95)) * min(10.0, 1 / max(tau, 1e-3))
    pi = 0.98 * random.dirichlet(np.ones(n_actions)) + 0.02 / n_actions
    return pi, random.normal(0, draw(st.floats(0.1, 3)), n_actions), xi, tau


def closed_form(pi, q, xi, tau):
    log_policy = torch.from_numpy(pi).log()
    return mirror_descent_target(log_policy, torch.from_numpy(q), xi=xi, tau=tau).exp().numpy()


@given(problems(), st.integers(0, 10**6))
def test_no_other_distribution_does_better(problem, seed):
    pi, q, xi, tau = problem
    best = closed_form(pi, q, xi, tau)
    assert best.sum() == pytest.approx(1)
    reached = objective(best, pi, q, xi, tau)
    random = np.random.default_rng(seed)
    anywhere = random.dirichlet(np.ones(len(pi)), 100)
    for share in (1.0, 0.1, 0.01, 0.001):
        near = (1 - share) * best + share * anywhere
        assert (objective(near, pi, q, xi, tau) <= reached + 1e-9).all()


@pytest.mark.parametrize("seed", range(8))
def test_equals_numerical_optimisation(seed):
    random = np.random.default_rng(seed)
    n_actions = 2 + seed % 3
    pi, q = random.dirichlet(np.ones(n_actions)), random.normal(size=n_actions)
    tau = (0.0, 0.01, 0.3)[seed % 3]
    xi = (0.3, 1.0, 2.5, 3.2)[seed % 4]

    def loss(logits):
        u = np.exp(logits - logits.max())
        return -objective(u / u.sum(), pi, q, xi, tau)

    found = scipy.optimize.minimize(loss, np.zeros(n_actions), method="BFGS", options={"gtol": 1e-9}).x
    found = np.exp(found - found.max())
    assert closed_form(pi, q, xi, tau) == pytest.approx(found / found.sum(), abs=2e-5)


def test_by_hand():
    # pi^.5 exp(2 q) with tau .25, xi 2: .8^.5 : .2^.5 = 2 : 1, times e^0 : e^(2 ln 2 / 2) = 1 : 2 -> 1 : 1
    log_policy, q = torch.tensor([0.8, 0.2]).log(), torch.tensor([0.0, math.log(2) / 2])
    assert mirror_descent_target(log_policy, q, xi=2.0, tau=0.25).exp().tolist() == pytest.approx([0.5, 0.5])
    # multiplicative weights: .5 e^1 : .5 e^0
    weights = mirror_descent_target(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 0.0]), xi=1.0, tau=0.0)
    assert weights.exp().tolist() == pytest.approx([0.7310586, 0.2689414], abs=1e-6)


@given(problems(), st.floats(-50, 50))
def test_a_constant_in_q_changes_nothing(problem, constant):
    pi, q, xi, tau = problem
    assert closed_form(pi, q + constant, xi, tau) == pytest.approx(closed_form(pi, q, xi, tau), abs=1e-8)


def test_rows_do_not_mix():
    random = torch.Generator().manual_seed(0)
    log_policy = torch.log_softmax(torch.randn(2, 3, 4, generator=random), -1)
    q = torch.randn(2, 3, 4, generator=random)
    whole = mirror_descent_target(log_policy, q, xi=1.5, tau=0.1)
    for b in range(2):
        for s in range(3):
            row = mirror_descent_target(log_policy[b, s], q[b, s], xi=1.5, tau=0.1)
            assert torch.allclose(whole[b, s], row)


def test_a_step_too_long_is_refused():
    with pytest.raises(AssertionError):
        mirror_descent_target(torch.zeros(2), torch.zeros(2), xi=2.0, tau=0.5)


@given(problems(), st.floats(0, 1))
def test_mixing_is_arithmetic(problem, weight):
    pi, q, xi, tau = problem
    log_policy, n_actions = torch.from_numpy(pi).log(), len(pi)
    mixed = mix_with_uniform(log_policy, weight).exp().numpy()
    assert mixed == pytest.approx((1 - weight) * pi + weight / n_actions, abs=1e-12)
    assert mixed.sum() == pytest.approx(1)
    step = mirror_descent_step(log_policy, torch.from_numpy(q), xi=xi, tau=tau, mixing=weight).exp().numpy()
    assert step == pytest.approx((1 - weight) * closed_form(pi, q, xi, tau) + weight / n_actions, abs=1e-12)


def test_limits_of_mixing():
    log_policy = torch.tensor([1.0, 0.0, 0.0]).log()
    assert torch.equal(mix_with_uniform(log_policy, 0.0), log_policy)
    assert mix_with_uniform(log_policy, 1.0).exp().tolist() == pytest.approx([1 / 3] * 3)
    assert mix_with_uniform(log_policy, 0.3).exp().tolist() == pytest.approx([0.8, 0.1, 0.1])


def test_looking_ahead_goes_on_as_q_went():
    before, now = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 2.0], [0.5, 0.0]])
    assert looked_ahead(now, before, 1.0).tolist() == [[5.0, 2.0], [1.0, 0.0]]
    assert looked_ahead(now, before, 0.5).tolist() == [[4.0, 2.0], [0.75, 0.0]]
    assert torch.equal(looked_ahead(now, now, 0.7), now)
    assert now.tolist() == [[3.0, 2.0], [0.5, 0.0]]


@pytest.mark.parametrize(("weight", "ends"), [(0.0, False), (1.0, True)])
def test_optimistic_steps_end_the_circles_of_matching_pennies(weight, ends):
    # two players, one row each: what pays one costs the other, so that plain steps spiral outwards
    payoff = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    log_policies = [torch.tensor([0.9, 0.1], dtype=torch.float64).log() for _ in range(2)]
    before = None
    for _ in range(400):
        one, two = (log_policy.exp() for log_policy in log_policies)
        q_values = [payoff @ two, -one @ payoff]
        before = before or q_values
        log_policies = [
            mirror_descent_target(log_policy, looked_ahead(q, q_before, weight), xi=0.2, tau=0.0)
            for log_policy, q, q_before in zip(log_policies, q_values, before, strict=True)
        ]
        before = q_values
    off = max((log_policy.exp()[0] - 0.5).abs().item() for log_policy in log_policies)
    assert (off < 0.01) == ends
    assert ends or off > 0.3


def test_schedules():
    assert [step_size(t, 6.0) for t in (0, 3, 8)] == [6.0, 3.0, 2.0]
    assert [mixing_weight(t, 1.0, 1.0) for t in (0, 1, 3)] == [1.0, 0.5, 0.25]  # the paper's 1 / (t + 1)
    assert [mixing_weight(t, 0.1, 0.1) for t in (0, 1)] == [1.0, pytest.approx(1 / 11)]
    assert mixing_weight(0, 0.1, 1.0) == pytest.approx(0.1)
    assert mixing_weight(0, 5.0, 1.0) == 1.0
    assert mixing_weight(0, 0.0, 1.0) == 0.0


def test_the_spread_of_q_is_that_of_visited_cells_where_agents_are():
    q_values = torch.tensor([[[1.0, 4.0, 99.0], [0.0, 2.0, 2.0]], [[5.0, 5.0, 5.0], [7.0, 8.0, 9.0]]])
    visits = torch.tensor([[[2.0, 1.0, 0.0], [1.0, 4.0, 4.0]], [[3.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
    # step 0: a quarter of the visits at spread 3, the rest at 2; step 1: all where the spread is 0
    expected = (3 * 9 + 9 * 4) / 12 + 0
    assert square_spread(q_values, visits).item() == pytest.approx(expected)
    shifted = q_values + torch.randn(2, 2, 1)
    assert square_spread(shifted, visits).item() == pytest.approx(expected, rel=1e-5)
    assert square_spread(q_values, torch.zeros_like(visits)).item() == 0.0


def test_the_scale_free_step_size():
    assert scale_free_step_size(16.0, 2.0) == 0.5
    assert scale_free_step_size(0.0, 2.0) == 0.0


def test_unavailable_actions_stay_impossible():
    available = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    log_policy = torch.log_softmax(torch.where(available, 0.0, -torch.inf), -1)
    q = torch.tensor([[1.0, 0.0, 9.0], [0.0, 5.0, 5.0], [1.0, 0.0, -1.0]])
    for mixing in (0.0, 0.3, 1.0):
        new = mirror_descent_step(log_policy, q, xi=2.0, tau=0.1, mixing=mixing, available=available).exp()
        assert (new[~available] == 0).all()
        assert new.sum(-1).tolist() == pytest.approx([1.0] * 3)
        everywhere = mirror_descent_step(log_policy[2], q[2], xi=2.0, tau=0.1, mixing=mixing).exp()
        assert torch.allclose(new[2], everywhere)  # all available: the plain step
        kept = torch.tensor([2.0, 0.0]).softmax(-1)  # the step on the two that are there
        assert torch.allclose(new[0, :2], (1 - mixing) * kept + mixing / 2)
