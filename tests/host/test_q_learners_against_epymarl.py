"""iql, vdn and qmix against EPyMARL's own, weight by weight, after training on the same batches.

Needs a checkout: ``EPYMARL_HOME=/path/to/epymarl``.
"""

import pytest

SCRIPT = """
from learners.q_learner import QLearner as TheirLearner

variant = eval(sys.argv[2])
early = variant.pop("early", False)
own = dict(
    state_shape=S, learner="q_learner", agent_output_type="q", mixer=None, action_selector="epsilon_greedy",
    epsilon_start=1.0, epsilon_finish=0.05, epsilon_anneal_time=10, evaluation_epsilon=0.0,
    use_rnn=False, epochs=1,
    reward_scalarisation="sum", double_q=True, mixing_embed_dim=8, hypernet_layers=2, hypernet_embed=16,
)
args = SimpleNamespace(**{**SETTINGS, **own, **variant})
example = batches(0, args, early=early, cut_off=True)
stats = Recorder(), Recorder()
our_mac, their_mac = equal_macs(example, args)
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
    our_batch, their_batch = batches(step, args, early=early, cut_off=True)
    ours.train(our_batch, step, step)
    theirs.train(their_batch, step, step)
moved = 0.0
for mine, other in ((ours.params, theirs.params), (ours.target_params, their_targets)):
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
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
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_the_same_weights_after_the_same_batches(beside_epymarl, variant):
    beside_epymarl(SCRIPT, variant)
