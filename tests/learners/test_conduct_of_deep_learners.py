"""What mf_q, mf_ac and munchausen_omd owe: refusals, divergence, resuming bit for bit, a cost without N."""

import json
import math

import pytest
import torch

from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.host import run

EPOCH = 40  # 10 episodes of 4 steps
GAME = ["env_args.n_agents=30", "env_args.horizon=4", "test_nepisode=10", f"test_interval={3 * EPOCH}"]
SMALL = [*GAME, "hidden_dim=8", "critic_steps=5"]
ALGS = ("mf_q", "mf_ac", "munchausen_omd")
FORMS = {
    "mf_q": ("mf_q", ["replay_episodes=15"]),
    "mf_ac": ("mf_ac", []),
    "mf_ac, reading the population": ("mf_ac", ["population_dependent=True", "entropy_coef=0.1"]),
    "munchausen_omd": ("munchausen_omd", []),
}
INTERVALS = [f"{key}={EPOCH}" for key in ("runner_log_interval", "learner_log_interval")]
PLAYED = "test_mean_field_exploitability"


@pytest.fixture(params=ALGS)
def alg(request):
    return request.param


@pytest.fixture
def short(configure):
    """The configuration of a short run."""

    def load(alg, *words, env="a_sis"):
        return configure(alg, env, *SMALL, *INTERVALS, *words)

    return load


@pytest.fixture
def small(build):
    """The pieces of a short run."""

    def make(alg, *words):
        return build(alg, "a_sis", *SMALL, *words)

    return make


def metrics(result):
    return json.loads((result.results_dir / "metrics.json").read_text())


@pytest.mark.parametrize("form", FORMS)
def test_resuming_equals_not_stopping_bit_for_bit(short, checkpoint_entries, form):
    alg, words = FORMS[form]
    whole = run.train(short(alg, *words, f"t_max={6 * EPOCH}"))
    first = run.train(short(alg, *words, f"t_max={3 * EPOCH}"))
    second = run.train(short(alg, *words, f"t_max={6 * EPOCH}", f"checkpoint_path={first.models_dir}"))
    expected, reached = checkpoint_entries(whole.checkpoint), checkpoint_entries(second.checkpoint)
    assert expected.keys() == reached.keys()
    assert any("exp_avg" in name for name in expected)  # the optimiser's memory is there
    for name, value in expected.items():
        same = torch.equal(value, reached[name]) if torch.is_tensor(value) else value == reached[name]
        assert same, name
    ours, theirs = metrics(second), metrics(whole)
    for key in ("td_error_abs", "critic_loss", "policy_entropy", "test_return_mean", PLAYED):
        assert ours[key]["values"][-1] == theirs[key]["values"][-1], key


def test_the_number_of_agents_may_differ_on_loading(short, alg):
    first = run.train(short(alg, f"t_max={EPOCH}"))
    result = run.train(
        short(alg, f"checkpoint_path={first.checkpoint}", "env_args.n_agents=17", f"t_max={3 * EPOCH}")
    )
    assert result.t_env == 3 * EPOCH


def test_evaluating_scores_what_was_saved(short, alg):
    first = run.train(short(alg, f"t_max={2 * EPOCH}"))
    again = run.train(short(alg, f"checkpoint_path={first.checkpoint}", "evaluate=True"))
    assert metrics(again)[PLAYED]["values"] == metrics(first)[PLAYED]["values"][-1:]


@pytest.mark.parametrize("other", [*ALGS, "mf_pmd", "mf_pmd_tabular"])
def test_checkpoints_of_other_algorithms_are_refused(configure, short, alg, other):
    if other == alg:
        return
    first = run.train(configure(other, "a_sis", *GAME, f"t_max={EPOCH}"))
    with pytest.raises(UserError, match="checkpoint_path"):
        run.train(short(alg, f"t_max={9 * EPOCH}", f"checkpoint_path={first.checkpoint}"))


def test_checkpoints_of_other_games_are_refused(short, alg):
    first = run.train(short(alg, f"t_max={EPOCH}"))
    with pytest.raises(UserError, match="its game is a_sis, this run's is a_rps"):
        run.train(short(alg, f"t_max={9 * EPOCH}", f"checkpoint_path={first.checkpoint}", env="a_rps"))


