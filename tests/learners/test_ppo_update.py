"""The update of PPO by itself: a bandit that it solves, a step by hand, one network an agent."""

import math
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.functional.distributions import entropy
from mf_pmd.learners.ppo_update import Evaluation, PPOSettings, PPOUpdate, Samples, minibatches

SETTINGS = PPOSettings(epochs=4, minibatches=2, eps_clip=0.2, entropy_coef=0.0, grad_norm_clip=1.0)


def optimisers(policy, critic, lr=0.02):
    return torch.optim.Adam(policy, lr=lr), torch.optim.Adam(critic, lr=lr)


def random_samples(n_rows, n_agents, n_actions, seed=0):
    random = torch.Generator().manual_seed(seed)
    shape = (n_rows, n_agents)
    advantages, returns = (torch.randn(shape, generator=random) for _ in range(2))
    actions = torch.randint(n_actions, shape, generator=random)
    log_probs = torch.full(shape, -math.log(n_actions))
    return Samples(actions, log_probs, advantages, returns, torch.ones(shape, dtype=torch.bool))


def test_a_contextual_bandit_is_solved():
    """Three contexts, three actions: action c pays 1 in context c; the critic learns what is paid."""
    torch.manual_seed(1)
    logits = torch.zeros(3, 3, requires_grad=True)
    values = torch.zeros(3, requires_grad=True)
    update = PPOUpdate(*optimisers([logits], [values]), SETTINGS)
    for _ in range(60):
        contexts = torch.randint(3, (64, 4))
        log_policy = torch.log_softmax(logits.detach(), -1)
        actions = torch.multinomial(log_policy.exp()[contexts.flatten()], 1).reshape(64, 4)
        rewards = (actions == contexts).float()
        samples = Samples(
            actions,
            log_policy[contexts, actions],
            rewards - values.detach()[contexts],
            rewards,
            torch.ones_like(actions, dtype=torch.bool),
        )

        def evaluate(rows, contexts=contexts):
            seen = contexts[rows]
            return Evaluation(torch.log_softmax(logits, -1)[seen], values[seen])

        measured = update.improve(samples, evaluate)
    best = torch.softmax(logits, -1).diagonal()
    assert best.min() > 0.95
    torch.testing.assert_close(values.detach(), best.detach(), atol=0.05, rtol=0)
    assert measured["policy_entropy"] < 0.2


def test_the_first_step_climbs_the_policy_gradient():
    """At the old policy: gradient of mean A log pi plus the entropy's, the norm clipped."""
    samples = random_samples(8, 3, 4)
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(8, 3, 4, generator=random, requires_grad=True)
    values = torch.zeros(8, 3, requires_grad=True)
    log_policy = torch.log_softmax(logits, -1)
    taken = log_policy.gather(-1, samples.actions.unsqueeze(-1)).squeeze(-1)
    samples = samples._replace(log_probs=taken.detach())
    advantages = samples.advantages
    advantages = (advantages - advantages.mean()) / advantages.std(correction=0)
    goal = (taken * advantages + 0.3 * entropy(log_policy)).mean()
    (expected,) = torch.autograd.grad(goal, logits, retain_graph=True)
    settings = PPOSettings(epochs=1, minibatches=1, eps_clip=0.2, entropy_coef=0.3, grad_norm_clip=0.01)
    descent = [torch.optim.SGD([parameter], lr=1.0) for parameter in (logits, values)]
    before = logits.detach().clone()
    measured = PPOUpdate(*descent, settings).step(samples, Evaluation(log_policy, values))
    torch.testing.assert_close(logits.detach() - before, expected * 0.01 / expected.norm())
    torch.testing.assert_close(
        values.detach(), 0.01 * samples.returns / samples.returns.norm()
    )  # of the squared error
    assert measured[1].item() == pytest.approx(samples.returns.square().mean().item())
    assert measured[2].item() == pytest.approx(entropy(log_policy).mean().item())
    assert measured[3:].tolist() == [0, 0]  # no step has been taken yet


