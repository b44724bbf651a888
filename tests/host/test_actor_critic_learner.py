"""A2C and PPO by hand on one episode of two agents, and what their settings refuse."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mf_pmd.errors import UserError
from mf_pmd.host import run
from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.host.learners import REGISTRY
from mf_pmd.host.learners.ppo_learner import PPOLearner, clipped_gain
from mf_pmd.host.modules import critics

B, T, N, A = 1, 2, 2, 2
REWARDS = [[2.0, 0.0], [4.0, 2.0]]  # [T, N]
ACTIONS = [[0, 1], [1, 0]]
POLICY = [0.8, 0.2]
VALUE = 1.0
# gamma = .5 and one reward a return: r + .5 V at the first step, r at the last
RETURNS = [[2.5, 0.5], [4.0, 2.0]]
ADVANTAGES = [[1.5, -0.5], [3.0, 1.0]]
SETTINGS = {
    "name": "ia2c",
    "learner": "actor_critic_learner",
    "n_agents": N,
    "n_actions": A,
    "agent_output_type": "pi_logits",
    "critic_type": "constant",
    "common_reward": False,
    "hidden_dim": 4,
    "lr": 0.01,
    "gamma": 0.5,
    "q_nstep": 1,
    "use_gae": False,
    "gae_lambda": 0.5,
    "add_value_last_step": False,
    "entropy_coef": 0.0,
    "epochs": 1,
    "eps_clip": 0.2,
    "grad_norm_clip": 1e9,
    "standardise_returns": False,
    "standardise_rewards": False,
    "target_update_interval_or_tau": 0.25,
    "learner_log_interval": 1,
    "device": "cpu",
}


class Constant(nn.Module):
    """One value, whatever is seen."""

    def __init__(self, scheme, args):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(VALUE))

    def forward(self, batch):
        return self.value * torch.ones(batch.batch_size, batch.max_seq_length, N, 1)


class OneRow:
    """One policy, whatever is seen."""

    def __init__(self):
        self.logits = nn.Parameter(torch.tensor(POLICY).log())

    def parameters(self):
        return iter([self.logits])

    def forward_all(self, batch):
        return self.logits.softmax(-1).expand(batch.batch_size, batch.max_seq_length, N, A)


@pytest.fixture
def make(monkeypatch, recording_logger):
    """A learner of one policy and one value."""
    monkeypatch.setitem(critics.REGISTRY, "constant", Constant)

    def build(learner="actor_critic_learner", **changes):
        args = SimpleNamespace(**{**SETTINGS, "learner": learner, **changes})
        return REGISTRY[learner](OneRow(), {"obs": {"vshape": 1}}, recording_logger, args)

    return build


def episode(*, rewards=REWARDS, extra_steps=0):
    """The episode, with steps after its end that nothing may read."""
    scheme = {
        "obs": {"vshape": 1, "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "reward": {"vshape": (len(rewards[0]),)},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
    }
    batch = EpisodeBatch(scheme, {"agents": N}, B, T + 1 + extra_steps)
    for t in range(T):
        last = torch.tensor([[int(t == T - 1)]])
        data = {"actions": ACTIONS[t], "reward": [rewards[t]], "terminated": last}
        batch.update(data, ts=t)
    batch.update({"obs": torch.zeros(B, N, 1)}, ts=T)
    for t in range(T, T + extra_steps):
        batch.update({"reward": [[100.0] * len(rewards[0])]}, ts=t, mark_filled=False)
    return batch


@pytest.mark.parametrize("extra_steps", [0, 2])
@pytest.mark.parametrize("learner", ["actor_critic_learner", "ppo_learner"])
def test_the_first_step_is_the_policy_gradient(make, recording_logger, learner, extra_steps):
    subject = make(learner)
    subject.train(episode(extra_steps=extra_steps), t_env=0, episode_num=0)
    # d log pi(0) / d logits is (.2, -.2), d log pi(1) / d logits is (-.8, .8); the sum over the four of
    # gradient times advantage is .2 (1.5) - .8 (3) - .8 (-.5) + .2 (1) = -1.5 in the first logit
    torch.testing.assert_close(subject.mac.logits.grad, torch.tensor([1.5, -1.5]) / 4)
    # mean square of the advantages, and minus twice their mean
    assert recording_logger.last("critic_loss") == pytest.approx((1.5**2 + 0.5**2 + 3**2 + 1) / 4)
    assert subject.critic.value.grad.item() == pytest.approx(-2 * (1.5 - 0.5 + 3 + 1) / 4)
    assert recording_logger.last("td_error_abs") == pytest.approx((1.5 + 0.5 + 3 + 1) / 4)
    assert recording_logger.last("advantage_mean") == pytest.approx((1.5 - 0.5 + 3 + 1) / 4)
    assert recording_logger.last("q_taken_mean") == pytest.approx(VALUE)
    assert recording_logger.last("target_mean") == pytest.approx((2.5 + 0.5 + 4 + 2) / 4)
    assert recording_logger.last("pi_max") == pytest.approx(0.8)


def test_the_loss_is_that_of_a2c_with_its_entropy_bonus(make, recording_logger):
    subject = make(entropy_coef=0.3)
    subject.train(episode(), t_env=0, episode_num=0)
    gain = 1.5 * math.log(0.8) + 3 * math.log(0.2) - 0.5 * math.log(0.2) + math.log(0.8)
    entropy = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    assert recording_logger.last("policy_entropy") == pytest.approx(entropy, rel=1e-5)
    assert recording_logger.last("pg_loss") == pytest.approx(-gain / 4 - 0.3 * entropy, rel=1e-5)


@pytest.mark.parametrize("learner", ["actor_critic_learner", "ppo_learner"])
def test_the_actor_moves_uphill_and_the_critic_towards_the_returns(make, learner):
    subject = make(learner)
    subject.train(episode(), t_env=0, episode_num=0)
    # Adam's first step is lr in each coordinate, against the sign of the gradient
    torch.testing.assert_close(
        subject.mac.logits.detach(), torch.tensor(POLICY).log() + torch.tensor([-0.01, 0.01])
    )
    assert subject.critic.value.item() == pytest.approx(VALUE + 0.01)
    assert subject.target_critic.value.item() == pytest.approx(VALUE + 0.25 * 0.01)


@pytest.mark.parametrize(
    ("changes", "rewards", "returns"),
    [
        ({}, REWARDS, RETURNS),
        ({"q_nstep": 2}, REWARDS, [[4.0, 1.0], [4.0, 2.0]]),
        # errors 1.5 and 3, -.5 and 1; A_0 = d_0 + .25 d_1, then plus V = 1
        ({"use_gae": True}, REWARDS, [[1.5 + 0.75 + 1, -0.5 + 0.25 + 1], [4.0, 2.0]]),
        ({"add_value_last_step": True}, REWARDS, [[2.5, 0.5], [4.5, 2.5]]),
        ({"common_reward": True}, [[2.0], [4.0]], [[2.5, 2.5], [4.0, 4.0]]),
    ],
    ids=["one step", "two steps", "gae", "last value", "common reward"],
)
@pytest.mark.parametrize("learner", ["actor_critic_learner", "ppo_learner"])
def test_returns_and_advantages(make, learner, changes, rewards, returns):
    subject = make(learner, **changes)
    targets = subject._targets(episode(rewards=rewards))
    torch.testing.assert_close(targets.returns, torch.tensor([returns]))
    advantages, _ = subject._critic_step(episode(rewards=rewards), targets)
    torch.testing.assert_close(advantages, torch.tensor([returns]) - VALUE)


def test_common_rewards_are_standardised_as_one_stream(make):
    subject = make(common_reward=True, standardise_rewards=True)
    returns = subject._targets(episode(rewards=[[2.0], [4.0]])).returns
    assert subject.reward_stats.mean.item() == pytest.approx(3.0, rel=1e-3)
    expected = [[-1 + 0.5 * VALUE] * 2, [1.0] * 2]  # (2, 4) has mean 3 and standard deviation 1
    torch.testing.assert_close(returns, torch.tensor([expected]), rtol=1e-2, atol=1e-2)


def test_individual_rewards_are_standardised_agent_by_agent(make):
    subject = make(standardise_rewards=True)
    subject._targets(episode())
    torch.testing.assert_close(subject.reward_stats.mean, torch.tensor([3.0, 1.0]), rtol=1e-3, atol=1e-3)


def test_the_clipped_gain_by_hand():
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1, 0.9])
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    log_policy = ratio.log().requires_grad_()
    gain = clipped_gain(log_policy, torch.zeros(6), advantages, eps_clip=0.2)
    torch.testing.assert_close(gain.detach(), torch.tensor([1.2, -1.5, 0.5, -0.8, 1.1, -0.9]))
    gain.sum().backward()  # what is clipped has no gradient, the rest has r A
    torch.testing.assert_close(log_policy.grad, torch.tensor([0.0, -1.5, 0.5, 0.0, 1.1, -0.9]))


def test_every_epoch_is_measured_from_the_policy_that_played(make, monkeypatch):
    seen = []
    gain = PPOLearner._gain

    def record(self, log_policy, played, advantages):
        seen.append((log_policy.detach().clone(), played))
        return gain(self, log_policy, played, advantages)

    monkeypatch.setattr(PPOLearner, "_gain", record)
    make("ppo_learner", epochs=3).train(episode(), t_env=0, episode_num=0)
    expected = torch.tensor(POLICY).log()[torch.tensor([ACTIONS])]
    assert len(seen) == 3
    for index, (log_policy, played) in enumerate(seen):
        torch.testing.assert_close(played, expected)
        assert torch.allclose(log_policy, expected) == (index == 0)


@pytest.mark.parametrize("learner", ["actor_critic_learner", "ppo_learner"])
@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.0},
        {"q_nstep": 0},
        {"gae_lambda": 2.0},
        {"gamma": -1.0},
        {"grad_norm_clip": 0},
        {"target_update_interval_or_tau": 0.0},
        {"agent_output_type": "q"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_refused_settings_are_named(make, learner, change):
    with pytest.raises(UserError, match=rf"^{next(iter(change))}="):
        make(learner, **change)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"eps_clip": 0.0}])
def test_ppo_alone_reads_its_own_settings(make, change):
    with pytest.raises(UserError, match=rf"^{next(iter(change))}="):
        make("ppo_learner", **change)
    make("actor_critic_learner", **change)


@pytest.mark.parametrize("alg", ["ia2c", "maa2c", "mappo", "ippo"])
@pytest.mark.parametrize("words", [["common_reward=True"], ["use_rnn=True", "obs_agent_id=True"]])
def test_whole_runs_with_other_settings(toy_config, alg, words):
    config = toy_config("t_max=40", "test_nepisode=10", *words, alg=alg)
    assert run.train(config).t_env >= 40


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("alg", ["ia2c", "maa2c", "mappo", "ippo"])
def test_every_algorithm_learns_the_toy(toy_config, alg, seed):
    words = ("t_max=3000", "lr=0.01", "test_interval=1000", f"seed={seed}")
    metrics = json.loads((run.train(toy_config(*words, alg=alg)).results_dir / "metrics.json").read_text())
    returns, lengths = (metrics[f"test_{key}"]["values"] for key in ("return_mean", "ep_length_mean"))
    assert returns[0] / lengths[0] < 0.6  # half of the buttons are right by chance
    assert returns[-1] / lengths[-1] > 0.98  # 1 at best: sampled, not greedy, policies press them all
