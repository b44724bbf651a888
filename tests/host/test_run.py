"""Whole runs of the toy: what they leave, how they resume, and how they end when something goes wrong."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.host import learners, run
from mf_pmd.host.learners.ppo_learner import PPOLearner
from mf_pmd.host.modules import critics
from mf_pmd.host.modules.critics.ac_critic import ACCritic
from mf_pmd.host.runners.episode_runner import EpisodeRunner

EPOCHS = "episode_limit=4", "early=4"  # every episode has four steps, so an epoch of ten has forty


def fixed_length(*words):
    return [*(f"env_args.{word}" for word in EPOCHS), *words]


def read(path: Path):
    """A json file, refusing what is not JSON."""

    def refuse(token):
        raise AssertionError(f"{token} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint but the host's counters and random states."""
    tensors = {}

    def collect(prefix, value):
        if isinstance(value, torch.Tensor):
            tensors[prefix] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                collect(f"{prefix}/{key}", item)

    for path in sorted(folder.glob("*.th")):
        state = torch.load(path, weights_only=True)
        collect(path.stem, {k: v for k, v in state.items() if k != "random_states"})
    return tensors


def test_what_a_run_leaves(toy_config, tmp_path):
    finished = []
    result = run.train(toy_config("t_max=200", "test_interval=100"), finish=finished.append)
    assert finished == [result.results_dir]
    assert result.results_dir == tmp_path / "out" / "sacred" / "ippo" / "toy" / "1"
    assert read(result.results_dir / "config.json")["seed"] == 1
    assert read(result.results_dir / "run.json")["status"] == "COMPLETED"
    assert "t_env" in (result.results_dir / "cout.txt").read_text()
    metrics = read(result.results_dir / "metrics.json")
    steps = metrics["test_return_mean"]["steps"]
    assert steps[0] == 0
    assert steps[-1] == result.t_env >= 200
    assert len(steps) >= 3
    info = read(result.results_dir / "info.json")
    assert info["test_return_mean"] == metrics["test_return_mean"]["values"]
    assert info["test_return_mean_T"] == steps
    assert info["models_dir"] == str(result.models_dir)
    expected = {
        "return_mean",
        "total_return_mean",
        "test_total_return_mean",
        "test_return_std",
        "td_error_abs",
    }
    assert expected | {"policy_entropy", "agent_steps_per_second", "episode"} <= set(metrics)
    assert not [key for key in metrics if "agent_0" in key]


def test_checkpoints_are_whole_and_portable(toy_config):
    result = run.train(toy_config("t_max=100"))
    assert {folder.name for folder in result.models_dir.iterdir()} == {"0", str(result.t_env)}
    assert result.checkpoint == result.models_dir / str(result.t_env)
    assert not set(result.models_dir.name) & set(' :/\\"')
    assert read(result.checkpoint / "config.json")["env_args"]["key"] == "toy"


def test_no_models_when_not_wanted(toy_config, tmp_path):
    result = run.train(toy_config("t_max=40", "save_model=False"))
    assert result.checkpoint is None
    assert not (tmp_path / "out" / "models").exists()


def test_individual_and_common_rewards_log_the_same_scale(toy_config):
    individual = run.train(toy_config("t_max=40", "common_reward=False", "obs_agent_id=True"))
    common = run.train(toy_config("t_max=40", "common_reward=True", "obs_agent_id=True"))
    of = [read(result.results_dir / "metrics.json") for result in (individual, common)]
    assert of[0]["test_total_return_mean"]["values"][0] == pytest.approx(
        3 * of[0]["test_return_mean"]["values"][0]
    )
    assert of[1]["test_return_mean"]["values"][0] == pytest.approx(
        of[0]["test_total_return_mean"]["values"][0]
    )
    assert "test_total_return_mean" not in of[1]


