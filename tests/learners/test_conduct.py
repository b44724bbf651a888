"""What every learner owes: refusals, divergence, checkpoints that go on bit for bit, and a cost without N."""

import json
import math

import pytest
import torch

from mf_pmd import cli
from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.host import run
from mf_pmd.learners import REGISTRY

SMALL = ["env_args.n_agents=30", "env_args.horizon=4"]
ALGS = {
    "mf_pmd_tabular": SMALL,
    "mf_pmd": [
        "env_args.n_agents=30",
        "env_args.horizon=4",
        "hidden_dim=8",
        "critic_steps=5",
        "policy_steps=5",
    ],
}
FORMS = {
    "tabular": ("mf_pmd_tabular", []),
    "tabular, the paper's": (
        "mf_pmd_tabular",
        ["td_order=simultaneous", "td_agents=one", "td_target=sarsa", "td_learning_rate=paper"],
    ),
    "neural": ("mf_pmd", []),
    "neural, sarsa": ("mf_pmd", ["td_target=sarsa", "td_lambda=0.5"]),
    "neural, scale-free": ("mf_pmd", ["step_rule=scale_free"]),
    "tabular, optimistic": ("mf_pmd_tabular", ["optimism=0.5"]),
    "neural, optimistic": ("mf_pmd", ["optimism=1.0"]),
    "population dependent": ("mf_pmd", ["population_dependent=True", "output_policy=average"]),
    "neural, on observations": (
        "mf_pmd",
        ["agent=deep_set_network", "learn_agents=7", "minibatch_rows=9"],
    ),
    "private tables": ("ipmd", []),
    "private tables, the paper's": (
        "ipmd",
        ["td_order=simultaneous", "td_target=sarsa", "td_learning_rate=paper", "output_policy=average"],
    ),
    "online mirror descent": ("omd", []),
    "fictitious play": ("fictitious_play", []),
}
EPOCH = 40  # 10 episodes of 4 steps
INTERVALS = [f"{key}={EPOCH}" for key in ("test_interval", "runner_log_interval", "learner_log_interval")]


@pytest.fixture(params=ALGS)
def alg(request):
    return request.param


@pytest.fixture
def short(configure):
    """The configuration of a short run."""

    def load(alg, *words, env="a_sis"):
        return configure(alg, env, *ALGS.get(alg, SMALL), *INTERVALS, *words)

    return load


def metrics(result):
    return json.loads((result.results_dir / "metrics.json").read_text())


TIMED = {"agent_steps_per_second"}


def assert_resumed(whole, second, entries, since):
    expected, reached = entries(whole.checkpoint), entries(second.checkpoint)
    assert expected.keys() == reached.keys()
    assert {name.partition("/")[0] for name in expected} == {"agent", "policy", "learner", "host"}
    for name, value in expected.items():
        same = torch.equal(value, reached[name]) if torch.is_tensor(value) else value == reached[name]
        assert same, name
    ours, theirs = metrics(second), metrics(whole)
    assert {"test_mean_field_exploitability_tail", "test_mean_field_exploitability", "policy_entropy"} <= set(
        ours
    )
    assert {key for key in theirs if theirs[key]["steps"][-1] > since} - TIMED <= set(ours)
    for key in set(ours) - TIMED:
        late = {t: v for t, v in zip(theirs[key]["steps"], theirs[key]["values"], strict=True) if t > since}
        got = {t: v for t, v in zip(ours[key]["steps"], ours[key]["values"], strict=True) if t > since}
        assert got == late, key


@pytest.mark.parametrize("form", FORMS)
def test_resuming_equals_not_stopping_bit_for_bit(short, checkpoint_entries, form):
    k = 3
    alg, words = FORMS[form]
    whole = run.train(short(alg, *words, f"t_max={2 * k * EPOCH}"))
    first = run.train(short(alg, *words, f"t_max={k * EPOCH}"))
    second = run.train(short(alg, *words, f"t_max={2 * k * EPOCH}", f"checkpoint_path={first.models_dir}"))
    assert (first.t_env, second.t_env) == (k * EPOCH, whole.t_env)
    assert_resumed(whole, second, checkpoint_entries, since=first.t_env)


