"""ippo, mappo, ia2c and maa2c against EPyMARL's own, weight by weight, after training on the same batches.

Needs a checkout: ``EPYMARL_HOME=/path/to/epymarl``.
"""

import pytest

SCRIPT = """
from learners import REGISTRY as their_learners

variant = eval(sys.argv[2])
early, learner = variant.pop("early"), variant.pop("learner", "ppo_learner")
own = dict(
    critic_type="ac_critic", agent_output_type="pi_logits", action_selector="soft_policies",
    obs_individual_obs=False, name="compared", learner=learner, use_rnn=True, epochs=4, eps_clip=0.2,
    entropy_coef=0.01, q_nstep=3, use_gae=False, gae_lambda=0.95, add_value_last_step=True,
)
args = SimpleNamespace(**{**SETTINGS, **own, **variant})
example = batches(0, args, early=early)
stats = Recorder(), Recorder()
our_mac, their_mac = equal_macs(example, args)
ours = learners[learner](our_mac, example[0].scheme, stats[0], args)
theirs = their_learners[learner](their_mac, example[1].scheme, stats[1], args)
ours.critic.load_state_dict(dict(zip(ours.critic.state_dict(), theirs.critic.state_dict().values())))
ours.target_critic.load_state_dict(ours.critic.state_dict())
theirs.target_critic.load_state_dict(theirs.critic.state_dict())
for step in range(5):
    our_batch, their_batch = batches(step, args, early=early)
    ours.train(our_batch, step, step)
    theirs.train(their_batch, step, step)
for our_net, their_net in (
    (ours.mac.agent, theirs.mac.agent),
    (ours.critic, theirs.critic),
    (ours.target_critic, theirs.target_critic),
):
    for a, b in zip(our_net.parameters(), their_net.parameters(), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
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
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_the_same_weights_after_the_same_batches(beside_epymarl, variant):
    beside_epymarl(SCRIPT, variant)