VARIANTS = {
    "on policy": ("ippo", []),
    "recurrent": ("ippo", ["use_rnn=True"]),
    "central critic": ("mappo", ["epochs=2"]),
    "a2c": ("ia2c", ["use_gae=True"]),
    "a2c, central critic, common reward": ("maa2c", ["common_reward=True"]),
    "hard targets, gae": (
        "ippo",
        [
            "target_update_interval_or_tau=3",
            "use_gae=True",
            "standardise_returns=True",
        ],
    ),
    "with a buffer": ("ippo", ["buffer_size=20", "obs_last_action=True"]),
}


@pytest.mark.parametrize(("alg", "words"), VARIANTS.values(), ids=VARIANTS)
def test_resuming_equals_not_stopping_bit_for_bit(toy_config, alg, words):
    epochs = 6
    words = fixed_length(*words, "test_interval=70")
    whole = run.train(toy_config(*words, f"t_max={80 * epochs}", alg=alg))
    first = run.train(toy_config(*words, f"t_max={40 * epochs}", "test_interval=40", alg=alg))
    last = (f"t_max={80 * epochs}", f"checkpoint_path={first.models_dir}")
    second = run.train(toy_config(*words, *last, alg=alg))
    assert first.t_env == 40 * epochs
    assert second.t_env == whole.t_env == 80 * epochs
    expected, reached = weights(whole.checkpoint), weights(second.checkpoint)
    assert expected.keys() == reached.keys()
    assert len(expected) > 20
    for key, value in expected.items():
        assert torch.equal(value, reached[key]), key
    last = [
        read(result.results_dir / "metrics.json")["test_return_mean"]["values"][-1]
        for result in (whole, second)
    ]
    assert last[0] == last[1]


def test_evaluating_plays_tests_alone(toy_config):
    trained = run.train(toy_config("t_max=100"))
    result = run.train(toy_config(f"checkpoint_path={trained.checkpoint}", "evaluate=True"))
    metrics = read(result.results_dir / "metrics.json")
    assert metrics["test_return_mean"]["steps"] == [trained.t_env]
    assert "return_mean" not in metrics
    before = read(trained.results_dir / "metrics.json")["test_return_mean"]["values"][-1]
    assert metrics["test_return_mean"]["values"] == [before]


def test_load_step_takes_the_nearest(toy_config):
    trained = run.train(toy_config(*fixed_length("t_max=160", "save_model_interval=40")))
    words = (f"checkpoint_path={trained.models_dir}", "evaluate=True", "load_step=70")
    result = run.train(toy_config(*fixed_length(*words)))
    assert read(result.results_dir / "metrics.json")["test_return_mean"]["steps"] == [80]


class WiderCritic(ACCritic):
    """A critic of another form under the same settings."""

    def __init__(self, scheme, args):
        super().__init__(scheme, SimpleNamespace(**{**vars(args), "hidden_dim": args.hidden_dim + 1}))


def test_checkpoints_of_other_games_and_damaged_ones_are_refused(toy_config, monkeypatch):
    monkeypatch.setitem(critics.REGISTRY, "wider_critic", WiderCritic)
    trained = run.train(toy_config("t_max=40"))
    path = f"checkpoint_path={trained.checkpoint}"
    for word in ("env_args.n_buttons=3", "env_args.episode_limit=7", "env_args.key=other"):
        with pytest.raises(UserError, match="take a checkpoint of the same game"):
            run.train(toy_config(path, word, "t_max=400"))
    with pytest.raises(UserError, match="t_max=40"):
        run.train(toy_config(path, "t_max=40"))
    for word, match in {
        "hidden_dim=8": "hidden_dim is 16 there and 8 here",
        "use_rnn=True": "use_rnn is False there and True here",
        "obs_agent_id=True": "obs_agent_id is False there and True here",
        "obs_last_action=True": "obs_last_action is False there and True here",
        "obs_individual_obs=True": "obs_individual_obs is False there and True here",
        "name=mappo": "name is ippo there and mappo here",
        "critic_type=wider_critic": "it was made with other settings",
    }.items():
        with pytest.raises(UserError, match=match):
            run.train(toy_config(path, word, "t_max=400"))
    for file in ("critic.th", "host.th", "config.json"):
        whole = (trained.checkpoint / file).read_bytes()
        (trained.checkpoint / file).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=rf"{file} is damaged; take another checkpoint$"):
            run.train(toy_config(path, "t_max=400"))
        (trained.checkpoint / file).write_bytes(whole)
    (trained.checkpoint / "critic.th").unlink()
    with pytest.raises(UserError, match=r"critic.th is missing; take another checkpoint$"):
        run.train(toy_config(path, "t_max=400"))
    with pytest.raises(UserError, match="no such folder"):
        run.train(toy_config("checkpoint_path=/nowhere/at/all"))
    with pytest.raises(UserError, match="no checkpoint there"):
        run.train(toy_config(f"checkpoint_path={trained.results_dir}"))


