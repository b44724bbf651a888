"""Q-learning by hand on a batch of two episodes, and whole runs on games whose optimum is known."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.host import envs, run
from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.host.components.replay_buffer import ReplayBuffer
from mf_pmd.host.envs import MultiAgentEnv
from mf_pmd.host.learners.q_learner import QLearner, best_values, td_targets
from mf_pmd.host.utils.config import HOST_CONFIG, load_config

TOY_YAML = Path(__file__).with_name("toy.yaml")
ALGORITHMS = ("iql", "vdn", "qmix")

# Two agents, three actions, three steps and the state after them: [T + 1, N, A].
ONLINE = [
    [[1, 2, 3], [4, 5, 6]],
    [[1, 5, 3], [2, 0, 1]],
    [[0, 4, 9], [3, 6, 5]],
    [[0, 0, 1], [1, 0, 0]],
]
TARGET = [
    [[0, 0, 0], [0, 0, 0]],
    [[10, 20, 30], [7, 9, 8]],
    [[3, 2, 100], [4, -1, 6]],
    [[50, 60, 70], [50, 60, 70]],
]
REWARDS = [[1, 2], [3, 4], [5, 6]]  # of the first episode; the second has 0, 0 and then 1, 1 and ends
ACTIONS = [[[0, 1], [1, 0], [0, 2]], [[2, 2], [0, 1], [0, 0]]]
SETTINGS = {
    "agent_output_type": "q",
    "mixer": None,
    "common_reward": False,
    "reward_scalarisation": "sum",
    "epochs": 1,
    "hidden_dim": 4,
    "lr": 0.01,
    "gamma": 0.5,
    "grad_norm_clip": 1e9,
    "double_q": True,
    "standardise_returns": False,
    "standardise_rewards": False,
    "target_update_interval_or_tau": 0.1,
    "epsilon_start": 1.0,
    "epsilon_finish": 0.0,
    "evaluation_epsilon": 0.0,
    "learner_log_interval": 1,
    "device": "cpu",
    "n_agents": 2,
    "n_actions": 3,
}


class TableMAC:
    """Action values that depend on step and agent alone, and are the parameters."""

    def __init__(self, table):
        self.table = nn.Parameter(torch.tensor(table, dtype=torch.float32))

    def parameters(self):
        return iter([self.table])

    def forward_all(self, batch):
        return self.table.expand(batch.batch_size, -1, -1, -1)


def hand_made_batch(*, common=None, terminated=True, ever_available=False):
    """The two episodes; the first may be cut off instead of terminated."""
    scheme = {
        "state": {"vshape": 1},
        "obs": {"vshape": 1, "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "avail_actions": {"vshape": (3,), "group": "agents", "dtype": torch.int},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
        "reward": {"vshape": (2 if common is None else 1,)},
    }
    batch = EpisodeBatch(scheme, {"agents": 2}, 2, 4)
    rewards = torch.tensor([REWARDS, [[0, 0], [1, 1], [0, 0]]], dtype=torch.float32)
    for b, length in enumerate((3, 2)):
        for t in range(length + 1):
            avail = torch.ones(2, 3, dtype=torch.int)
            if t == 2 and not ever_available:
                avail[0, 2] = 0  # the best action of the first agent
            batch.update({"avail_actions": avail}, bs=b, ts=t)
            if t < length:
                reward = rewards[b, t] if common is None else getattr(rewards[b, t], common)()
                ended = t == length - 1 and (b == 1 or terminated)
                actions = torch.tensor(ACTIONS[b][t])
                batch.update({"actions": actions, "reward": reward, "terminated": [ended]}, bs=b, ts=t)
    return batch


@pytest.fixture
def learner(recording_logger):
    """A learner whose networks are the two tables."""

    def make(**changes):
        args = SimpleNamespace(**{**SETTINGS, **changes})
        made = QLearner(TableMAC(ONLINE), {"obs": {"vshape": 1}}, recording_logger, args)
        with torch.no_grad():
            made.target_mac.table.copy_(torch.tensor(TARGET))
        return made

    return make


def targets_of(learner, batch):
    """Targets of the first episode, ``[T, N or 1]``, as lists."""
    values = learner.mac.forward_all(batch).detach()
    return learner._targets(batch, learner._experience(batch), values)[0].tolist()


INDIVIDUAL = {
    # choosing by ONLINE: 20 and 7 after step 0; after step 1 the third action is unavailable: 2 and -1
    "double": ({"double_q": True}, {}, [[11, 5.5], [4, 3.5], [5, 6]]),
    "plain": ({"double_q": False}, {}, [[16, 6.5], [4.5, 7], [5, 6]]),
    "all available": ({"double_q": True}, {"ever_available": True}, [[11, 5.5], [53, 3.5], [5, 6]]),
    "cut off": ({"double_q": True}, {"terminated": False}, [[11, 5.5], [4, 3.5], [40, 31]]),
    "undiscounted": ({"gamma": 1.0}, {}, [[21, 9], [5, 3], [5, 6]]),
}


@pytest.mark.parametrize("case", INDIVIDUAL.values(), ids=INDIVIDUAL)
def test_targets_of_individual_rewards_by_hand(learner, case):
    settings, how, expected = case
    assert targets_of(learner(**settings), hand_made_batch(**how)) == expected


COMMON = {
    "iql": ({"mixer": None}, "sum", [[13, 6.5], [8, 6.5], [11, 11]]),
    "vdn, sum": ({"mixer": "vdn"}, "sum", [[16.5], [7.5], [11]]),
    "vdn, mean": (
        {"mixer": "vdn", "reward_scalarisation": "mean"},
        "mean",
        [[8.25], [3.75], [5.5]],
    ),
}


@pytest.mark.parametrize("case", COMMON.values(), ids=COMMON)
def test_targets_of_common_rewards_by_hand(learner, case):
    settings, how, expected = case
    assert targets_of(learner(common_reward=True, **settings), hand_made_batch(common=how)) == expected


def test_mixers_are_given_the_state_of_their_step(learner, recording_logger):
    """Mixers that put out the state itself: 1, 2, 3 and 4; rewards 3, 7, 11, gamma 1/2."""
    team = learner(mixer="vdn", common_reward=True)
    batch = hand_made_batch(common="sum")
    batch.update({"state": torch.arange(1.0, 5.0).expand(2, 4).unsqueeze(-1)}, mark_filled=False)
    team.target_mixer = lambda values, states: states
    assert targets_of(team, batch) == [[3 + 1], [7 + 1.5], [11]]
    team.mixer = lambda values, states: states + 0 * values.sum(dim=-1, keepdim=True)
    team.train(batch, t_env=0, episode_num=0)
    assert recording_logger.last("q_taken_mean") == pytest.approx((1 + 2 + 3 + 1 + 2) / 5)


def test_loss_and_statistics_by_hand(learner, recording_logger):
    """TD errors -10, -.5, 1, -1.5, -5, -1 of the first episode and -7, 2.5, 0, -1 of the second."""
    learner(lr=1e-9).train(hand_made_batch(), t_env=6, episode_num=0)
    expected = {"loss": 18.575, "td_error_abs": 2.95, "q_taken_mean": 2.8, "target_mean": 5.05}
    for key, value in expected.items():
        assert recording_logger.last(key) == pytest.approx(value), key


def test_loss_of_a_team_by_hand(learner, recording_logger):
    """TD errors -10.5, -.5, -6 and -4.5, -1 of the sums of the agents' values."""
    team = learner(lr=1e-9, mixer="vdn", common_reward=True)
    team.train(hand_made_batch(common="sum"), t_env=6, episode_num=0)
    assert recording_logger.last("loss") == pytest.approx(33.55)


