"""Independent mirror descent: an epoch of every agent alone, refusals, resuming, checkpoints, cost."""

import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

import mf_pmd
from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.functional.cells import cell_statistics
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.host import run

N, H = 30, 4
WORDS = [f"env_args.n_agents={N}", f"env_args.horizon={H}"]
EPOCH = 40  # 10 episodes of 4 steps
INTERVALS = [
    "test_nepisode=10",
    *(f"{key}={EPOCH}" for key in ("test_interval", "runner_log_interval", "learner_log_interval")),
]
FORMS = {
    "backward": [],
    "backward, sarsa": ["td_target=sarsa"],
    "simultaneous": ["td_order=simultaneous"],
    "the paper's": ["td_order=simultaneous", "td_target=sarsa", "td_learning_rate=paper", "td_delta=0.2"],
}


@pytest.fixture
def pieces(build):
    """Runner and learner of a small game."""
    return lambda *words: build("ipmd", "a_sis", *WORDS, *words)


@pytest.mark.parametrize("words", FORMS.values(), ids=FORMS)
def test_an_epoch_is_mf_pmd_tabular_of_every_agent_alone(pieces, build, words):
    ours, alone = pieces(*words), build("mf_pmd_tabular", "a_sis", *WORDS, *words).learner
    for epoch in range(2):
        batch = ours.runner.run(test_mode=False)
        before = ours.learner.mac.log_table.clone()
        ours.learner.train(batch, t_env=EPOCH * (epoch + 1), episode_num=10)
        for i in range(N):
            statistics = cell_statistics(
                batch["obs"][:, :, i : i + 1, 0],
                batch["actions"][:, :, i : i + 1, 0],
                batch["reward"][:, :-1, i : i + 1],
                n_states=2,
                n_actions=2,
                count_next_cells=True,
            )
            alone.epoch = epoch
            alone.mac.agent.log_table.copy_(before[i])
            alone.update(statistics)
            assert torch.allclose(ours.learner.mac.log_table[i], alone.mac.agent.log_table, atol=1e-5), i
        assert ours.learner.epoch == epoch + 1
    spread = ours.learner.mac.log_table.exp().std(0)
    assert spread.max() > 0.05  # the agents went their own ways


def test_metrics_are_those_of_the_agents_alone(pieces, build):
    ours, alone = pieces(), build("mf_pmd_tabular", "a_sis", *WORDS).learner
    batch = ours.runner.run(test_mode=False)
    old = ours.learner.mac.log_table.clone()
    found = ours.learner.learn(batch)
    found_by = {key: [] for key in found}
    for i in range(N):
        one = {key: batch[key][:, :, i : i + 1] for key in ("obs", "actions", "reward")}
        alone.mac.agent.log_table.copy_(old[i])
        for key, value in alone.update(alone.count(one)).items():
            found_by[key].append(value)
    for key, values in found_by.items():
        assert found[key] == pytest.approx(sum(values) / N, rel=1e-4), key
    assert 0 < found["unvisited_cells"] < 1


def test_chunks_change_nothing(pieces, monkeypatch):
    tables, metrics = [], []
    for size in (2**21, 10 * H * 7):  # all at once, then seven agents at a time
        monkeypatch.setattr("mf_pmd.learners.ipmd.CHUNK", size)
        found = pieces()
        metrics.append(found.learner.learn(found.runner.run(test_mode=False)))
        tables.append(found.learner.mac.log_table)
    assert torch.equal(*tables)
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-6)


def test_agents_that_change_places_change_tables(pieces):
    first, second = pieces("c_mix=0.0"), pieces("c_mix=0.0")
    batch = first.runner.run(test_mode=False)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    first.learner.train(batch, t_env=EPOCH, episode_num=10)
    shuffled = {key: batch[key][:, :, order] for key in ("obs", "actions", "reward")}
    second.learner.train(shuffled, t_env=EPOCH, episode_num=10)
    assert torch.equal(first.learner.mac.log_table[order], second.learner.mac.log_table)