def test_another_number_of_agents_is_welcome(toy_config):
    trained = run.train(toy_config("t_max=40"))
    words = (f"checkpoint_path={trained.checkpoint}", "env_args.n_agents=5", "evaluate=True")
    assert run.train(toy_config(*words)).t_env == trained.t_env


def draw(results_dir):
    """A picture of what there is: the metrics must be there by then."""
    assert (results_dir / "metrics.json").is_file()
    (results_dir / "exploitability.png").touch()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class DivergingLearner(PPOLearner):
    """Its loss is NaN from the third batch on."""

    def _critic_step(self, batch, targets):
        if self.training_steps == 2:
            targets.returns.fill_(math.nan)
        return super()._critic_step(batch, targets)


def test_a_nan_stops_the_run_and_keeps_the_last_checkpoint(toy_config, monkeypatch, tmp_path):
    monkeypatch.setitem(learners.REGISTRY, "ppo_learner", DivergingLearner)
    monkeypatch.setattr(EpisodeRunner, "artifacts", lambda self: {"flow": np.arange(3)}, raising=False)
    with pytest.raises(DivergenceError, match=r"critic_loss=nan.*last good checkpoint is .*/80") as caught:
        run.train(toy_config(*fixed_length("t_max=400", "save_model_interval=40")), finish=draw)
    assert {"exploitability.png", "population.npz"} <= names(
        tmp_path / "out" / "sacred" / "ippo" / "toy" / "1"
    )
    assert "\n" not in str(caught.value)
    (checkpoint,) = (tmp_path / "out" / "models").glob("*/80")
    assert all(tensor.isfinite().all() for tensor in weights(checkpoint).values())
    assert not list((tmp_path / "out" / "models").glob("*/120"))
    assert read(tmp_path / "out" / "sacred" / "ippo" / "toy" / "1" / "run.json")["status"] == "FAILED"


