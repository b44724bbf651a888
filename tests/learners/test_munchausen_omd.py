"""Munchausen mirror descent: its regression, and one outer iteration against the step it stands for."""

import pytest
import torch

from mf_pmd.functional.mirror_descent import mirror_descent_target
from mf_pmd.functional.munchausen import munchausen_sweep
from mf_pmd.functional.td_targets import sweep_backwards

WORDS = ["env_args.n_agents=300", "env_args.horizon=3", "hidden_dim=32"]


@pytest.fixture
def make(build):
    """A learner and the statistics of a first batch."""

    def pieces(*words, env="a_sis"):
        found = build("munchausen_omd", env, *WORDS, *words)
        return found.learner, found.learner.count(found.runner.run(test_mode=False))

    return pieces


def rows(learner, statistics):
    return learner.mac.log_policy(statistics.population).detach()


def test_targets_are_those_of_the_batch_pooled(make):
    learner, statistics = make("tau=0.3", "munchausen_weight=0.8")
    old = torch.log_softmax(torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)), -1)
    fallback = torch.full((1, 3, 2, 2), 2.0)
    found = learner.sweep(statistics.pooled(), old, fallback)
    expected = munchausen_sweep(statistics.pooled(), old, fallback, tau=0.3, weight=0.8)
    assert torch.equal(found.q_values, expected.q_values)


def test_outer_iterations_are_mirror_descent(make):
    """With a fit that leaves no error, pi' is proportional to pi^weight exp(q / tau) on the same batches."""
    learner, statistics = make("tau=0.5", "munchausen_weight=0.9", "critic_steps=500")
    settings = {"tau": 0.1 * 0.5, "expected": True}
    expected = rows(learner, statistics)
    for _ in range(2):
        learner.update(statistics)
        q = sweep_backwards(statistics.pooled(), expected, **settings).q_values
        expected = mirror_descent_target(expected, q, xi=1 / 0.5, tau=0.1 * 0.5)
        found = rows(learner, statistics)
        assert (found.exp() - expected.exp()).abs().max() < 0.02
    assert (expected.exp() - 0.5).abs().max() > 0.2


def test_the_regression_weighs_cells_by_their_count(make):
    learner, statistics = make("critic_steps=1", "count_exponent=0.5")
    pooled = statistics.pooled()
    features = learner.mac.features(statistics.population)
    zero = torch.zeros(1, 3, 2, 2)
    sweep = learner.sweep(pooled, rows(learner, statistics), zero)
    loss = learner.fit(features, sweep, pooled.visits)  # of the first output, 0
    weight = pooled.visits.sqrt() / pooled.visits.sqrt().sum()
    assert loss == pytest.approx((weight * (sweep.q_values / 3).square()).sum().item(), rel=1e-5)


def test_cells_nobody_visited_do_not_pull(make):
    learner, statistics = make("critic_steps=200")
    pooled = statistics.pooled()
    pooled.visits[0, 1, 0, 1] = 0
    features = learner.mac.features(statistics.population)
    old = rows(learner, statistics)
    fallback = torch.full((1, 3, 2, 2), 50.0)
    sweep = learner.sweep(pooled, old, fallback)
    assert sweep.q_values[0, 1, 0, 1] == 50
    sweep = sweep._replace(q_values=torch.where(sweep.visited, 1.0, 50.0))
    assert learner.fit(features, sweep, pooled.visits) < 1e-3
    with torch.no_grad():
        assert (learner.mac.agent.q_values(features)[sweep.visited] - 1).abs().max() < 0.1


def test_metrics_of_one_step(make):
    words = ["env_args.horizon=1", "env_args.eps_beta=0.0", "tau=0.5", "critic_steps=800"]
    learner, statistics = make(*words)
    metrics = learner.update(statistics)
    # out pays 1 (or 1/3 when infected), distancing 1/3 less: odds e^((1/3) / tau)
    expected = torch.tensor([(1 / 3) / 0.5, 0.0]).softmax(-1)
    assert (rows(learner, statistics).exp() - expected).abs().max() < 0.01
    entropy = -(expected * expected.log()).sum().item()
    assert metrics["policy_entropy"] == pytest.approx(entropy, abs=0.01)
    assert metrics["mirror_descent_kl"] == pytest.approx(0.6931472 - entropy, abs=0.01)
    assert metrics["step_size"] == 2.0
    assert metrics["unvisited_cells"] == 0
    bonus = 0.95 * 0.5 * 0.6931472  # of the uniform policy, in every target
    pooled = statistics.pooled()
    error = (pooled.reward_sum + -bonus * pooled.visits).abs().sum() / pooled.visits.sum()
    assert metrics["td_error_abs"] == pytest.approx(error.item(), rel=1e-4)
    assert metrics["critic_loss"] < 1e-4
