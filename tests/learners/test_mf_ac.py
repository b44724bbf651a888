"""Mean-field actor-critic: its two gradients against agents one by one, and what it learns."""

import pytest
import torch

WORDS = ["env_args.n_agents=6", "env_args.horizon=3", "hidden_dim=8", "batch_size_run=2", "batch_size=2"]
WORDS += ["buffer_size=2", "test_nepisode=2", "entropy_coef=0.0"]


@pytest.fixture
def make(build, shake):
    """A learner with random networks, and a batch played."""

    def pieces(*words, env="a_sis"):
        found = build("mf_ac", env, *WORDS, *words)
        for seed, module in enumerate(
            (found.learner.critic, found.learner.target_critic, found.learner.mac.agent)
        ):
            shake(module, seed)
        found.learner.mac.record_iterate()
        return found.learner, found.runner.run(test_mode=False)

    return pieces


def mean_of_others(batch, b, t, i, n_actions):
    actions = [a for k, a in enumerate(batch["actions"][b, t, :, 0].tolist()) if k != i]
    return torch.tensor([actions.count(a) / len(actions) for a in range(n_actions)])


def q_of(critic, batch, b, t, i, n_actions):
    """Q_h(s, ., nu, a-bar) of one agent at what the others did, [A]."""
    met = mean_of_others(batch, b, t, i, n_actions).reshape(1, 1, 1, -1)
    features = critic.features(batch["state"][b, t].reshape(1, 1, -1), met, torch.tensor([t]))
    return critic(features)[0, 0, int(batch["obs"][b, t, i, 0]), 0].detach()


def agents(batch):
    n_episodes, horizon, n_agents = batch["reward"][:, :-1].shape
    return [(b, t, i) for b in range(n_episodes) for t in range(horizon) for i in range(n_agents)]


def objective(learner, batch, *, baseline):
    """Mean over agents and steps of log pi(a | s) [Q(s, a, a-bar) - v], the bracket held fixed."""
    rows = torch.stack([learner.agent_rows(batch, t) for t in range(3)], 1)  # [B, T, N, A]
    fixed, total = learner.fixed, 0.0
    for b, t, i in agents(batch):
        values = q_of(learner.critic, batch, b, t, i, learner.n_actions)
        action = int(batch["actions"][b, t, i, 0])
        worth = values[action] - (fixed[b, t, i] @ values if baseline else 0)
        total = total + rows[b, t, i, action].log() * worth / len(agents(batch))
    return total


@pytest.mark.parametrize("population_dependent", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_the_policy_gradient_is_that_of_finite_differences(make, baseline, population_dependent):
    words = [f"baseline={baseline}", f"population_dependent={population_dependent}"]
    learner, batch = make(*words)
    agent = learner.mac.agent.double()
    learner.critic.double()

    def agent_rows(batch, t):
        steps, population = torch.tensor([t]), batch["state"][:, t : t + 1].double()
        sizes = {"n_states": learner.n_states, "horizon": 3}
        features = agent.features(population, steps, **sizes).double()
        logits = agent(features)[0].expand(2, 1, -1, -1)[:, 0]
        states = batch["obs"][:, t, :, 0].long()
        return torch.gather(logits.softmax(-1), 1, states.unsqueeze(-1).expand(-1, -1, learner.n_actions))

    learner.agent_rows = agent_rows
    learner.fixed = torch.stack([agent_rows(batch, t).detach() for t in range(3)], 1)
    learner.critic.features, features = (lambda *given: features(*given).double()), learner.critic.features
    sizes = {"n_states": learner.n_states, "horizon": 3}

    def log_policy(population):
        seen = population if population_dependent else None
        logits, _ = agent(agent.features(seen, torch.arange(3), **sizes).double())
        return logits.log_softmax(-1) if population_dependent else logits.log_softmax(-1).unsqueeze(0)

    learner.mac.log_policy = log_policy
    statistics = learner.count(batch)
    with torch.no_grad():
        q_values = learner.critic(learner.row_features(statistics)[0])
    loss = learner.policy_loss(statistics, q_values)
    assert loss.item() == pytest.approx(-objective(learner, batch, baseline=baseline).item(), rel=1e-5)
    parameters = list(agent.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    assert max(gradient.abs().max() for gradient in gradients) > 1e-3
    step = 1e-5
    for parameter, gradient in zip(parameters, gradients, strict=True):
        flat, slopes = parameter.data.view(-1), gradient.reshape(-1)
        for k in range(0, len(flat), max(1, len(flat) // 3)):  # a few of every tensor
            flat[k] += step
            up = objective(learner, batch, baseline=baseline).item()
            flat[k] -= 2 * step
            down = objective(learner, batch, baseline=baseline).item()
            flat[k] += step
            assert slopes[k].item() == pytest.approx(-(up - down) / (2 * step), abs=1e-6)


def test_the_critic_is_taught_by_the_policy_that_was_played(make):
    """y = r + gamma sum_a pi(a | s') Q_(s', a, a-bar'), agent by agent."""
    learner, batch = make("gamma=0.9", env="a_rps")
    sums, counts = {}, {}
    rows = [learner.mac.forward(batch, t) for t in range(3)]
    for b, t, i in agents(batch):
        y = batch["reward"][b, t, i].item()
        if t < 2:
            values = q_of(learner.target_critic, batch, b, t + 1, i, learner.n_actions)
            y += 0.9 * (rows[t + 1][b, i] @ values).item()
        cell = (b, t, int(batch["obs"][b, t, i, 0]), int(batch["actions"][b, t, i, 0]))
        sums[cell], counts[cell] = sums.get(cell, 0) + y, counts.get(cell, 0) + 1
    statistics = learner.count(batch)
    found = learner.targets(statistics, *learner.row_features(statistics))
    assert len(sums) == (statistics.visits > 0).sum()
    for cell, total in sums.items():
        assert found[cell].item() == pytest.approx(total / counts[cell], rel=1e-4)


def test_the_entropy_is_part_of_the_objective(make):
    learner, batch = make()
    statistics = learner.count(batch)
    q_values = torch.zeros(2, 3, learner.n_states, learner.n_actions, learner.n_actions)
    assert learner.policy_loss(statistics, q_values).item() == 0
    learner.args.entropy_coef = 0.5
    rows = torch.stack([learner.mac.forward(batch, t) for t in range(3)], 1)
    expected = 0.5 * (rows * rows.log()).sum(-1).mean()
    assert learner.policy_loss(statistics, q_values).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_batch_moves_both_networks_and_no_other(make):
    learner, batch = make()
    before = {name: [p.clone() for p in m.parameters()] for name, m in networks(learner).items()}
    learner.train(batch, t_env=6, episode_num=2)
    for name, module in networks(learner).items():
        assert any((p != old).any() for p, old in zip(module.parameters(), before[name], strict=True)), name
    assert learner.mac.history.count == 3  # the first, the shaken, the learnt


def networks(learner):
    return {"critic": learner.critic, "target": learner.target_critic, "agent": learner.mac.agent}


def test_the_better_action_is_learnt(build):
    # one step, rewards do not depend on the others: out pays 1/3 more than distancing
    words = ["env_args.n_agents=300", "env_args.horizon=1", "critic_steps=20", "hidden_dim=16"]
    words.append("policy_steps=4")
    pieces = build("mf_ac", "a_sis", *words)
    for epoch in range(15):
        batch = pieces.runner.run(test_mode=False)
        pieces.learner.train(batch, t_env=10 * epoch, episode_num=0)
    assert pieces.learner.mac.history.mean("last")[0, :, 0].min() > 0.95