ANYWHERE = [
    (["buffer_size=20"], r"batch_size_run=10, batch_size=10, buffer_size=20: .*set all three"),
    (["common_reward=True"], r"common_reward=True: .*set common_reward=False"),
    (["add_value_last_step=True"], r"add_value_last_step=True: .*set add_value_last_step=False"),
    (["obs_agent_id=True"], r"obs_agent_id=True: .*set obs_agent_id=False"),
    (["observation=features"], r"observation=features: .*set observation=index"),
    (["lr=0.0"], r"lr=0.0: must be positive"),
    (["grad_norm_clip=-1.0"], r"grad_norm_clip=-1.0: must be positive"),
    (["critic_steps=0"], r"critic_steps=0: must be at least 1"),
    (["count_exponent=1.5"], r"count_exponent=1.5: must lie between 0 and 1"),
    (["hidden_dim=0"], r"hidden_dim=0"),
    (["agent=mean_field_table"], r"agent=mean_field_table: "),
    (["agent=rnn"], r"agent=rnn: "),
]
ALONE = [
    ("mf_q", ["beta=0.0"], r"beta=0.0: must be positive"),
    ("mf_q", ["replay_episodes=0"], r"replay_episodes=0: must be at least 1"),
    ("mf_q", ["replay_episodes=100000000"], r"replay_episodes=100000000: .*lower it"),
    ("mf_q", ["mac=mean_field_mac"], r"agent=mean_action_q: a mean-field controller takes"),
    *((alg, ["target_update_rate=0.0"], r"target_update_rate=0.0: must be positive") for alg in ALGS[:2]),
    *((alg, ["target_update_rate=1.1"], r"target_update_rate=1.1: must lie") for alg in ALGS[:2]),
    *((alg, ["minibatch_episodes=0"], r"minibatch_episodes=0: must be at least 1") for alg in ALGS[:2]),
    ("mf_ac", ["policy_steps=0"], r"policy_steps=0: must be at least 1"),
    ("mf_ac", ["entropy_coef=-0.1"], r"entropy_coef=-0.1: must not be negative"),
    ("mf_ac", ["critic_type=mean_field_critic"], r"critic_type=mean_field_critic: choose one of mean_action"),
    (
        "mf_pmd",
        ["critic_type=mean_action_critic"],
        r"critic_type=mean_action_critic: not one of auto, mean_field_critic",
    ),
    ("munchausen_omd", ["tau=0.0"], r"tau=0.0: must be positive"),
    ("munchausen_omd", ["munchausen_weight=1.1"], r"munchausen_weight=1.1: must lie between 0 and 1"),
    ("munchausen_omd", ["gamma=0.5"], r"gamma=0.5: .*set gamma=1.0"),
    ("munchausen_omd", ["population_dependent=True"], r"population_dependent=True: .*=False"),
    ("munchausen_omd", ["agent=mean_field_network"], r"agent=mean_field_network: .*agent=soft_q_network"),
]


@pytest.mark.parametrize(("alg", "words", "message"), [(a, *case) for a in ALGS for case in ANYWHERE] + ALONE)
def test_settings_that_cannot_be_served_are_refused(small, alg, words, message):
    with pytest.raises(UserError, match=message) as caught:
        small(alg, *words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_rewards_that_are_not_finite_stop_training(small, alg, poison):
    pieces = small(alg)
    batch = pieces.runner.run(test_mode=False)
    batch["reward"][3, 2, 5] = poison
    with pytest.raises(DivergenceError, match=r"training diverged; lower lr="):
        pieces.learner.train(batch, t_env=EPOCH, episode_num=10)
    assert pieces.learner.epoch == 0


def test_the_sample_is_not_written_to(small, alg):
    pieces = small(alg)
    batch = pieces.runner.run(test_mode=False)
    keys = ("obs", "state", "actions", "reward", "terminated", "filled")
    before = {key: batch[key].clone() for key in keys}
    pieces.learner.train(batch, t_env=EPOCH, episode_num=10)
    assert all(torch.equal(batch[key], value) for key, value in before.items())


def test_the_order_of_agents_changes_nothing(small, alg):
    learnt = []
    for order in (torch.arange(30), torch.randperm(30, generator=torch.Generator().manual_seed(0))):
        pieces = small(alg)
        batch = pieces.runner.run(test_mode=False)
        shuffled = {key: batch[key][:, :, order] for key in ("obs", "actions", "reward")}
        pieces.learner.train(shuffled, t_env=EPOCH, episode_num=10)
        learnt.append(torch.nn.utils.parameters_to_vector(pieces.learner.mac.parameters()).detach())
    assert torch.allclose(*learnt, atol=1e-5)
    assert not torch.equal(
        learnt[0], torch.nn.utils.parameters_to_vector(small(alg).learner.mac.parameters())
    )


def test_learning_after_counting_costs_the_same_for_any_number_of_agents(small, alg):
    elements = []
    for n_agents in (20, 4000):
        learner = (pieces := small(alg, f"env_args.n_agents={n_agents}")).learner
        statistics = learner.count(pieces.runner.run(test_mode=False))
        assert statistics.state_count.sum().item() == n_agents * EPOCH
        elements.append([field.numel() for field in statistics if field is not None])
    assert elements[0] == elements[1]