@pytest.mark.parametrize(
    "words",
    [
        ["env=nowhere"],
        ["mac=basic_mc"],
        ["learner=pp_learner"],
        ["batch_size=20"],
        ["t_max=0"],
        ["seed=-1"],
        ["evaluate=True"],
        ["save_replay=True"],
        ["threads=-3"],
        ["threads=1000000"],
        ["learner_log_interval=0"],
        ["runner_log_interval=0"],
        ["load_step=-1"],
        ["local_results_path="],
        ["gamma=1.5"],
        ["hidden_dim=0"],
        ["epochs=0"],
        ["lr=0.0"],
        ["grad_norm_clip=0"],
        ["eps_clip=-0.1"],
        ["q_nstep=0"],
        ["gae_lambda=2.0"],
        ["target_update_interval_or_tau=0.0"],
        ["agent_output_type=q"],
    ],
    ids=lambda words: words[0],
)
def test_refused_settings_leave_nothing_behind(toy_config, tmp_path, words):
    with pytest.raises(UserError, match=words[0].partition("=")[0]) as caught:
        run.train(toy_config(*words))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_refused_before_anything_starts(toy_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"local_results_path=.*name another folder"):
        run.train(toy_config(f"local_results_path={tmp_path / 'file' / 'out'}"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_setting_that_no_file_gives_is_named(toy_config, tmp_path):
    config = toy_config()
    del config["hidden_dim"]
    with pytest.raises(UserError, match=r"hidden_dim is missing.*learner=ppo_learner and mac=basic_mac"):
        run.train(config)
    assert not (tmp_path / "out").exists()


def test_speed_counts_training_and_not_tests(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 11.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    runner = EpisodeRunner.__new__(EpisodeRunner)
    runner._seconds, runner._last_training = 0.0, None
    for test_mode in (False, True, False, False):  # training 0 to 2, a test, training 10 to 11
        runner._count_seconds(test_mode)
    assert runner._seconds == 3.0


def test_failing_pictures_are_a_warning(toy_config, console):
    def finish(results_dir):
        raise RuntimeError("no ink")

    result = run.train(toy_config("t_max=40"), finish=finish)
    assert "no ink" in console.text
    assert read(result.results_dir / "run.json")["status"] == "COMPLETED"


def test_interrupting_names_the_last_checkpoint(toy_config, monkeypatch, console, tmp_path):
    def train(self, batch, t_env, episode_num):
        raise KeyboardInterrupt

    monkeypatch.setattr(PPOLearner, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run.train(toy_config("t_max=40"), finish=draw)
    assert "exploitability.png" in names(tmp_path / "out" / "sacred" / "ippo" / "toy" / "1")
    assert "the last good checkpoint is" in console.text
    assert read(tmp_path / "out" / "sacred" / "ippo" / "toy" / "1" / "run.json")["status"] == "INTERRUPTED"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("enforce fail")])
def test_a_full_disk_names_the_folder_and_the_last_checkpoint(toy_config, monkeypatch, tmp_path, error):
    save = PPOLearner.save_models

    def save_models(self, path):
        save(self, path)
        if self.training_steps == 2:
            raise error

    monkeypatch.setattr(PPOLearner, "save_models", save_models)
    match = r"models/.*/80: .*cannot be written.*local_results_path.*last good checkpoint is .*/40$"
    with pytest.raises(UserError, match=match) as caught:
        run.train(toy_config(*fixed_length("t_max=400", "save_model_interval=40")))
    assert "enforce" not in str(caught.value)
    assert names(next((tmp_path / "out" / "models").iterdir())) == {"0", "40"}


def test_failing_artifacts_mask_nothing(toy_config, monkeypatch, console):
    def artifacts(self):
        raise ValueError("nothing played")

    monkeypatch.setattr(EpisodeRunner, "artifacts", artifacts, raising=False)
    monkeypatch.setitem(learners.REGISTRY, "ppo_learner", DivergingLearner)
    with pytest.raises(DivergenceError, match="critic_loss=nan"):
        run.train(toy_config("t_max=400"))
    assert "population.npz could not be written" in console.text


def test_artifacts_of_the_runner_are_kept(toy_config, monkeypatch):
    monkeypatch.setattr(EpisodeRunner, "artifacts", lambda self: {"flow": np.arange(3)}, raising=False)
    result = run.train(toy_config("t_max=40"))
    with np.load(result.results_dir / "population.npz") as arrays:
        assert arrays["flow"].tolist() == [0, 1, 2]


def test_a_drawn_seed_is_recorded(toy_config):
    result = run.train(toy_config("t_max=40", "seed=null"))
    assert isinstance(read(result.results_dir / "config.json")["seed"], int)


@pytest.mark.slow
def test_ippo_learns_the_toy(toy_config):
    result = run.train(toy_config("t_max=6000", "lr=0.003", "test_interval=1000"))
    metrics = read(result.results_dir / "metrics.json")
    returns, lengths = (metrics[f"test_{key}_mean"]["values"] for key in ("return", "ep_length"))
    # a step pays 1 at best, and episodes end early by chance, which 20 of them do not average out
    assert returns[0] / lengths[0] < 0.72  # half of the buttons are right by chance
    assert returns[-1] / lengths[-1] > 0.95