def test_resuming_between_two_readings_of_the_statistics(short, checkpoint_entries):
    # the returns of the epochs since the last reading belong to the next one
    words = ["runner_log_interval=120", "learner_log_interval=120", "test_interval=40"]
    whole = run.train(short("mf_pmd_tabular", *words, f"t_max={8 * EPOCH}"))
    first = run.train(short("mf_pmd_tabular", *words, f"t_max={3 * EPOCH}"))
    second = run.train(
        short("mf_pmd_tabular", *words, f"t_max={8 * EPOCH}", f"checkpoint_path={first.models_dir}")
    )
    assert metrics(second)["return_mean"]["steps"][0] > first.t_env
    assert_resumed(whole, second, checkpoint_entries, since=first.t_env)


def test_the_number_of_agents_may_differ_on_loading(short, alg):
    first = run.train(short(alg, f"t_max={EPOCH}"))
    for words in (["evaluate=True"], [f"t_max={3 * EPOCH}"]):
        result = run.train(
            short(
                alg, f"checkpoint_path={first.checkpoint}", "env_args.n_agents=17", "env_args.eps=0.1", *words
            )
        )
        assert metrics(result)["test_return_mean"]["steps"][0] in (EPOCH, 2 * EPOCH)


def test_evaluating_scores_what_was_saved(short, alg):
    first = run.train(short(alg, f"t_max={2 * EPOCH}"))
    again = run.train(short(alg, f"checkpoint_path={first.checkpoint}", "evaluate=True"))
    for key in ("test_mean_field_exploitability_tail", "test_mean_field_exploitability", "test_return_mean"):
        assert metrics(again)[key]["values"] == metrics(first)[key]["values"][-1:]


OTHERS = {
    "game": ["--env-config=a_rps", [], "its game is a_sis, this run's is a_rps"],
    "horizon": ["--env-config=a_sis", ["env_args.horizon=5"], "its horizon is 4, this run's is 5"],
}


@pytest.mark.parametrize(("env", "words", "reason"), OTHERS.values(), ids=OTHERS)
def test_checkpoints_of_other_games_are_refused(short, alg, capsys, tmp_path, env, words, reason):
    first = run.train(short(alg, f"t_max={EPOCH}"))
    out = tmp_path / "out"
    given = [f"checkpoint_path={first.checkpoint}", f"t_max={9 * EPOCH}", f"local_results_path={out}"]
    argv = ["train", f"--config={alg}", env, "with", *ALGS[alg], "use_cuda=False", "seed=1", *given, *words]
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: checkpoint_path=")
    assert reason in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(("made", "taken"), [("sqrt", "scale_free"), ("scale_free", "sqrt")])
@pytest.mark.parametrize("name", ["mf_pmd", "mf_pmd_tabular"])
def test_checkpoints_of_another_step_rule_name_it(short, name, made, taken):
    first = run.train(short(name, f"step_rule={made}", f"t_max={EPOCH}"))
    words = [f"step_rule={taken}", f"t_max={9 * EPOCH}", f"checkpoint_path={first.checkpoint}"]
    with pytest.raises(UserError, match=f"checkpoint_path=.* set step_rule={made}$"):
        run.train(short(name, *words))


def test_a_resumed_run_takes_its_own_rate_and_betas(short, build):
    first = run.train(short("mf_pmd", "adam_beta2=0.9", "lr=0.02", f"t_max={EPOCH}"))
    learner = build("mf_pmd", "a_sis", *ALGS["mf_pmd"], "adam_beta2=0.95", "lr=0.005").learner
    learner.load_models(str(first.checkpoint))
    for optimiser in (learner.critic_optimiser, learner.agent_optimiser):
        (group,) = optimiser.param_groups
        assert (group["lr"], group["betas"]) == (0.005, (0.9, 0.95))
        assert optimiser.state[group["params"][0]]["step"] > 0


def test_checkpoints_of_the_other_algorithm_are_refused(short):
    first = run.train(short("mf_pmd_tabular", f"t_max={EPOCH}"))
    with pytest.raises(UserError, match="checkpoint_path"):
        run.train(short("mf_pmd", f"t_max={9 * EPOCH}", f"checkpoint_path={first.checkpoint}"))


