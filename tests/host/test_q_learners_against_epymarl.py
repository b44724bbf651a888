"""iql, vdn and qmix against EPyMARL's own, weight by weight, after training on the same batches.

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
from learners.q_learner import QLearner as TheirLearner

from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.host.components.transforms import OneHot
from mf_pmd.host.controllers import REGISTRY as controllers
from mf_pmd.host.learners import REGISTRY as learners

B, T, N, O, A, S = 6, 7, 3, 4, 3, 2
variant = eval(sys.argv[2])
early = variant.pop("early", False)
settings = dict(
    n_agents=N, n_actions=A, state_shape=S, agent="rnn", agent_output_type="q", mixer=None,
    action_selector="epsilon_greedy", epsilon_start=1.0, epsilon_finish=0.05, epsilon_anneal_time=10,
    evaluation_epsilon=0.0, obs_agent_id=True, obs_last_action=True, hidden_dim=16, use_rnn=False, lr=0.003,
    epochs=1, gamma=0.9, grad_norm_clip=1.0, common_reward=False, reward_scalarisation="sum", double_q=True,
    mixing_embed_dim=8, hypernet_layers=2, hypernet_embed=16, standardise_returns=False,
    standardise_rewards=False, target_update_interval_or_tau=0.1, learner_log_interval=1, use_cuda=False,
    device="cpu", env="toy", env_args={"key": "toy"}, episode_limit=T, mask_before_softmax=True,
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
            data = {"obs": torch.randn(1, N, O), "state": torch.randn(1, S), "avail_actions": mask[None]}
            if t < end:
                open_actions = mask.float().multinomial(1).view(1, N)
                reward = torch.randn(1, 1 if args.common_reward else N)
                ended = torch.tensor([[t == end - 1 and (early or b % 2 == 0)]])
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
ours = learners["q_learner"](our_mac, example[0].scheme, stats[0], args)
theirs = TheirLearner(their_mac, example[1].scheme, stats[1], args)
their_targets = list(theirs.target_mac.parameters())
if theirs.mixer is not None:
    their_targets += list(theirs.target_mixer.parameters())
with torch.no_grad():
    for mine, other in ((ours.params, theirs.params), (ours.target_params, their_targets)):
        for parameter, value in zip(mine, other, strict=True):
            parameter.copy_(value)
for step in range(5):
    our_batch, their_batch = batches(step)
    ours.train(our_batch, step, step)
    theirs.train(their_batch, step, step)
tolerance = dict(rtol=2e-3, atol=2e-4)
moved = 0.0
for mine, other in ((ours.params, theirs.params), (ours.target_params, their_targets)):
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, **tolerance)
for parameter, target in zip(ours.params, ours.target_params, strict=True):
    moved = max(moved, (parameter - target).abs().max().item())
assert moved > 1e-3, moved
assert set(stats[1]) == set(stats[0]), set(stats[1]) ^ set(stats[0])
# EPyMARL divides the mean over agents by N once more, whether or not it is a team's value
once_more = {"q_taken_mean": N, "target_mean": N}
for key in stats[1]:
    theirs_in_our_units = float(stats[1][key]) * once_more.get(key, 1)
    torch.testing.assert_close(float(stats[0][key]), theirs_in_our_units, rtol=1e-2, atol=1e-3)
print("equal")
"""

COMMON = {"common_reward": True, "target_update_interval_or_tau": 2}
VARIANTS = {
    "iql": {},
    "iql, early ends": {"early": True, "double_q": False},
    "iql, recurrent, common reward": {"use_rnn": True, "common_reward": True},
    "vdn": {"mixer": "vdn", **COMMON},
    "vdn, early ends": {"mixer": "vdn", "early": True, **COMMON},
    "qmix": {"mixer": "qmix", **COMMON},
    "qmix, one layer, single q": {"mixer": "qmix", "hypernet_layers": 1, "double_q": False, **COMMON},
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
