"""Temporal differences against dynamic programming, in expectation and by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.cells import CellStatistics, cell_statistics
from mf_pmd.functional.td_targets import (
    paper_learning_rate,
    sweep_backwards,
    td_error,
    td_step,
    visit_learning_rate,
)


def chain(seed, horizon=4, n_states=3, n_actions=2):
    """A random finite-horizon decision problem and a policy, float64."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    cells = (horizon, n_states, n_actions)
    return SimpleNamespace(
        initial=torch.softmax(normal(n_states), -1),
        transition=torch.softmax(normal(*cells, n_states), -1),
        reward=torch.rand(*cells, generator=random, dtype=torch.float64),
        policy=torch.softmax(normal(*cells), -1),
        shape=cells,
    )


def exact_q(problem, tau):
    """Q^{tau, pi} by loops over Def. 10, the entropy of step h included."""
    horizon, n_states, n_actions = problem.shape
    q = torch.zeros(horizon + 1, n_states, n_actions, dtype=torch.float64)
    for h in reversed(range(horizon)):
        for s in range(n_states):
            entropy = -sum(p * math.log(p) for p in problem.policy[h, s].tolist())
            for a in range(n_actions):
                q[h, s, a] = problem.reward[h, s, a] + tau * entropy
                if h + 1 < horizon:
                    for t in range(n_states):
                        value = (problem.policy[h + 1, t] * q[h + 1, t]).sum()
                        q[h, s, a] += problem.transition[h, s, a, t] * value
    return q[:horizon]


def expected_statistics(problem, n_agents=10**6):
    """What infinitely many agents would leave, in units of ``n_agents``."""
    nu, visits = problem.initial, []
    for h in range(problem.shape[0]):
        visits.append(nu.unsqueeze(-1) * problem.policy[h])
        nu = torch.einsum("sa,sat->t", visits[-1], problem.transition[h])
    visits = n_agents * torch.stack(visits)
    next_state = visits.unsqueeze(-1) * problem.transition
    next_policy = torch.cat([problem.policy[1:], torch.zeros_like(problem.policy[:1])])
    next_cell = torch.einsum("hsat,htc->hsatc", next_state, next_policy)
    fields = (visits, visits * problem.reward, next_state, next_cell, visits.sum(-1))
    return CellStatistics(*(field.unsqueeze(0) for field in fields))


def sample(problem, n_episodes, n_agents, seed):
    """Trajectories of independent agents in the decision problem."""
    random = torch.Generator().manual_seed(seed)
    horizon, n_states, n_actions = problem.shape

    def draw(laws):
        return torch.multinomial(laws.reshape(-1, laws.shape[-1]), 1, generator=random).reshape(
            laws.shape[:-1]
        )

    state = draw(problem.initial.expand(n_episodes, n_agents, n_states))
    states, actions, rewards = [state], [], []
    for h in range(horizon):
        action = draw(problem.policy[h][state])
        noise = torch.rand(state.shape, generator=random, dtype=torch.float64) - 0.5
        rewards.append(problem.reward[h][state, action] + noise)
        actions.append(action)
        state = draw(problem.transition[h][state, action])
        states.append(state)
    return cell_statistics(
        torch.stack(states, 1),
        torch.stack(actions, 1),
        torch.stack(rewards, 1),
        n_states=n_states,
        n_actions=n_actions,
        count_next_cells=True,
        dtype=torch.float64,
    )


@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([0.0, 0.015, 0.7]), st.booleans())
def test_the_sweep_on_exact_statistics_is_dynamic_programming(seed, horizon, tau, expected):
    problem = chain(seed, horizon)
    sweep = sweep_backwards(
        expected_statistics(problem), problem.policy.log().unsqueeze(0), tau=tau, expected=expected
    )
    assert sweep.visited.all()
    assert torch.allclose(sweep.q_values[0], exact_q(problem, tau), atol=1e-10)


@pytest.mark.parametrize("expected", [True, False])
def test_exact_q_is_the_fixed_point_of_a_step(expected):
    problem = chain(1)
    q = exact_q(problem, 0.3)
    statistics, log_policy = expected_statistics(problem), problem.policy.log()
    settings = {"tau": 0.3, "expected": expected}
    error = td_error(q, statistics, log_policy, **settings)
    updated = td_step(q, statistics, log_policy, learning_rate=torch.full_like(q, 0.7), **settings)
    assert error.abs().max() < 1e-10
    assert torch.allclose(updated, q)