REFUSED = [
    (["buffer_size=20"], r"batch_size_run=10, batch_size=10, buffer_size=20: .*set all three"),
    (["batch_size=5"], r"batch_size_run=10, batch_size=5, buffer_size=10: .*must not mix epochs"),
    (["common_reward=True"], r"common_reward=True: .*set common_reward=False"),
    (["tau=0.1", "c_xi=10.0"], r"tau=0.1, c_xi=10.0: .*below 1"),
    (["tau=0.2", "c_xi=5.0"], r"tau=0.2, c_xi=5.0: .*below 1"),
    (["tau=-0.1"], r"tau=-0.1: must not be negative"),
    (["c_xi=0.0"], r"c_xi=0.0: must be positive"),
    (["c_xi=-1.0"], r"c_xi=-1.0: must be positive"),
    (["c_mix=-0.1"], r"c_mix=-0.1: must not be negative"),
    (["mix_offset=0.0"], r"mix_offset=0.0: must be positive"),
    (["gamma=0.5"], r"gamma=0.5: .*set gamma=1.0"),
    (["add_value_last_step=True"], r"add_value_last_step=True: .*set add_value_last_step=False"),
    (["obs_agent_id=True"], r"obs_agent_id=True: .*set obs_agent_id=False"),
    (["observation=features"], r"observation=features: .*set observation=index"),
]
ANYWHERE = [(alg, *case) for alg in ALGS for case in REFUSED]
ALONE = [
    ("mf_pmd_tabular", ["td_delta=0.0"], r"td_delta=0.0: it is a probability"),
    ("mf_pmd_tabular", ["td_delta=1.5"], r"td_delta=1.5: it is a probability"),
    ("mf_pmd", ["td_lambda=1.5"], r"td_lambda=1.5: must lie between 0 and 1"),
    ("mf_pmd", ["td_lambda=-0.5"], r"td_lambda=-0.5: must lie between 0 and 1"),
    ("mf_pmd", ["count_exponent=2.0"], r"count_exponent=2.0: must lie between 0 and 1"),
    ("mf_pmd", ["adam_beta2=1.5"], r"adam_beta2=1.5: must lie between 0 and 1, below 1"),
    ("mf_pmd", ["critic_steps=0"], r"critic_steps=0: must be at least 1"),
    ("mf_pmd", ["policy_steps=0"], r"policy_steps=0: must be at least 1"),
    ("mf_pmd", ["minibatch_episodes=0"], r"minibatch_episodes=0: must be at least 1"),
    ("mf_pmd", ["hidden_dim=0"], r"hidden_dim=0: at least 1 is needed"),
    ("mf_pmd", ["lr=-0.1"], r"lr=-0.1"),
    ("mf_pmd", ["grad_norm_clip=-1"], r"grad_norm_clip=-1"),
    ("mf_pmd", ["agent=rnn"], r"agent=rnn: .*mean_field_network"),
    (
        "mf_pmd",
        ["agent=mean_field_table"],
        r"agent=mean_field_table: not one of auto, mean_field_network, deep",
    ),
    (
        "mf_pmd",
        ["critic_type=ac_critic"],
        r"critic_type=ac_critic: not one of auto, mean_field_critic, deep_set_q",
    ),
    ("mf_pmd", ["population.threads=-1"], r"population.threads=-1"),
]


@pytest.mark.parametrize(("alg", "words", "message"), ANYWHERE + ALONE)
def test_settings_that_cannot_be_served_are_refused(build, short, alg, words, message):
    with pytest.raises(UserError, match=message) as caught:
        build(alg, "a_sis", *ALGS[alg], *words)
    assert "\n" not in str(caught.value)


def test_choices_are_refused_by_the_learner_itself(build, alg):
    # on a real EPyMARL nobody has checked the words before
    learner = build(alg, "a_sis", *ALGS[alg]).learner
    keys = ["td_agents", "td_target"] + (["td_order", "td_learning_rate"] if "tabular" in alg else [])
    for key in keys:
        args = type(learner.args)(**{**vars(learner.args), key: "nonsense"})
        with pytest.raises(UserError, match=f"{key}=nonsense: choose one of"):
            type(learner)(learner.mac, {}, learner.logger, args)
    for key in ("tau", "c_xi", "c_mix", "mix_offset"):
        args = type(learner.args)(**{**vars(learner.args), key: math.nan})
        with pytest.raises(UserError, match=f"{key}=nan"):
            type(learner)(learner.mac, {}, learner.logger, args)


def test_the_tabular_learner_needs_a_table(build):
    learner = build("mf_pmd_tabular", "a_sis", *ALGS["mf_pmd_tabular"]).learner
    network = build("mf_pmd", "a_sis", *ALGS["mf_pmd"]).learner
    with pytest.raises(UserError, match="needs agent=mean_field_table"):
        type(learner)(network.mac, {}, learner.logger, learner.args)


@pytest.mark.parametrize("name", ["mf_pmd", "mf_pmd_tabular", "mf_ac", "mf_q", "munchausen_omd", "omd"])
def test_private_tables_are_refused_by_learners_of_one_policy(build, name):
    learner = build(name, "a_sis", "env_args.n_agents=4").learner
    private = build("ipmd", "a_sis", "env_args.n_agents=4").learner.mac
    with pytest.raises(UserError, match=r"mac=\w+: \w+ needs mac=mean_\w+_mac"):
        type(learner)(private, {}, learner.logger, learner.args)


