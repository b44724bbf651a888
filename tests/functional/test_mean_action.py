"""Mean-field Q-learning on cells against the same, agent by agent, in loops."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.functional.cells import cell_statistics
from mf_pmd.functional.mean_action import (
    advantages,
    boltzmann_policy,
    mean_actions,
    mean_field_targets,
    mean_field_value,
    policy_gradient_loss,
    previous_action_counts,
    previous_mean_actions,
    squared_error,
    taken,
)

B, T, N, S, A = 2, 3, 5, 2, 3
GAMMA, BETA = 0.9, 2.0
AGENTS = list(itertools.product(range(B), range(T), range(N)))


def q_function(h, s, a, mean_action, shift=0.0):
    """Any function of (h, s, a, a-bar)."""
    return math.sin(shift + h + 2 * s + 3 * a + sum(k * x for k, x in enumerate(mean_action, 1)))


def boltzmann(values):
    odds = [math.exp(BETA * value) for value in values]
    return [x / sum(odds) for x in odds]


@pytest.fixture(scope="module", params=[0, 1])
def play(request):
    """Random trajectories, their statistics, and what every agent saw, by loops."""
    random = torch.Generator().manual_seed(request.param)
    states = torch.randint(S, (B, T + 1, N), generator=random)
    actions = torch.randint(A, (B, T, N), generator=random)
    rewards = torch.rand(B, T, N, generator=random, dtype=torch.float64)
    sizes = {"n_states": S, "n_actions": A, "count_next_cells": True, "dtype": torch.float64}
    statistics = cell_statistics(states, actions, rewards, **sizes)

    def others(b, t, i):
        return [sum(actions[b, t, k].item() == a for k in range(N) if k != i) / (N - 1) for a in range(A)]

    def before(b, t, i):
        return others(b, t - 1, i) if t else [1 / A] * A

    return SimpleNamespace(**locals())


def table(play, rows, shift=0.0):
    """Q of every row of mean actions, [B, T, S, A (row), A]."""
    values = [
        q_function(t, s, a, rows[b, t, o].tolist(), shift)
        for b, t, s, o, a in itertools.product(range(B), range(T), range(S), range(A), range(A))
    ]
    return torch.tensor(values, dtype=torch.float64).reshape(B, T, S, A, A)


def test_the_mean_action_leaves_the_agent_itself_out(play):
    found = mean_actions(play.statistics.visits)
    previous = previous_mean_actions(found)
    for b, t, i in AGENTS:
        row = found[b, t, play.actions[b, t, i]]
        assert row.tolist() == pytest.approx(play.others(b, t, i))
        assert row.sum().item() == pytest.approx(1)
        own = play.actions[b, t - 1, i] if t else 0
        assert previous[b, t, own].tolist() == pytest.approx(play.before(b, t, i))


def test_two_agents_meet_each_other():
    actions = torch.tensor([[[0, 2]]])
    found = cell_statistics(torch.zeros(1, 2, 2), actions, torch.zeros(1, 1, 2), n_states=1, n_actions=3)
    rows = mean_actions(found.visits)[0, 0]
    assert rows[0].tolist() == [0, 0, 1]
    assert rows[2].tolist() == [1, 0, 0]


def test_the_boltzmann_policy():
    q_values = torch.tensor([0.0, 1.0])
    assert boltzmann_policy(q_values, math.log(3)).tolist() == pytest.approx([0.25, 0.75])
    assert boltzmann_policy(q_values, 0.0).tolist() == [0.5, 0.5]
    assert boltzmann_policy(q_values, 1e4).tolist() == [0, 1]
    assert boltzmann_policy(torch.tensor([1e6, 1e6 + 1]), 1.0)[1].item() == pytest.approx(0.7310586)


def test_agents_are_counted_by_state_and_last_action(play):
    found = previous_action_counts(play.statistics)
    expected = torch.zeros(B, T, S, A, dtype=torch.float64)
    for b, t, i in AGENTS:
        expected[b, t, play.states[b, t, i], play.actions[b, t - 1, i] if t else 0] += 1
    assert torch.equal(found, expected)
    assert torch.equal(found.sum(-1), play.statistics.state_count)


def test_the_value_by_hand():
    policy = torch.tensor([[[0.25, 0.75], [1.0, 0.0]]])  # S = 1, last action 0 or 1
    q_values = torch.tensor([[[4.0, 8.0], [0.0, 2.0]]])  # own action 0 or 1 says which a-bar
    assert mean_field_value(policy, q_values).tolist() == [[[7.0, 1.5], [4.0, 0.0]]]


def target_of_agent(play, b, t, i):
    """y^i = r + gamma sum_a pi(a | s', a-bar) Q_(s', a, a-bar')."""
    y = play.rewards[b, t, i].item()
    if t == T - 1:
        return y
    s, seen, met = play.states[b, t + 1, i].item(), play.others(b, t, i), play.others(b, t + 1, i)
    policy = boltzmann([q_function(t + 1, s, a, seen) for a in range(A)])
    return y + GAMMA * sum(p * q_function(t + 1, s, a, met) for a, p in enumerate(policy))


def cell_targets(play):
    rows = mean_actions(play.statistics.visits)
    policy = boltzmann_policy(table(play, previous_mean_actions(rows)), BETA)
    return mean_field_targets(play.statistics, policy, table(play, rows), gamma=GAMMA)


def test_targets_are_the_means_of_the_agents_targets(play):
    found = cell_targets(play)
    sums = torch.zeros(B, T, S, A, dtype=torch.float64)
    for b, t, i in AGENTS:
        sums[b, t, play.states[b, t, i], play.actions[b, t, i]] += target_of_agent(play, b, t, i)
    expected = sums / play.statistics.visits.clamp(min=1)
    assert torch.allclose(found, expected, atol=1e-12)
    assert (found[play.statistics.visits == 0] == 0).all()


def test_the_loss_over_cells_is_the_loss_over_agents(play):
    """The gradients are equal, and the losses differ by the spread of the targets within cells."""
    rows = mean_actions(play.statistics.visits)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    q_values = scale * table(play, rows, 0.5) + shift * table(play, rows, 1.0)
    target = cell_targets(play)
    loss = squared_error(taken(q_values), target, play.statistics.visits, count_exponent=1.0)
    by_agent, spread = 0, 0
    for b, t, i in AGENTS:
        s, a = play.states[b, t, i], play.actions[b, t, i]
        met = play.others(b, t, i)
        prediction = scale * q_function(t, s.item(), a.item(), met, 0.5)
        prediction = prediction + shift * q_function(t, s.item(), a.item(), met, 1.0)
        y = target_of_agent(play, b, t, i)
        by_agent = by_agent + (y - prediction) ** 2 / len(AGENTS)
        spread += (y - target[b, t, s, a].item()) ** 2 / len(AGENTS)
    assert spread > 1e-3
    assert loss.item() == pytest.approx(by_agent.item() - spread)
    ours = torch.autograd.grad(loss, (shift, scale))
    theirs = torch.autograd.grad(by_agent, (shift, scale))
    assert [g.item() for g in ours] == pytest.approx([g.item() for g in theirs])


def test_the_exponent_levels_the_cells():
    visits = torch.tensor([[[[4.0, 1.0, 0.0]]]])
    target, zero = torch.tensor([[[[1.0, 2.0, 9.0]]]]), torch.zeros(1, 1, 1, 3)
    for exponent, expected in {1.0: (4 + 4) / 5, 0.0: (1 + 4) / 2, 0.5: (2 + 4) / 3}.items():
        assert squared_error(zero, target, visits, count_exponent=exponent).item() == pytest.approx(expected)


@pytest.mark.parametrize("baseline", [False, True])
def test_the_policy_gradient_is_that_of_the_agents(play, baseline):
    """By central differences of the mean over agents of log pi(a | s) x advantage."""
    logits = torch.randn(T, S, A, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    fixed = logits.softmax(-1)
    rows = mean_actions(play.statistics.visits)
    q_values = table(play, rows)

    def objective(logits):
        total, log_policy = 0.0, logits.log_softmax(-1)
        for b, t, i in AGENTS:
            s, a, met = play.states[b, t, i].item(), play.actions[b, t, i].item(), play.others(b, t, i)
            worth = q_function(t, s, a, met)
            if baseline:
                worth -= sum(fixed[t, s, k].item() * q_function(t, s, k, met) for k in range(A))
            total += log_policy[t, s, a].item() * worth / len(AGENTS)
        return total

    parameter = logits.clone().requires_grad_()
    worth = advantages(fixed.unsqueeze(0), q_values, baseline=baseline)
    loss = policy_gradient_loss(parameter.log_softmax(-1).unsqueeze(0), worth, play.statistics.visits)
    (gradient,) = torch.autograd.grad(loss, parameter)
    assert loss.item() == pytest.approx(-objective(logits))
    step = 1e-5
    for index in itertools.product(range(T), range(S), range(A)):
        bump = torch.zeros_like(logits)
        bump[index] = step
        slope = (objective(logits + bump) - objective(logits - bump)) / (2 * step)
        assert gradient[index].item() == pytest.approx(-slope, abs=1e-8)


def test_the_baseline_changes_no_mean_of_the_gradient():
    """Sum over an agent's own action, the others' as they are: sum_a pi(a) grad log pi(a) v = 0."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 1, 1, A, generator=random, dtype=torch.float64, requires_grad=True)
    row = torch.randn(A, generator=random, dtype=torch.float64)
    q_values = row.expand(1, 1, 1, A, A)  # a-bar does not depend on the own action
    gradients = []
    for baseline in (False, True):
        worth = advantages(logits.detach().softmax(-1), q_values, baseline=baseline)
        visits = logits.detach().softmax(-1)  # every action as often as it is played
        (gradient,) = torch.autograd.grad(policy_gradient_loss(logits.log_softmax(-1), worth, visits), logits)
        gradients.append(gradient)
    assert torch.allclose(*gradients, atol=1e-12)
    assert gradients[0].abs().max() > 0.01
