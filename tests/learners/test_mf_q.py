"""Mean-field Q-learning: its loss against agents one by one, its target network, its memory."""

import math

import pytest
import torch

from mf_pmd.functional.mean_action import boltzmann_policy

WORDS = ["env_args.n_agents=6", "env_args.horizon=3", "hidden_dim=16", "batch_size_run=2", "batch_size=2"]
WORDS += ["buffer_size=2", "test_nepisode=2"]


@pytest.fixture
def make(build, shake):
    """A learner with random networks, and a batch played."""

    def pieces(*words, env="a_sis"):
        found = build("mf_q", env, *WORDS, *words)
        shake(found.learner.critic, 0)
        shake(found.learner.target_critic, 1)
        return found.learner, found.runner.run(test_mode=False)

    return pieces


def q_of(critic, batch, b, t, i, mean_action):
    """Q_h(s, ., nu, a-bar) of one agent, [A]."""
    population = batch["state"][b, t].reshape(1, 1, -1)
    features = critic.features(population, mean_action.reshape(1, 1, 1, -1), torch.tensor([t]))
    return critic(features)[0, 0, int(batch["obs"][b, t, i, 0]), 0]


def mean_of_others(batch, b, t, i, n_actions):
    if t < 0:
        return torch.full((n_actions,), 1 / n_actions)
    actions = [a for k, a in enumerate(batch["actions"][b, t, :, 0].tolist()) if k != i]
    return torch.tensor([actions.count(a) / len(actions) for a in range(n_actions)])


def loss_by_agents(learner, batch):
    """Mean over agents and steps of (y - Q)^2 / H^2 (Yang et al. 2018), and the targets by cell."""
    n_episodes, horizon, n_agents = batch["reward"][:, :-1].shape
    losses, cells = [], {}
    for b in range(n_episodes):
        for t in range(horizon):
            for i in range(n_agents):
                met = mean_of_others(batch, b, t, i, learner.n_actions)
                y = batch["reward"][b, t, i].item()
                if t + 1 < horizon:
                    with torch.no_grad():
                        slow = learner.target_critic
                        policy = boltzmann_policy(q_of(slow, batch, b, t + 1, i, met), learner.args.beta)
                        ahead = mean_of_others(batch, b, t + 1, i, learner.n_actions)
                        y += learner.args.gamma * (policy @ q_of(slow, batch, b, t + 1, i, ahead)).item()
                action = int(batch["actions"][b, t, i, 0])
                value = q_of(learner.critic, batch, b, t, i, met)[action]
                losses.append((y - value).square() / horizon**2)
                cells.setdefault((b, t, int(batch["obs"][b, t, i, 0]), action), []).append(y / horizon)
    spread = sum((y - sum(ys) / len(ys)) ** 2 for ys in cells.values() for y in ys)
    return torch.stack(losses).mean(), spread / len(losses)


@pytest.mark.parametrize(("env", "words"), [("a_sis", []), ("a_rps", ["gamma=0.9", "beta=3.0"])])
def test_the_loss_is_that_of_the_agents_one_by_one(make, env, words):
    learner, batch = make(*words, env=env)
    theirs, spread = loss_by_agents(learner, batch)
    ours = learner.loss(learner.count(batch))
    assert ours.item() == pytest.approx(theirs.item() - spread, rel=1e-4)
    parameters = list(learner.critic.parameters())
    for a, b in zip(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-6)
        assert a.abs().max() > 1e-5


def test_no_gradient_flows_into_the_target(make):
    learner, batch = make()
    learner.loss(learner.count(batch)).backward()
    assert all(parameter.grad is None for parameter in learner.target_critic.parameters())


def test_the_target_network_follows_slowly(make):
    learner, _ = make("target_update_rate=0.25")
    fast = torch.nn.utils.parameters_to_vector(learner.critic.parameters()).detach()
    slow = torch.nn.utils.parameters_to_vector(learner.target_critic.parameters()).detach()
    learner.update_target()
    found = torch.nn.utils.parameters_to_vector(learner.target_critic.parameters())
    assert torch.allclose(found, 0.75 * slow + 0.25 * fast, atol=1e-6)
    assert torch.equal(fast, torch.nn.utils.parameters_to_vector(learner.critic.parameters()))


def test_the_controller_plays_the_network_that_is_learnt(make):
    learner, batch = make("beta=1.0", "lr=0.01")
    before = learner.mac.forward(batch, 2)
    learner.train(batch, t_env=6, episode_num=2)
    assert learner.mac.agent.critic is learner.critic
    assert (learner.mac.forward(batch, 2) - before).abs().max() > 0.01


def test_episodes_are_replayed(make):
    learner, batch = make("replay_episodes=3", "critic_steps=1", "minibatch_episodes=3")
    learner.train(batch, t_env=6, episode_num=2)
    learner.train(batch, t_env=12, episode_num=4)
    kept = learner.replay.kept
    assert kept.visits.shape[0] == 3
    assert torch.equal(kept.visits[1:], learner.count(batch).visits)
    assert torch.equal(kept.visits[0], learner.count(batch).visits[1])


def test_the_entropy_is_that_of_what_agents_play(make):
    learner, batch = make("critic_steps=1", "lr=0.0000000001", "beta=1.0")
    rows = torch.stack([learner.mac.forward(batch, t) for t in range(3)], 1)
    learner.train(batch, t_env=6, episode_num=2)
    expected = -(rows * rows.log()).sum(-1).mean()
    assert learner.logger.last("policy_entropy") == pytest.approx(expected.item(), rel=1e-4)


def test_one_step_values_are_learnt(build):
    # rewards do not depend on the others: out pays 1 (or 1/3 when infected), distancing 1/3 less
    words = ["env_args.n_agents=300", "env_args.horizon=1", "env_args.eps_beta=0.0", "beta=3.0"]
    pieces = build("mf_q", "a_sis", *words, "critic_steps=400", "hidden_dim=16", "count_exponent=0.5")
    batch = pieces.runner.run(test_mode=False)
    pieces.learner.train(batch, t_env=10, episode_num=10)
    current, _ = pieces.learner.row_features(pieces.learner.count(batch))
    with torch.no_grad():
        values = pieces.learner.critic(current)
    assert (values - torch.tensor([[1, 2 / 3], [1 / 3, 0]]).reshape(1, 1, 2, 1, 2)).abs().max() < 0.02
    odds = pieces.learner.mac.forward(batch, 0)[0, 0]
    assert (odds[0] / odds[1]).log().item() == pytest.approx(3 / 3, abs=0.1)


def test_the_greedy_limit(make):
    learner, batch = make("beta=100000.0")
    statistics = learner.count(batch)
    current, previous = learner.row_features(statistics)
    policy = learner.policy_rows(statistics, previous)
    best = learner.target_critic(previous).argmax(-1)
    assert torch.allclose(policy, torch.nn.functional.one_hot(best, learner.n_actions).float(), atol=1e-3)
    assert math.isfinite(learner.targets(statistics, current, previous).sum().item())
