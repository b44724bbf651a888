"""The neural learner: its regressions, its targets, and one step on a game that is solved by hand."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.functional.distributions import kl_divergence
from mf_pmd.functional.td_targets import sweep_backwards
from mf_pmd.learners import mf_pmd
from mf_pmd.learners.fitting import descend
from mf_pmd.modules.agents import MeanFieldNetworkAgent
from mf_pmd.modules.cell_gradients import CellGradients

WORDS = ["env_args.n_agents=300", "env_args.horizon=4", "hidden_dim=16"]


@pytest.fixture
def make_learner(build):
    """A learner and the statistics of a first batch."""

    def make(*words, env="a_sis", alg="mf_pmd"):
        pieces = build(alg, env, *WORDS, *words)
        batch = pieces.runner.run(test_mode=False)
        return pieces.learner, pieces.learner.count(batch)

    return make


def test_regression_lowers_the_loss_of_the_critic(make_learner):
    learner, statistics = make_learner("critic_steps=1", "minibatch_episodes=10")
    features = learner.critic.features(statistics.population)
    targets = learner.td_targets(statistics, learner.mac.log_policy(statistics.population).detach(), features)
    losses = []
    for _ in range(5):
        losses.append(learner.fit_critic(statistics, targets, features))
        learner.args.critic_steps = 100
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 50
    error = (learner.critic(features) - targets.q_values)[targets.visited].abs()
    assert error.mean() < 0.1


def test_every_episode_is_learnt_from_in_turn(make_learner, monkeypatch):
    learner, statistics = make_learner("critic_steps=5", "minibatch_episodes=2")
    features = learner.critic.features(statistics.population)
    targets = learner.td_targets(statistics, learner.mac.log_policy(statistics.population).detach(), features)
    seen = []
    forward = CellGradients.forward
    monkeypatch.setattr(
        CellGradients, "forward", lambda self, chosen: seen.append(chosen) or forward(self, chosen)
    )
    learner.fit_critic(statistics, targets, features)
    assert torch.equal(torch.cat(seen), features.flatten(0, 1))


@pytest.mark.parametrize("words", [[], ["population_dependent=True", "minibatch_episodes=3"]])
def test_an_update_is_that_of_autograd(make_learner, monkeypatch, words):
    """Every fit by autograd on the networks of all features, as the plain formulation has it."""
    updates = []
    for plain in (False, True):
        learner, statistics = make_learner("c_mix=0.0", "critic_steps=30", "policy_steps=20", *words)
        with monkeypatch.context() as patch:
            if plain:
                patch.setattr(mf_pmd, "fit_cells", fit_by_autograd)
            metrics = [learner.update(statistics) for _ in range(2)]
        updates.append((metrics, learner.mac.log_policy(statistics.population).detach()))
    (found, policy), (expected, reference) = updates
    assert (policy - reference).abs().max() < 1e-4
    assert (policy - policy[..., :1]).abs().max() > 0.1  # no longer uniform
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)


def fit_by_autograd(network, optimiser, minibatches, *, n_states, steps, grad_norm_clip):
    plain = torch.nn.Sequential(*network)

    def loss(step):
        shared, loss = minibatches[step % len(minibatches)]
        state = torch.eye(n_states).expand(len(shared), n_states, n_states)
        return loss.value(plain(torch.cat([state, shared.unsqueeze(1).expand(-1, n_states, -1)], -1)))

    settings = {"steps": steps, "grad_norm_clip": grad_norm_clip, "falling_from": optimiser.defaults["lr"]}
    with torch.enable_grad():
        return descend(loss, optimiser, **settings)


def test_unvisited_cells_take_the_value_of_the_critic(make_learner):
    learner, statistics = make_learner("td_target=sarsa", "td_lambda=0.5")
    torch.nn.init.constant_(learner.critic.layers[-1].bias, 3.0)
    features = learner.critic.features(statistics.population)
    old = learner.mac.log_policy(statistics.population).detach()
    found = learner.td_targets(statistics, old, features)
    with torch.no_grad():
        fallback = learner.critic(features)
    settings = {"tau": learner.args.tau, "expected": False, "fallback": fallback, "lam": 0.5}
    expected = sweep_backwards(statistics, old, **settings)
    assert torch.equal(found.q_values, expected.q_values)


def test_the_policy_is_fitted_to_its_goal(make_learner):
    learner, statistics = make_learner("policy_steps=1")
    goal = torch.log_softmax(torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)), -1)
    weight = torch.full((1, 4, 2), 1 / 8)

    def distance():
        return kl_divergence(learner.mac.log_policy(statistics.population).detach(), goal).mean().item()

    before = distance()
    reported = learner.fit_policy(statistics, goal, weight)
    assert reported == pytest.approx(before, abs=1e-6)  # the loss before the only step
    learner.args.policy_steps = 300
    learner.fit_policy(statistics, goal, weight)
    assert distance() < before / 100


def test_rows_nobody_was_in_do_not_pull_the_policy(make_learner):
    learner, statistics = make_learner("policy_steps=200")
    goal = torch.tensor([[2.0, 0.0], [0.0, 2.0]]).log_softmax(-1).expand(1, 4, 2, 2)
    weight = torch.zeros(1, 4, 2)
    weight[..., 0] = 0.25
    learner.fit_policy(statistics, goal, weight)
    rows = learner.mac.log_policy(statistics.population).detach()[0]
    assert kl_divergence(rows[:, 0], goal[0, :, 0]).max() < 1e-3
    assert kl_divergence(rows[:, 1], goal[0, :, 1]).min() > 0.1


def test_q_is_averaged_over_the_populations_a_row_was_met_in(make_learner):
    learner, statistics = make_learner()
    q = torch.randn(10, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    rows = learner.policy_rows(statistics, q)
    assert rows.q_values.shape == (1, 4, 2, 2)
    assert rows.weight.sum().item() == pytest.approx(1)
    for t in range(4):
        for s in range(2):
            count = statistics.state_count[:, t, s]
            for a in range(2):
                mean = (count * q[:, t, s, a]).sum() / count.sum()
                assert rows.q_values[0, t, s, a].item() == pytest.approx(mean.item(), abs=1e-5)
            assert rows.weight[0, t, s].item() == pytest.approx(count.sum().item() / (10 * 4 * 300))
    learner, statistics = make_learner("population_dependent=True")
    rows = learner.policy_rows(statistics, q)
    assert torch.equal(rows.q_values, q)
    assert rows.weight.shape == (10, 4, 2)


@pytest.mark.parametrize("population_dependent", ["True", "False"])
def test_an_epoch_is_the_mirror_descent_step(make_learner, population_dependent):
    # one step: rewards do not depend on the others, Q is exact, and so is the target of the fit
    words = ["env_args.horizon=1", "c_xi=2.0", "tau=0.1", "c_mix=0.0"]
    words += ["critic_steps=600", "policy_steps=600", "env_args.eps_beta=0.0"]
    learner, statistics = make_learner(*words, f"population_dependent={population_dependent}")
    metrics = learner.update(statistics)
    # out pays 1 (or 1/3 when infected), distancing 1/3 less: odds e^(2 / 3)
    expected = torch.tensor([2 / 3, 0.0]).softmax(-1)
    with torch.no_grad():
        rows = learner.mac.log_policy(statistics.population).exp()
    assert (rows - expected).abs().max() < 0.01
    assert metrics["step_size"] == 2.0
    entropy = -(expected * expected.log()).sum().item()
    assert metrics["policy_entropy"] == pytest.approx(entropy, abs=0.01)
    assert metrics["mirror_descent_kl"] == pytest.approx(0.6931472 - entropy, abs=0.01)


def test_the_first_td_error_is_the_mean_target(make_learner):
    learner, statistics = make_learner("env_args.horizon=1", "tau=0.0")
    features = learner.critic.features(statistics.population)
    targets = learner.td_targets(statistics, learner.mac.log_policy(statistics.population).detach(), features)
    mean_reward = statistics.reward_sum.sum() / statistics.visits.sum()
    assert learner.td_error(statistics, targets, features) == pytest.approx(mean_reward.item(), abs=1e-6)


def test_pieces_of_other_forms_are_refused_by_the_learner_itself(build):
    # on a real EPyMARL nobody has checked the words before
    learner = build("mf_pmd", "a_sis", *WORDS).learner
    table = build("mf_pmd_tabular", "a_sis", *WORDS[:2]).learner.mac
    with pytest.raises(UserError, match="use agent=mean_field_network"):
        type(learner)(table, {}, learner.logger, learner.args)
    learner.args.critic_type = "deep_set_q"
    with pytest.raises(UserError, match="critic_type=deep_set_q: choose one of mean_field_critic, or auto"):
        type(learner)(learner.mac, {}, learner.logger, learner.args)


class ShiftedAgent(MeanFieldNetworkAgent):
    def forward(self, inputs, hidden_state=None):
        logits, hidden_state = super().forward(inputs, hidden_state)
        return logits + inputs[..., :1], hidden_state


def test_a_forward_of_ones_own_is_refused_rather_than_left_out(build):
    # the fit runs on the layers alone
    learner = build("mf_pmd", "a_sis", *WORDS).learner
    agent = learner.mac.agent
    agent.__class__ = ShiftedAgent
    with pytest.raises(UserError, match="ShiftedAgent has a forward of its own"):
        type(learner)(learner.mac, {}, learner.logger, learner.args)