def test_the_gradient_is_that_of_the_taken_actions(learner):
    """dL/dQ = 2 error / count on what was taken; nothing through the targets or after an episode's end."""
    made = learner()
    before = made.mac.table.detach().clone()
    made.train(hand_made_batch(), t_env=6, episode_num=0)
    expected = torch.zeros(4, 2, 3)
    for t, n, a, error in (
        (0, 0, 0, -10), (0, 1, 1, -0.5), (1, 0, 1, 1), (1, 1, 0, -1.5), (2, 0, 0, -5), (2, 1, 2, -1),
        (0, 0, 2, -7), (0, 1, 2, 2.5), (1, 0, 0, 0), (1, 1, 1, -1),
    ):  # fmt: skip
        expected[t, n, a] += 2 * error / 10
    torch.testing.assert_close(made.mac.table.grad, expected)
    moved = (made.mac.table.detach() - before).abs()
    torch.testing.assert_close(moved, 0.01 * (expected != 0).float(), rtol=1e-3, atol=1e-6)


def test_standardised_rewards_are_those_of_the_steps_that_count(learner):
    made = learner(standardise_rewards=True, gamma=0.0)
    counted = torch.tensor([[1, 2], [3, 4], [5, 6], [0, 0], [1, 1]]).double()
    deviation = counted.std(dim=0, correction=0)
    expected = (torch.tensor(REWARDS).double() - counted.mean(dim=0)) / deviation
    torch.testing.assert_close(
        torch.tensor(targets_of(made, hand_made_batch())).double(), expected, rtol=1e-3, atol=1e-3
    )