@given(st.integers(0, 10**6), st.booleans())
def test_the_swept_table_has_no_td_error_on_the_data_it_was_made_of(seed, expected):
    problem = chain(seed)
    pooled = sample(problem, 2, 4, seed).pooled()
    log_policy = problem.policy.log()
    sweep = sweep_backwards(pooled, log_policy.unsqueeze(0), tau=0.1, expected=expected)
    error = td_error(sweep.q_values[0], pooled, log_policy, tau=0.1, expected=expected)
    assert error.abs().max() < 1e-10
    assert sweep.q_values[~sweep.visited].abs().sum() == 0


def swept_step_by_step(statistics, log_policy, *, tau, expected, fallback=None, lam=1.0, fill_rows=False):
    """``sweep_backwards`` one step after the other, as it is defined."""
    visits, policy = statistics.visits, log_policy.exp()
    ent = -(policy * log_policy).sum(-1, keepdim=True)
    base = torch.zeros_like(visits) if fallback is None else fallback
    q_values, bootstrap = [], None
    for h in reversed(range(visits.shape[1])):
        target = statistics.reward_sum[:, h] / visits[:, h].clamp(min=1) + tau * ent[:, h]
        if bootstrap is not None and expected:
            value = (policy[:, h + 1] * bootstrap).sum(-1)
            following = torch.einsum("bsat,bt->bsa", statistics.next_state[:, h], value)
            target = target + following / visits[:, h].clamp(min=1)
        elif bootstrap is not None:
            following = torch.einsum("bsatc,btc->bsa", statistics.next_cell[:, h], bootstrap)
            target = target + following / visits[:, h].clamp(min=1)
        instead = base[:, h]
        if fill_rows:
            row = visits[:, h].sum(-1, keepdim=True).clamp(min=1)
            instead = ((visits[:, h] * target).sum(-1, keepdim=True) / row).expand_as(target)
        swept = torch.where(visits[:, h] > 0, target, instead)
        bootstrap = swept if fallback is None else lam * swept + (1 - lam) * base[:, h]
        q_values.append(swept)
    return torch.stack(q_values[::-1], 1)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["nothing", "rows", "fallback"]), st.booleans())
def test_the_sweep_is_the_one_step_by_step(seed, expected, instead, one_policy):
    problem = chain(seed, horizon=5, n_states=4, n_actions=3)
    statistics = sample(problem, 2, 6, seed)  # most cells are empty
    random = torch.Generator().manual_seed(seed)
    log_policy = torch.stack([problem.policy, problem.policy.flip(-1)])[: 1 if one_policy else 2].log()
    settings = {"tau": 0.2, "expected": expected, "fill_rows": instead == "rows"}
    if instead == "fallback":
        fallback = torch.randn(statistics.visits.shape, generator=random, dtype=torch.float64)
        settings |= {"fallback": fallback, "lam": 0.7}
    found = sweep_backwards(statistics, log_policy, **settings)
    torch.testing.assert_close(found.q_values, swept_step_by_step(statistics, log_policy, **settings))
    assert torch.equal(found.visited, statistics.visits > 0)


def test_both_targets_agree_in_expectation():
    problem = chain(5)
    q = exact_q(problem, 0.1)
    log_policy = problem.policy.log().unsqueeze(0)
    means = []
    for expected in (True, False):
        runs = [sample(problem, 1, 400, seed) for seed in range(150)]
        sweeps = [sweep_backwards(run, log_policy, tau=0.1, expected=expected) for run in runs]
        q_values = torch.stack([sweep.q_values[0] for sweep in sweeps])
        seen = torch.stack([sweep.visited[0] for sweep in sweeps]).all(0)
        assert seen.float().mean() > 0.8
        error = (q_values.mean(0) - q)[seen]
        standard = q_values.std(0)[seen] / math.sqrt(len(runs))
        assert (error.abs() < 5 * standard + 0.01).all()
        means.append((q_values.mean(0), q_values.std(0)[seen]))
    difference = (means[0][0] - means[1][0])[seen]
    assert difference.abs().max() < 0.05
    assert means[0][1].mean() < means[1][1].mean()  # expected SARSA varies less