REFUSED = [
    (["buffer_size=20"], r"batch_size_run=10, batch_size=10, buffer_size=20: .*set all three"),
    (["common_reward=True"], r"common_reward=True: .*set common_reward=False"),
    (["tau=0.1", "c_xi=10.0"], r"tau=0.1, c_xi=10.0: .*below 1"),
    (["tau=-0.1"], r"tau=-0.1: must not be negative"),
    (["c_xi=0.0"], r"c_xi=0.0: must be positive"),
    (["gamma=0.5"], r"gamma=0.5: .*set gamma=1.0"),
    (["obs_agent_id=True"], r"obs_agent_id=True: .*set obs_agent_id=False"),
    (["observation=features"], r"observation=features: .*set observation=index"),
    (["td_delta=0.0"], r"td_delta=0.0: it is a probability"),
    (["mac=mean_field_mac", "agent=mean_field_table"], r"mac=mean_field_mac: .*use mac=private_table_mac"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_settings_that_cannot_be_served_are_refused(pieces, words, message):
    with pytest.raises(UserError, match=message) as caught:
        pieces(*words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["td_target", "td_order", "td_learning_rate"])
def test_choices_are_refused_by_the_learner_itself(pieces, key):
    learner = pieces().learner
    args = type(learner.args)(**{**vars(learner.args), key: "nonsense"})
    with pytest.raises(UserError, match=f"{key}=nonsense: choose one of"):
        type(learner)(learner.mac, {}, learner.logger, args)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_rewards_that_are_not_finite_stop_training(pieces, poison):
    found = pieces()
    batch = found.runner.run(test_mode=False)
    batch["reward"][3, 2, 5] = poison
    with pytest.raises(DivergenceError, match=r"training diverged; lower c_xi=10.0"):
        found.learner.train(batch, t_env=EPOCH, episode_num=10)
    assert found.learner.mac.history.count == 1


def test_the_sample_is_not_written_to(pieces):
    found = pieces()
    batch = found.runner.run(test_mode=False)
    before = {key: batch[key].clone() for key in ("obs", "actions", "reward")}
    found.learner.train(batch, t_env=EPOCH, episode_num=10)
    assert all(torch.equal(batch[key], value) for key, value in before.items())


@pytest.fixture
def short(configure):
    """The configuration of a short run."""
    return lambda *words: configure("ipmd", "a_sis", *WORDS, *INTERVALS, *words)


OTHERS = {"n_agents": "its n_agents is 30, this run's is 17", "horizon": "its horizon is 4, this run's is 17"}


@pytest.mark.parametrize(("key", "reason"), OTHERS.items())
def test_a_checkpoint_of_other_agents_is_refused(pieces, tmp_path, key, reason):
    pieces().learner.save_models(str(tmp_path))
    with pytest.raises(UserError, match=f"checkpoint_path={tmp_path}: {reason}") as caught:
        pieces(f"env_args.{key}=17").learner.load_models(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_load_gives_the_mean_policy_and_each_agent_s_own(short, pieces):
    result = run.train(short(f"t_max={3 * EPOCH}"))
    checkpoint = mf_pmd.load(result.checkpoint)
    learner = pieces().learner
    learner.load_models(str(result.checkpoint))
    assert checkpoint.policy is checkpoint.policies["tail"]
    for name, policy in checkpoint.policies.items():
        scored = learner.mac.scored_policies()[name]
        assert torch.equal(policy.table, torch.stack([scored(h, torch.ones(2) / 2) for h in range(H)]))
        assert torch.equal(policy.private_tables, learner.mac.history.mean(name))
        assert policy.private_tables.shape == (N, H, 2, 2)
        assert torch.allclose(policy.private_tables.mean(0), policy.table, atol=1e-6)
    assert torch.equal(
        checkpoint.policy(1, torch.ones(2) / 2), tabular_policy(checkpoint.policy.table)(1, None)
    )


class Calls(TorchFunctionMode):
    """Counts calls of torch and remembers the largest tensor that one of them returned."""

    def __init__(self):
        super().__init__()
        self.count = self.largest = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.count += 1
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def test_nothing_loops_over_agents_and_nothing_is_n_by_n(build):
    seen = {}
    for n_agents in (100, 1000):
        found = build("ipmd", "a_sis", f"env_args.n_agents={n_agents}", "env_args.horizon=4")
        with Calls() as seen[n_agents]:
            found.learner.train(found.runner.run(test_mode=False), t_env=EPOCH, episode_num=10)
    assert seen[1000].count == seen[100].count > 100
    assert seen[1000].largest <= 10 * seen[100].largest