def test_steps_that_do_not_count_change_nothing():
    samples = random_samples(6, 2, 3)
    counts = samples.counts.clone()
    counts[:, 1] = False
    wild = samples.advantages.clone()
    wild[:, 1] = 1e6

    def trained(samples):
        torch.manual_seed(0)
        logits, values = torch.zeros(6, 2, 3, requires_grad=True), torch.zeros(6, 2, requires_grad=True)

        def evaluate(rows):
            return Evaluation(torch.log_softmax(logits[rows], -1), values[rows])

        PPOUpdate(*optimisers([logits], [values]), SETTINGS).improve(samples, evaluate)
        return logits.detach()

    one, two = (trained(samples._replace(advantages=a, counts=counts)) for a in (samples.advantages, wild))
    torch.testing.assert_close(one, two)
    assert one[:, 0].abs().min() > 0
    assert not one[:, 1].any()


def test_networks_of_their_own_learn_as_if_each_were_alone():
    """Stacked parameters, means and norms agent by agent == one update an agent on its own column."""
    n_agents, n_rows = 3, 12
    scale = torch.tensor([1.0, 50.0, 0.01])  # of the returns: the norms of the gradients differ wildly
    samples = random_samples(n_rows, n_agents, 4)
    samples = samples._replace(returns=samples.returns * scale, advantages=samples.advantages * scale)
    counts = samples.counts.clone()
    counts[3, 1] = False
    samples = samples._replace(counts=counts)
    settings = PPOSettings(epochs=3, minibatches=2, eps_clip=0.2, entropy_coef=0.01, grad_norm_clip=0.1)
    features = torch.randn(n_rows, n_agents, 5, generator=torch.Generator().manual_seed(3))

    def trained(agents):
        torch.manual_seed(7)
        policy = torch.zeros(len(agents), 5, 4, requires_grad=True)
        critic = torch.zeros(len(agents), 5, 1, requires_grad=True)
        update = PPOUpdate(*optimisers([policy], [critic]), settings, own=len(agents) > 1)

        def evaluate(rows):
            seen = features[rows][:, agents]
            logits, values = (torch.einsum("rjf,jfa->rja", seen, w) for w in (policy, critic))
            return Evaluation(torch.log_softmax(logits, -1), values.squeeze(-1))

        mine = Samples(*(field[:, agents] for field in samples))
        mine = mine._replace(counts=mine.counts)
        update.improve(mine, evaluate)
        return policy.detach(), critic.detach()

    together = trained([0, 1, 2])
    for j in (0, 2):  # agent 1 alone would have one row less to shuffle
        alone = trained([j])
        for stacked, single in zip(together, alone, strict=True):
            torch.testing.assert_close(stacked[j], single[0])


def test_every_row_that_counts_is_in_one_minibatch():
    counts = torch.ones(11, 2, dtype=torch.bool)
    counts[4] = False
    counts[5, 0] = False  # somebody is there
    parts = list(minibatches(counts, 4))
    assert [len(part) for part in parts] == [3, 3, 2, 2]
    assert sorted(torch.cat(parts).tolist()) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert [len(part) for part in minibatches(counts[:2], 4)] == [1, 1]
    assert [len(part) for part in minibatches(counts[4:5], 4)] == [0]


def args(**changes):
    given = {"epochs": 1, "minibatches": 1, "eps_clip": 0.2, "entropy_coef": 0.0, "grad_norm_clip": 1.0}
    return SimpleNamespace(**{**given, **changes})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("minibatches", 0),
        ("eps_clip", 0.0),
        ("eps_clip", math.nan),
        ("entropy_coef", -0.1),
        ("entropy_coef", math.nan),
        ("grad_norm_clip", 0.0),
    ],
)
def test_settings_out_of_range_are_refused(key, value):
    with pytest.raises(UserError, match=f"{key}="):
        PPOSettings.of(args(**{key: value}))


def test_settings_are_read():
    assert PPOSettings.of(args(epochs=3, eps_clip=0.1)) == PPOSettings(3, 1, 0.1, 0.0, 1.0)
