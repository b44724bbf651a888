"""ippo, mappo, ia2c and maa2c against EPyMARL's own, weight by weight, after training on the same batches.

Needs a checkout: ``EPYMARL_HOME=/path/to/epymarl``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mf_pmd

SCRIPT = """
import sys
from types import SimpleNamespace

import torch

sys.path.insert(0, sys.argv[1])
from components.episode_buffer import EpisodeBatch as TheirBatch
from components.transforms import OneHot as TheirOneHot
from controllers.basic_controller import BasicMAC as TheirMAC
from learners import REGISTRY as their_learners

from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.host.components.transforms import OneHot
from mf_pmd.host.controllers import REGISTRY as controllers
from mf_pmd.host.learners import REGISTRY as learners

B, T, N, O, A, S = 6, 7, 3, 4, 3, 2
variant = eval(sys.argv[2])
early, learner = variant.pop("early"), variant.pop("learner", "ppo_learner")
settings = dict(
    n_agents=N, n_actions=A, agent="rnn", critic_type="ac_critic", agent_output_type="pi_logits",
    action_selector="soft_policies", mask_before_softmax=True, obs_agent_id=True, obs_last_action=True,
    obs_individual_obs=False, name="compared", learner=learner, hidden_dim=16, use_rnn=True, lr=0.003,
    epochs=4, eps_clip=0.2, entropy_coef=0.01, q_nstep=3, gamma=0.9,
    use_gae=False, gae_lambda=0.95, add_value_last_step=True, grad_norm_clip=1.0, common_reward=False,
    standardise_returns=False, standardise_rewards=False, target_update_interval_or_tau=0.1,
    learner_log_interval=1, use_cuda=False, device="cpu", env="toy", env_args={"key": "toy"}, episode_limit=T,
)
args = SimpleNamespace(**{**settings, **variant})
groups = {"agents": N}


def scheme():
    return {
        "state": {"vshape": S},
        "obs": {"vshape": O, "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "avail_actions": {"vshape": (A,), "group": "agents", "dtype": torch.int},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
        "reward": {"vshape": (1 if args.common_reward else N,)},
    }


def batches(seed):
    torch.manual_seed(seed)
    ends = torch.randint(2, T + 1, (B,)) if early else torch.full((B,), T)
    ends[0] = T
    ours, theirs = (
        batch(scheme(), groups, B, T + 1, preprocess={"actions": ("actions_onehot", [one_hot(A)])})
        for batch, one_hot in ((EpisodeBatch, OneHot), (TheirBatch, TheirOneHot))
    )
    for b, end in enumerate(ends.tolist()):
        for t in range(end + 1):
            mask = torch.ones(N, A, dtype=torch.int)
            mask[0, t % A] = 0
            data = {"state": torch.randn(1, S), "obs": torch.randn(1, N, O), "avail_actions": mask[None]}
            if t < end:
                open_actions = mask.float().multinomial(1).view(1, N)
                reward = torch.randn(1, 1 if args.common_reward else N)
                ended = torch.tensor([[t == end - 1]])
                data |= {"actions": open_actions, "reward": reward, "terminated": ended}
            for batch in (ours, theirs):
                batch.update(data, bs=b, ts=t)
    return ours, theirs


class Recorder(dict):
    def log_stat(self, key, value, t):
        self[key] = value


example = batches(0)
stats = Recorder(), Recorder()
our_mac = controllers["basic_mac"](example[0].scheme, groups, args)
their_mac = TheirMAC(example[1].scheme, groups, args)
our_mac.agent.load_state_dict(their_mac.agent.state_dict())
ours = learners[learner](our_mac, example[0].scheme, stats[0], args)
theirs = their_learners[learner](their_mac, example[1].scheme, stats[1], args)
ours.critic.load_state_dict(dict(zip(ours.critic.state_dict(), theirs.critic.state_dict().values())))
ours.target_critic.load_state_dict(ours.critic.state_dict())
theirs.target_critic.load_state_dict(theirs.critic.state_dict())
for step in range(5):
    our_batch, their_batch = batches(step)
    ours.train(our_batch, step, step)
    theirs.train(their_batch, step, step)
tolerance = dict(rtol=2e-3, atol=2e-4)
for our_net, their_net in (
    (ours.mac.agent, theirs.mac.agent),
    (ours.critic, theirs.critic),
    (ours.target_critic, theirs.target_critic),
):
    for a, b in zip(our_net.parameters(), their_net.parameters(), strict=True):
        torch.testing.assert_close(a, b, **tolerance)
assert set(stats[1]) <= set(stats[0]), set(stats[1]) - set(stats[0])
for key in stats[1]:
    torch.testing.assert_close(float(stats[0][key]), float(stats[1][key]), rtol=1e-2, atol=1e-3)
print("equal")
"""

VARIANTS = {
    "defaults": {"early": False},
    "early ends": {"early": True, "add_value_last_step": False},
    "perceptron, common reward, hard targets": {
        "early": False,
        "common_reward": True,
        "use_rnn": False,
        "target_update_interval_or_tau": 2,
    },
    "long returns": {"early": False, "q_nstep": 20, "obs_last_action": False},
    "mappo": {
        "early": True,
        "critic_type": "cv_critic",
        "obs_last_action": False,
        "add_value_last_step": False,
    },
    "ia2c": {"early": True, "learner": "actor_critic_learner", "add_value_last_step": False},
    "maa2c, common reward": {
        "early": False,
        "learner": "actor_critic_learner",
        "critic_type": "cv_critic",
        "obs_last_action": False,
        "use_rnn": False,
        "common_reward": True,
    },
}


@pytest.mark.slow
@pytest.mark.skipif("EPYMARL_HOME" not in os.environ, reason="EPYMARL_HOME names no checkout of EPyMARL")
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_the_same_weights_after_the_same_batches(variant):
    path = os.pathsep.join([str(Path(mf_pmd.__file__).parents[1]), *filter(None, sys.path)])
    source = str(Path(os.environ["EPYMARL_HOME"]) / "src")
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, source, repr(variant)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "equal"