@pytest.mark.parametrize("expected", [True, False])
def test_algorithm_1_converges_to_the_exact_values(expected):
    problem = chain(2, horizon=3, n_states=2)
    q, tau = exact_q(problem, 0.1), 0.1
    statistics = sample(problem, 3000, 1, seed=0)
    estimate = torch.zeros_like(q)
    visits, errors = torch.zeros_like(q), {}
    for m in range(3000):
        episode = statistics.episode(m)
        visits += episode.visits[0]
        estimate = td_step(
            estimate,
            episode,
            problem.policy.log(),
            tau=tau,
            learning_rate=visit_learning_rate(visits),
            expected=expected,
        )
        errors[m + 1] = (estimate - q).square().mean().sqrt().item()
    assert errors[10] > 0.3
    assert errors[3000] < 0.06
    assert errors[3000] < errors[100] / 2


def three_steps(fallback):
    """One agent through cells (0, 0), (0, 1), (1, 0) with rewards 1, 2, 4; all rows 1/2, tau = 0."""
    statistics = cell_statistics(
        torch.tensor([[[0], [0], [1], [0]]]),
        torch.tensor([[[0], [1], [0]]]),
        torch.tensor([[[1.0], [2.0], [4.0]]]),
        n_states=2,
        n_actions=2,
        count_next_cells=True,
    )
    log_policy = torch.full((1, 3, 2, 2), math.log(0.5))
    values = torch.full((1, 3, 2, 2), fallback)

    def sweep(lam, expected):
        return sweep_backwards(
            statistics, log_policy, tau=0.0, fallback=values, lam=lam, expected=expected
        ).q_values[0]

    return sweep


def test_td_lambda_by_hand():
    sweep = three_steps(fallback=10.0)
    # lambda 1 bootstraps from what was swept: 4, then 2 + 4, then 1 + 6; with SARSA the cell that was met
    late = sweep(1.0, expected=False)
    assert [late[2, 1, 0], late[1, 0, 1], late[0, 0, 0]] == [4.0, 6.0, 7.0]
    # expected: rows are means with the unvisited 10: 2 + (4 + 10) / 2 = 9, then 1 + (10 + 9) / 2
    late = sweep(1.0, expected=True)
    assert [late[2, 1, 0], late[1, 0, 1], late[0, 0, 0]] == [4.0, 9.0, 10.5]
    # lambda 0 bootstraps from the fallback after one step
    for expected in (True, False):
        soon = sweep(0.0, expected)
        assert [soon[2, 1, 0], soon[1, 0, 1], soon[0, 0, 0]] == [4.0, 12.0, 11.0]
    # half way: Q_2 is seen as (4 + 10) / 2 = 7 -> 9; Q_1 as (9 + 10) / 2 = 9.5 -> 10.5
    half = sweep(0.5, expected=False)
    assert [half[2, 1, 0], half[1, 0, 1], half[0, 0, 0]] == [4.0, 9.0, 10.5]
    # nobody was in these cells: the fallback stays, whatever lambda
    assert late[0, 1, 1] == soon[0, 1, 1] == half[2, 0, 0] == 10.0


def test_without_a_fallback_lambda_is_not_used():
    problem = chain(0)
    statistics = expected_statistics(problem)
    log_policy = problem.policy.log().unsqueeze(0)
    one, zero = (sweep_backwards(statistics, log_policy, tau=0.1, lam=lam).q_values for lam in (1.0, 0.0))
    assert torch.equal(one, zero)


def test_every_episode_is_swept_with_its_own_visits():
    problem = chain(7)
    statistics = sample(problem, 3, 5, seed=1)
    fallback = torch.randn(3, *problem.shape, generator=torch.Generator().manual_seed(0)).double()
    log_policy = problem.policy.log().unsqueeze(0)
    whole = sweep_backwards(statistics, log_policy, tau=0.1, fallback=fallback, lam=0.6)
    for b in range(3):
        alone = sweep_backwards(
            statistics.episode(b), log_policy, tau=0.1, fallback=fallback[b : b + 1], lam=0.6
        )
        assert torch.allclose(whole.q_values[b], alone.q_values[0])


def test_sarsa_without_counted_pairs_is_refused():
    statistics = expected_statistics(chain(0))._replace(next_cell=None)
    with pytest.raises(AssertionError, match="count_next_cells"):
        sweep_backwards(statistics, chain(0).policy.log().unsqueeze(0), tau=0.0, expected=False)


def test_learning_rates():
    assert [paper_learning_rate(m, 0.5) for m in (0, 1, 4)] == [1.0, 0.8, 0.5]
    assert paper_learning_rate(0, 0.05) == 1.0
    assert paper_learning_rate(40, 0.05) == 0.5
    assert visit_learning_rate(torch.tensor([1.0, 2.0, 3.0, 0.0])).tolist() == pytest.approx(
        [1, 2 / 3, 0.5, 2]
    )