def test_capabilities_are_declared():
    for kind in REGISTRY.values():
        assert kind.supports_individual_rewards is True
        assert kind.supports_common_reward is False


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_not_finite_stop_training(build, alg, poison):
    pieces = build(alg, "a_sis", *ALGS[alg])
    batch = pieces.runner.run(test_mode=False)
    pieces.learner.train(batch, t_env=EPOCH, episode_num=10)
    iterates = pieces.learner.mac.history.count
    batch["reward"][3, 2, 5] = poison
    c_xi = pieces.learner.args.c_xi
    with pytest.raises(DivergenceError, match=rf"training diverged; lower c_xi={c_xi} or lr="):
        pieces.learner.train(batch, t_env=2 * EPOCH, episode_num=20)
    assert pieces.learner.mac.history.count == iterates
    assert pieces.learner.epoch == 1


def test_what_is_logged_is_complete_and_learning_is_the_same_without_it(build, alg):
    learners = [build(alg, "a_sis", *ALGS[alg], f"learner_log_interval={n}").learner for n in (1, 10**6)]
    batch = build(alg, "a_sis", *ALGS[alg]).runner.run(test_mode=False)
    logged = []
    for learner in learners:
        learner.logger.series.clear()
        for epoch in range(3):
            torch.manual_seed(epoch)
            learner.train(batch, t_env=(epoch + 1) * EPOCH, episode_num=10 * epoch)
        logged.append({key: [t for t, _ in values] for key, values in learner.logger.series.items()})
    often, once = logged
    assert often.keys() == once.keys()
    assert all(times == [EPOCH, 2 * EPOCH, 3 * EPOCH] for times in often.values())
    assert all(times == [EPOCH] for times in once.values())
    policies = [learner.mac.history.mean("last") for learner in learners]
    assert torch.equal(*policies)


def test_the_sample_is_not_written_to(build, alg):
    pieces = build(alg, "a_sis", *ALGS[alg])
    batch = pieces.runner.run(test_mode=False)
    keys = ("obs", "state", "actions", "reward", "terminated", "filled")
    before = {key: batch[key].clone() for key in keys}
    pieces.learner.train(batch, t_env=EPOCH, episode_num=10)
    assert all(torch.equal(batch[key], value) for key, value in before.items())


def test_the_order_of_agents_changes_nothing(build, alg):
    tables = []
    orders = torch.arange(30), torch.randperm(30, generator=torch.Generator().manual_seed(0))
    enough = ["critic_steps=50", "policy_steps=50"] if alg == "mf_pmd" else []  # to move, whatever the seed
    for order in orders:
        pieces = build(alg, "a_sis", *ALGS[alg], "c_mix=0.0", *enough)
        batch = pieces.runner.run(test_mode=False)
        shuffled = {key: batch[key][:, :, order] for key in ("obs", "actions", "reward")}
        pieces.learner.train(shuffled, t_env=EPOCH, episode_num=10)
        tables.append(pieces.learner.mac.history.mean("last"))
    assert torch.allclose(*tables, atol=1e-6)
    assert (tables[0] - 0.5).abs().max() > 0.01


def test_learning_after_counting_costs_the_same_for_any_number_of_agents(build, alg):
    elements = []
    for n_agents in (20, 4000):
        learner = (pieces := build(alg, "a_sis", *ALGS[alg], f"env_args.n_agents={n_agents}")).learner
        statistics = learner.count(pieces.runner.run(test_mode=False))
        assert statistics.state_count.sum().item() == n_agents * EPOCH
        elements.append([field.numel() for field in statistics if field is not None])
    assert elements[0] == elements[1]


def test_a_few_epochs_improve_the_policy(build, alg):
    words = ["env_args.n_agents=500", "test_nepisode=10"] + (
        ["critic_steps=100", "policy_steps=50"] if alg == "mf_pmd" else []
    )
    pieces = build(alg, "a_sis", *ALGS[alg], *words)
    scores = []
    for _ in range(5):
        pieces.runner.run(test_mode=True)
        scores.append(pieces.learner.logger.last("test_mean_field_exploitability_last"))
        batch = pieces.runner.run(test_mode=False)
        pieces.learner.train(batch, t_env=pieces.runner.t_env, episode_num=0)
    assert scores[-1] < scores[0] / 2