def test_standardised_returns_are_learnt_in_their_own_units(learner):
    """The first targets are taken as they are; then targets have mean 0 and deviation 1 in each column."""
    made = learner(standardise_returns=True, gamma=0.0)
    batch = hand_made_batch()
    values = made.mac.forward_all(batch).detach()
    experience = made._experience(batch)
    targets = made._targets(batch, experience, values)[experience.mask.squeeze(-1) > 0]
    torch.testing.assert_close(targets.mean(dim=0), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(targets.std(dim=0, correction=0), torch.ones(2), atol=1e-3, rtol=0)
    made.return_stats.mean, made.return_stats.var = torch.tensor([1.0, 1.0]), torch.tensor([4.0, 4.0])
    made.args.gamma = 1.0
    before = made.return_stats.restore_units(torch.tensor([20.0, 7.0]))
    assert before.tolist() == [41.0, 15.0]
    made.return_stats.update = lambda targets: None
    raw = torch.tensor(REWARDS[0]) + before
    assert made._targets(batch, experience, values)[0, 0].tolist() == ((raw - 1) / 2).tolist() == [20.5, 8.0]


def test_best_values_where_nothing_is_available_are_finite():
    values = torch.randn(1, 1, 2, 3)
    found = best_values(values, values, torch.ones(1, 1, 2, 3, dtype=torch.bool))
    assert found.isfinite().all()


def test_td_targets_take_no_value_after_the_end():
    rewards, ended = torch.tensor([[[1.0]]]), torch.tensor([[[1.0]]])
    assert td_targets(rewards, ended, torch.full((1, 1, 2), 9.0), gamma=1.0).tolist() == [[[1.0, 1.0]]]


@pytest.mark.parametrize(("setting", "steps", "shares"), [(0.25, 1, [0.25]), (2, 3, [0, 1, 1])])
def test_targets_follow_softly_or_by_copies(learner, setting, steps, shares):
    made = learner(target_update_interval_or_tau=setting)
    batch = hand_made_batch()
    for step, expected in zip(range(steps), shares, strict=True):
        before = made.target_mac.table.detach().clone()
        made.train(batch, t_env=step, episode_num=0)
        if step < 2:  # by then the copy and the network have parted again
            torch.testing.assert_close(
                made.target_mac.table, before.lerp(made.mac.table.detach(), float(expected))
            )
        else:
            assert torch.equal(made.target_mac.table, before)


def test_every_gradient_step_of_a_batch_moves_the_targets(learner):
    made, twice = learner(epochs=3), learner(epochs=1)
    batch = hand_made_batch()
    made.train(batch, t_env=0, episode_num=0)
    for _ in range(3):
        twice.train(batch, t_env=0, episode_num=0)
    assert made.training_steps == 3
    assert torch.equal(made.mac.table, twice.mac.table)
    assert torch.equal(made.target_mac.table, twice.target_mac.table)


def test_the_batch_is_not_written_into(learner):
    batch = hand_made_batch()
    before = copy.deepcopy(batch.data)
    learner(standardise_rewards=True, epochs=2).train(batch, t_env=0, episode_num=0)
    for key, column in before.stored.items():
        assert torch.equal(batch.data.stored[key], column), key


def test_a_value_that_is_not_finite_stops_learning(learner):
    made = learner()
    batch = hand_made_batch()
    batch.data.stored["reward"][0, 0, 0] = torch.nan
    before = made.mac.table.detach().clone()
    with pytest.raises(DivergenceError, match="loss=nan"):
        made.train(batch, t_env=0, episode_num=0)
    assert torch.equal(made.mac.table, before)


# Whole runs.


class CorridorEnv(MultiAgentEnv):
    """Agents on four places in a row; the last pays 1 a step, stepping left, where one can, .1.

    In six steps the best an agent can do is three steps right and four payments: 4. At the first place left
    is unavailable and right pays nothing; from the second on .1 beckons those who do not look ahead.
    """

    def __init__(self, key, seed, common_reward, reward_scalarisation):
        self.n_agents, self.episode_limit = 2, 6
        self.common_reward = common_reward
        self.team = np.sum if reward_scalarisation == "sum" else np.mean

    def reset(self, seed=None, options=None):
        self.t, self.places = 0, np.zeros(2, dtype=int)
        return self.get_obs(), {}

    def step(self, actions):
        moves = np.asarray(actions)
        assert not ((moves == 0) & (self.places == 0)).any(), "an unavailable action"
        self.places = np.minimum(self.places + np.array([-1, 1])[moves], 3)
        rewards = np.where(moves == 0, 0.1, self.places == 3)
        self.t += 1
        reward = self.team(rewards) if self.common_reward else rewards
        return self.get_obs(), reward, self.t == 6, False, {}

    def get_obs(self):
        return [np.append(np.eye(4)[place], self.t / 6).astype(np.float32) for place in self.places]

    def get_state(self):
        return np.append(np.eye(4)[self.places].mean(axis=0), self.t / 6).astype(np.float32)

    def get_avail_actions(self):
        return [[int(place > 0), 1] for place in self.places]

    def get_obs_size(self):
        return 5

    def get_state_size(self):
        return 5

    def get_total_actions(self):
        return 2


class TwoStepEnv(MultiAgentEnv):
    """The two-step game of Rashid et al., 2018 (section 6): the first agent chooses which matrix is played.

    7 whatever is done, or 0, 1, 1, 8. The best sum of action values is 1.5 off the second matrix everywhere,
    so that its best entry looks like 6.5 and the team settles for 7.
    """

    def __init__(self, key, seed, common_reward, reward_scalarisation):
        self.n_agents, self.episode_limit = 2, 2

    def reset(self, seed=None, options=None):
        self.where = 0
        return self.get_obs(), {}

    def step(self, actions):
        first, second = (int(action) for action in actions)
        if self.where == 0:
            self.where, reward, ended = 1 + first, 0.0, False
        else:
            reward, ended = 7.0 if self.where == 1 else [[0.0, 1.0], [1.0, 8.0]][first][second], True
        return self.get_obs(), reward, ended, False, {}

    def get_obs(self):
        return [np.append(np.eye(3)[self.where], index).astype(np.float32) for index in range(2)]

    def get_state(self):
        return np.eye(3, dtype=np.float32)[self.where]

    def get_avail_actions(self):
        return [[1, 1]] * 2

    def get_obs_size(self):
        return 4

    def get_state_size(self):
        return 3

    def get_total_actions(self):
        return 2


@pytest.fixture
def configure_run(tmp_path, monkeypatch):
    """The configuration of a short run on a small game."""
    monkeypatch.setitem(envs.REGISTRY, "corridor", CorridorEnv)
    monkeypatch.setitem(envs.REGISTRY, "two_step", TwoStepEnv)

    def load(algorithm, game, *words):
        yaml = TOY_YAML
        if game != "toy":
            yaml = tmp_path / f"{game}.yaml"
            yaml.write_text(f"env: {game}\nenv_args:\n  key: {game}\ncommon_reward: False\ngamma: 1.0\n")
        base = [
            "seed=1",
            "use_cuda=False",
            "threads=1",
            "hidden_dim=16",
            "progress=none",
            f"local_results_path={tmp_path / 'out'}",
        ]
        return load_config(algorithm, str(yaml), [*base, *words], [HOST_CONFIG])

    return load


def metrics_of(result):
    return json.loads((result.results_dir / "metrics.json").read_text())


VARIANTS = {
    "iql": ("iql", []),
    "iql, recurrent, hard targets": ("iql", ["use_rnn=True", "target_update_interval_or_tau=7"]),
    "iql, standardised": ("iql", ["standardise_rewards=True", "standardise_returns=True"]),
    "vdn": ("vdn", []),
    "qmix": ("qmix", ["hypernet_layers=1", "obs_last_action=True"]),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_resuming_equals_not_stopping_bit_for_bit(configure_run, checkpoint_entries, variant):
    algorithm, words = variant
    words = ["env_args.episode_limit=4", "env_args.early=4", "buffer_size=30", "epochs=3", *words]
    whole = run.train(configure_run(algorithm, "toy", *words, "t_max=400", "test_interval=70"))
    first = run.train(configure_run(algorithm, "toy", *words, "t_max=200"))
    again = f"checkpoint_path={first.models_dir}"
    second = run.train(configure_run(algorithm, "toy", *words, "t_max=400", again, "test_interval=70"))
    assert first.t_env == 200
    assert second.t_env == whole.t_env == 400
    expected, reached = checkpoint_entries(whole.checkpoint), checkpoint_entries(second.checkpoint)
    clocks = {key for key in expected if key.rpartition("/")[2] in ("last_test_t", "last_log_t")}
    assert expected.keys() == reached.keys()
    assert {"host/buffer/stored/obs", "targets/0"} <= expected.keys()
    for key in expected.keys() - clocks:
        if isinstance(expected[key], torch.Tensor):
            assert torch.equal(expected[key], reached[key]), key
        else:
            assert expected[key] == reached[key], key
    last = [metrics_of(result)["test_return_mean"]["values"][-1] for result in (whole, second)]
    assert last[0] == last[1]


@pytest.mark.parametrize("algorithm", ["vdn", "qmix"])
def test_a_team_refuses_individual_rewards(configure_run, tmp_path, algorithm):
    match = rf"^common_reward=False: mixer={algorithm} .*set common_reward=True, or use --config=iql$"
    with pytest.raises(UserError, match=match):
        run.train(configure_run(algorithm, "toy", "common_reward=False"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("algorithm", "word"),
    [
        ("iql", "epochs=0"),
        ("iql", "hidden_dim=0"),
        ("iql", "lr=0.0"),
        ("iql", "grad_norm_clip=0"),
        ("iql", "target_update_interval_or_tau=0.0"),
        ("iql", "evaluation_epsilon=1.5"),
        ("iql", "epsilon_start=-0.1"),
        ("iql", "epsilon_finish=2.0"),
        ("iql", "agent_output_type=pi_logits"),
        ("iql", "mixer=vdm"),
        ("vdn", "reward_scalarisation=mean_"),
        ("qmix", "hypernet_layers=3"),
        ("qmix", "mixing_embed_dim=0"),
        ("qmix", "hypernet_embed=0"),
    ],
)
def test_refused_settings_leave_nothing_behind(configure_run, tmp_path, algorithm, word):
    with pytest.raises(UserError, match=word.partition("=")[0]) as caught:
        run.train(configure_run(algorithm, "toy", word))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_checkpoints_of_other_forms_are_refused(configure_run):
    short = ("t_max=200", "buffer_size=30")
    trained = {alg: run.train(configure_run(alg, "toy", *short)).checkpoint for alg in ALGORITHMS}
    for algorithm, word, match in (
        ("iql", "hidden_dim=8", "hidden_dim is 16 there and 8 here"),
        ("iql", "mixer=vdn common_reward=True", "mixer is None there and vdn here"),
        ("iql", "env_args.n_buttons=3", "take a checkpoint of the same game"),
        ("iql", "buffer_size=20", "buffer_size=20: the checkpoint holds 30 episodes; at least 30 are needed"),
        ("vdn", "reward_scalarisation=sum", "reward_scalarisation is mean there and sum here"),
        ("qmix", "mixing_embed_dim=4", "mixing_embed_dim is 8 there and 4 here"),
        ("qmix", "env_args.n_agents=5", "n_agents is 3 there and 5 here"),
    ):
        words = ("buffer_size=30", *word.split(), f"checkpoint_path={trained[algorithm]}")
        with pytest.raises(UserError, match=match):
            run.train(configure_run(algorithm, "toy", *words, "t_max=800"))


@pytest.mark.parametrize("algorithm", ["iql", "vdn"])
def test_another_number_of_agents_is_welcome_and_its_episodes_are_not(configure_run, algorithm):
    trained = run.train(configure_run(algorithm, "toy", "t_max=100"))
    words = (f"checkpoint_path={trained.checkpoint}", "env_args.n_agents=5")
    assert run.train(configure_run(algorithm, "toy", *words, "evaluate=True")).t_env == trained.t_env
    onward = run.train(configure_run(algorithm, "toy", *words, "t_max=200"))
    state = torch.load(onward.checkpoint / "host.th", weights_only=True)
    assert state["buffer"]["stored"]["obs"].shape[2] == 5


def test_a_ring_restored_is_the_ring():
    scheme = {"reward": {"vshape": (1,)}}
    rings = [ReplayBuffer(scheme, {}, 4, 2) for _ in range(2)]
    batch = EpisodeBatch(scheme, {}, 3, 2)
    for start in (0, 3):
        batch.update({"reward": torch.arange(start, start + 3).view(3, 1).expand(3, 2)})
        rings[0].insert_episode_batch(batch)
    rings[1].load_state_dict(rings[0].state_dict())
    assert rings[1]["reward"][:, 0, 0].tolist() == rings[0]["reward"][:, 0, 0].tolist() == [4, 5, 2, 3]
    assert rings[1].buffer_index == 2


# Learning. The thresholds leave no room for a wrong policy: returns of greedy play are a few known numbers.


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_end_of_the_corridor_is_found(configure_run, algorithm, seed):
    words = (f"seed={seed}", "t_max=6000", "test_interval=2000", "epsilon_anneal_time=3000", "hidden_dim=32")
    result = run.train(configure_run(algorithm, "corridor", *words))
    assert metrics_of(result)["test_return_mean"]["values"][-1] == pytest.approx(4.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("algorithm", "value"), [("qmix", 8.0), ("vdn", 7.0)])
def test_the_two_step_game_tells_qmix_from_vdn(configure_run, algorithm, value, seed):
    """With full exploration, as in the paper: 8 is the optimum, 7 the best a sum can see."""
    words = (
        f"seed={seed}",
        "t_max=6000",
        "test_interval=2000",
        "epsilon_finish=1.0",
        "batch_size=32",
        "hidden_dim=32",
        "reward_scalarisation=sum",
    )
    result = run.train(configure_run(algorithm, "two_step", *words))
    assert metrics_of(result)["test_return_mean"]["values"][-1] == value
