"""The population runner: what it writes, what it draws, what it scores; on a game made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mf_pmd import games
from mf_pmd.errors import UserError
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.games.base import PopulationGame, Step, look_up
from mf_pmd.games.constants import SymmetryConstants
from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.host.components.transforms import OneHot
from mf_pmd.host.controllers import REGISTRY as HOST_CONTROLLERS
from mf_pmd.host.utils.random_states import seed_everything
from mf_pmd.runners import PopulationRunner
from mf_pmd.runners.deviations import MOST_ENTRIES, DeviationScore
from mf_pmd.runners.scoring import TestScore, judged_one_by_one


class Carousel(PopulationGame):
    """Three seats; agent i sits at i mod 3, moves by its action, and is paid (1 + i) s / 100."""

    def __init__(self, *, n_agents, horizon, device="cpu", seed=0):
        super().__init__(
            n_agents=n_agents,
            n_states=3,
            n_actions=2,
            horizon=horizon,
            initial_law=torch.tensor([0.5, 0.5, 0.0]),
            constants=SymmetryConstants(0.0, 0.0, 0.0, 0.0, 1.0),
            device=device,
            seed=seed,
        )

    def reset(self, batch_size):
        return (torch.arange(self.n_agents) % 3).repeat(batch_size, 1)

    def sample_step(self, states, actions, others):
        rewards = states * (1.0 + torch.arange(self.n_agents)) / 100
        return Step((states + actions) % 3, rewards)

    def transition_table(self, mu, personal):
        table = torch.zeros(3, 2, 3, dtype=mu.dtype)
        for s in range(3):
            for a in range(2):
                table[s, a, (s + a) % 3] = 1.0
        return table

    def reward_table(self, mu, personal):
        return torch.arange(3, dtype=mu.dtype).unsqueeze(1).expand(3, 2) / 100


class Scripted:
    """A controller whose actions are a function of (t, states)."""

    def __init__(self, script):
        self.script = script
        self.action_selector = SimpleNamespace()
        self.calls = []

    def init_hidden(self, batch_size):
        self.calls.append(("init", batch_size))

    def select_actions(self, batch, t_ep, t_env, bs=slice(None), test_mode=False):
        self.calls.append((t_ep, t_env, test_mode))
        view = batch["obs"][bs, t_ep]
        states = (
            view[..., 0].long() if view.shape[-1] == 1 else view[..., : (view.shape[-1] - 1) // 2].argmax(-1)
        )
        return self.script(t_ep, states)


@pytest.fixture
def make_runner(monkeypatch, configure, recording_logger):
    """A population runner with a controller, wired as a host does it."""
    monkeypatch.setitem(games.REGISTRY, "carousel", Carousel)

    def make(mac, *words, key="carousel", logger=None, **changes):
        config = configure("mf_pmd_tabular", "a_sis", "batch_size_run=2", "test_nepisode=4", *words)
        if key == "carousel":
            config["env_args"] = {"key": key, "n_agents": 5, "horizon": 4, "seed": 1}
        args = SimpleNamespace(**{**config, "device": "cpu", **changes})
        runner = PopulationRunner(args, logger or recording_logger, episode_batch=EpisodeBatch)
        info = runner.get_env_info()
        assert all(type(value) is int for value in info.values())
        scheme = {
            "state": {"vshape": info["state_shape"]},
            "obs": {"vshape": info["obs_shape"], "group": "agents"},
            "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
            "avail_actions": {"vshape": (info["n_actions"],), "group": "agents", "dtype": torch.int},
            "terminated": {"vshape": (1,), "dtype": torch.uint8},
            "reward": {"vshape": (1 if args.common_reward else info["n_agents"],)},
        }
        preprocess = {"actions": ("actions_onehot", [OneHot(out_dim=info["n_actions"])])}
        runner.setup(scheme, {"agents": info["n_agents"]}, preprocess, mac)
        return runner

    return make


def forward(t, states):
    """Everyone moves on, but agents at seat 1 when t is 1."""
    return torch.where((states == 1) & (t == 1), 0, 1)


# five agents on the carousel under `forward`, worked out by hand
SEATS = [[0, 1, 2, 0, 1], [1, 2, 0, 1, 2], [1, 0, 1, 1, 0], [2, 1, 2, 2, 1], [0, 2, 0, 0, 2]]
ACTIONS = [[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [1] * 5, [1] * 5]
REWARDS = [
    [0.0, 0.02, 0.06, 0.0, 0.05],
    [0.01, 0.04, 0.0, 0.04, 0.10],
    [0.01, 0.0, 0.03, 0.04, 0.0],
    [0.02, 0.02, 0.06, 0.08, 0.05],
]


@pytest.mark.parametrize("observation", ["index", "features"])
def test_the_batch_by_hand(make_runner, observation):
    mac = Scripted(forward)
    runner = make_runner(mac, observation=observation)
    batch = runner.run(test_mode=False)
    assert (batch.batch_size, batch.max_seq_length) == (2, 5)
    assert mac.calls == [("init", 2), *((t, 0, False) for t in range(4))]
    seats, reward = torch.tensor(SEATS), torch.tensor(REWARDS)
    population = torch.stack([(seats == k).float().mean(1) for k in range(3)], 1)
    for b in range(2):
        assert torch.allclose(batch["state"][b], population)
        assert batch["actions"][b, :4, :, 0].tolist() == ACTIONS
        assert torch.allclose(batch["reward"][b, :4], reward)
        assert batch["terminated"][b, :4, 0].tolist() == [0, 0, 0, 1]
        assert batch["filled"][b, :, 0].tolist() == [1] * 5
        assert batch["actions_onehot"][b, 1, 0].tolist() == [1, 0]
        assert (batch["avail_actions"][b] == 1).all()
        obs = batch["obs"][b]
        if observation == "index":
            assert obs[..., 0].tolist() == SEATS
        else:
            assert obs.shape == (5, 5, 7)
            assert obs[..., :3].argmax(-1).tolist() == SEATS
            assert torch.equal(obs[..., :3].sum(-1), torch.ones(5, 5))
            assert torch.allclose(obs[..., 3:6], population.unsqueeze(1).expand(5, 5, 3))
            assert torch.allclose(
                obs[..., 6], torch.tensor([0, 0.25, 0.5, 0.75, 1.0]).unsqueeze(1).expand(5, 5)
            )
    assert runner.t_env == 8
    assert batch["reward"].requires_grad is False


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_common_rewards(make_runner, recording_logger, how):
    runner = make_runner(Scripted(forward), common_reward=True, reward_scalarisation=how)
    batch = runner.run(test_mode=False)
    reward = torch.tensor(REWARDS)
    expected = reward.sum(1) if how == "sum" else reward.mean(1)
    assert batch["reward"].shape == (2, 5, 1)
    assert torch.allclose(batch["reward"][0, :4, 0], expected)
    assert recording_logger.last("return_mean") == pytest.approx(reward.sum().item() / 5)


def test_what_is_logged_by_hand(make_runner, recording_logger):
    runner = make_runner(Scripted(forward), runner_log_interval=16)
    for _ in range(5):
        runner.run(test_mode=False)
    mean = sum(map(sum, REWARDS)) / 5
    series = recording_logger.series
    assert series["return_mean"] == [
        (8, pytest.approx(mean)),
        (24, pytest.approx(mean)),
        (40, pytest.approx(mean)),
    ]
    assert series["total_return_mean"][0] == (8, pytest.approx(5 * mean))
    assert series["return_std"][0] == (8, pytest.approx(0, abs=1e-6))
    assert series["ep_length_mean"][0] == (8, 4.0)
    assert "epsilon" not in series
    assert not any("agent_0" in key for key in series)


def test_tests_are_scored_on_the_last_of_their_calls(make_runner, recording_logger):
    mac = Scripted(forward)
    runner = make_runner(mac)
    runner.run(test_mode=True)
    assert recording_logger.series == {}
    mac.script = lambda t, states: torch.zeros_like(states)
    runner.run(test_mode=True)
    assert runner.t_env == 0
    logged = dict(recording_logger.series)
    moving, sitting = sum(map(sum, REWARDS)), 4 * sum(s * (1 + i) / 100 for i, s in enumerate(SEATS[0]))
    assert logged["test_return_mean"] == [(0, pytest.approx((moving + sitting) / 10))]
    assert logged["test_return_std"] == [(0, pytest.approx(abs(moving - sitting) / 10))]
    runner.run(test_mode=True)
    assert recording_logger.series == logged
    runner.run(test_mode=True)
    assert [t for t, _ in recording_logger.series["test_return_mean"]] == [0, 0]
    assert recording_logger.last("test_return_mean") == pytest.approx(sitting / 5)  # and nothing older


def test_the_population_average_policy_and_the_share_visited(make_runner):
    runner = make_runner(Scripted(forward), test_nepisode=100)
    runner.run(test_mode=True)
    score = runner.score
    policy = torch.full((4, 3, 2), 0.5, dtype=torch.float64)
    seen = 0
    for t in range(4):
        for s in set(SEATS[t]):
            chosen = [a for a, seat in zip(ACTIONS[t], SEATS[t], strict=True) if seat == s]
            policy[t, s, 1] = sum(chosen) / len(chosen)
            policy[t, s, 0] = 1 - policy[t, s, 1]
            seen += 1
    assert torch.allclose(score.average_policy(), policy)
    assert score.visited_share() == pytest.approx(seen / 12)
    assert seen < 12
    flow = torch.stack([(torch.tensor(SEATS) == k).double().mean(1) for k in range(3)], 1)
    assert torch.allclose(score.population(), flow)


def test_actions_of_both_kinds_are_averaged():
    score = TestScore(Carousel(n_agents=4, horizon=1))
    score.add_actions(0, torch.tensor([[0, 0, 0, 1]]), torch.tensor([[1, 0, 0, 1]]))
    score.add_actions(0, torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 0, 0, 1]]))
    assert score.average_policy()[0].tolist() == [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]]
    assert score.visited_share() == pytest.approx(2 / 3)


@pytest.mark.parametrize("key", ["a_sis", "a_rps", "a_beach"])
def test_a_controller_of_known_exploitability(configure, make_runner, make_game, recording_logger, key):
    config = configure("mf_pmd_tabular", key)
    mac = Scripted(lambda t, states: torch.zeros_like(states))
    runner = make_runner(mac, key=key, env_args={**config["env_args"], "horizon": 6}, test_nepisode=2)
    runner.run(test_mode=True)
    game = make_game(key, horizon=6)
    table = torch.zeros(6, game.n_states, game.n_actions, dtype=torch.float64)
    table[..., 0] = 1.0
    assert runner.score.visited_share() == 0  # a new count has begun
    share = recording_logger.last("test_visited_share")
    if key != "a_rps":  # there, all are at state 0 from h = 1 on
        assert share == 1.0
    else:
        assert share == pytest.approx((3 + 5) / 18)
        table[1:, 1:] = 1 / 3
    exact = mean_field_exploitability(game.mean_field_model(), tabular_policy(table)).item()
    assert recording_logger.last("test_mean_field_exploitability") == pytest.approx(exact, abs=1e-9)
    assert exact > 0.1


def test_exact_scores_of_a_mean_field_controller(build, make_game):
    pieces = build(
        "mf_pmd_tabular", "a_sis", "env_args.n_agents=4000", "env_args.horizon=5", "test_nepisode=10"
    )
    mac, logger = pieces.learner.mac, pieces.learner.logger
    for seed in range(4):
        torch.manual_seed(seed)
        mac.agent.log_table.copy_(torch.log_softmax(torch.randn(5, 2, 2), -1))
        mac.record_iterate()
    pieces.runner.run(test_mode=True)
    model = make_game("a_sis", horizon=5).mean_field_model()
    for name in ("last", "average", "tail"):
        exact = mean_field_exploitability(model, tabular_policy(mac.history.mean(name).double())).item()
        assert logger.last(f"test_mean_field_exploitability_{name}") == pytest.approx(exact, abs=1e-6)
    # what was seen to play is the tail, up to the noise of 2e5 actions a step
    seen, tail = (logger.last(f"test_mean_field_exploitability{x}") for x in ("", "_tail"))
    assert seen == pytest.approx(tail, abs=0.02)
    assert seen != pytest.approx(tail, abs=1e-6)


class Wanderers(PopulationGame):
    """Nothing but a sampler: no tables."""

    def __init__(self, *, n_agents, horizon, population="others", device="cpu", seed=0):
        law = torch.tensor([0.5, 0.5])
        sizes = {"n_agents": n_agents, "horizon": horizon, "n_states": 2, "n_actions": 2}
        super().__init__(**sizes, initial_law=law, population=population, device=device, seed=seed)

    def sample_step(self, states, actions, others):
        return Step(actions, 1.0 - look_up(others[..., 1], states))


def test_a_game_without_tables_is_played_and_its_returns_are_told(build, monkeypatch, recording_logger):
    class Stranger(Wanderers):  # in the place of a_sis, whose settings it takes and does not read
        def __init__(self, *, n_agents, horizon, eps, eps_beta, eps_recovery, population, device, seed):
            super().__init__(n_agents=6, horizon=3, device=device, seed=seed)

    monkeypatch.setitem(games.REGISTRY, "a_sis", Stranger)
    pieces = build("mf_pmd_tabular", "a_sis", "test_nepisode=10", logger=recording_logger)
    pieces.runner.run(test_mode=True)
    pieces.learner.train(pieces.runner.run(test_mode=False), t_env=0, episode_num=0)
    assert "test_return_mean" in recording_logger.series
    assert "test_visited_share" in recording_logger.series
    assert not any("exploitability" in key for key in recording_logger.series)
    assert pieces.runner.args.population_info["model"] is None


@pytest.mark.parametrize("action", [-1, 2])
def test_an_action_that_the_game_does_not_have_is_refused(make_runner, action):
    runner = make_runner(Scripted(lambda t, states: torch.full_like(states, action)))
    with pytest.raises(UserError, match=f"chose action {action}: the game has actions 0 to 1"):
        runner.run(test_mode=True)


def test_a_policy_that_is_none_is_refused(make_runner):
    mac = Scripted(forward)
    half = torch.full((4, 3, 2), 0.5)
    half[2, 1, 0] = float("nan")
    mac.scored_policies = lambda: {"last": tabular_policy(half)}
    runner = make_runner(mac)
    runner.run(test_mode=True)
    with pytest.raises(UserError, match=r"Scripted tells of its policies .* the policy at step 2 holds NaN"):
        runner.run(test_mode=True)


@pytest.mark.parametrize(
    ("declared", "settings", "alone"),
    [
        (True, {"obs_agent_id": True, "agent": "rnn"}, False),
        (False, {"obs_agent_id": False, "agent": "rnn"}, True),
        (None, {"obs_agent_id": False, "agent": "rnn"}, False),
        (None, {"obs_agent_id": True, "agent": "rnn"}, True),
        (None, {"obs_agent_id": False, "agent": "rnn_ns"}, True),
    ],
)
def test_who_is_judged_one_by_one(declared, settings, alone):
    mac = SimpleNamespace() if declared is None else SimpleNamespace(shares_policy=declared)
    assert judged_one_by_one(mac, SimpleNamespace(**settings)) is alone


def test_a_weak_deviator_is_said_once(make_runner, recording_logger, configure):
    env_args = {**configure("mf_pmd_tabular", "a_rps")["env_args"], "n_agents": 4}
    words = []
    recording_logger.console_logger = SimpleNamespace(warning=lambda *line: words.append(line[0] % line[1:]))
    torch.manual_seed(0)
    mac = Scripted(lambda t, states: torch.randint(3, states.shape))
    runner = make_runner(mac, key="a_rps", env_args=env_args)
    for _ in range(4):
        runner.run(test_mode=True)
    assert recording_logger.last("test_exploitability_too_weak") == 1.0
    assert len(words) == 1
    assert "deviator too weak at t_env 0" in words[0]
    assert "test_nepisode" in words[0]


def test_the_yardstick_is_logged_once(make_runner, recording_logger, make_game, configure):
    env_args = configure("mf_pmd_tabular", "a_sis")["env_args"]
    runner = make_runner(Scripted(lambda t, s: torch.zeros_like(s)), key="a_sis", env_args=env_args)
    for _ in range(4):
        runner.run(test_mode=True)
    assert recording_logger.series["uniform_mean_field_exploitability"] == [
        (0, pytest.approx(1.495, abs=1e-3))
    ]


def batches_of(runner, plan):
    seed_everything(3)
    kept = []
    for test in plan:
        batch = runner.run(test_mode=test)
        if not test:
            kept.append([batch[key].clone() for key in ("state", "obs", "actions", "reward")])
    return kept, torch.get_rng_state(), runner.game.generator.get_state()


def test_tests_do_not_change_training(build):
    words = ["env_args.n_agents=40", "env_args.horizon=5"]
    quiet, *states = batches_of(build("mf_pmd_tabular", "a_sis", *words).runner, [False] * 3)
    plan = [True, False, True, True, False, True, False, True]
    tested, *states_tested = batches_of(build("mf_pmd_tabular", "a_sis", *words).runner, plan)
    assert len(quiet) == len(tested) == 3
    for one, two in zip(quiet, tested, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(states, states_tested, strict=True))
    assert not torch.equal(quiet[0][2], quiet[1][2])  # and epochs differ


def test_test_episodes_differ_from_each_other_but_not_between_runs(build):
    words = ["env_args.n_agents=40", "env_args.horizon=5", "test_nepisode=20"]
    runs = []
    for _ in range(2):
        runner = build("mf_pmd_tabular", "a_sis", *words).runner
        torch.manual_seed(len(runs))  # the global stream has no say in tests
        runs.append([runner.run(test_mode=True)["actions"].clone() for _ in range(2)])
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[0][1])


def test_state_dict_goes_on_as_if_not_stopped(make_runner):
    words = ["env_args.n_agents=20", "env_args.horizon=3"]
    script = lambda t, states: states  # noqa: E731
    whole = make_runner(Scripted(script), *words, key="a_sis")
    whole.run(test_mode=False)
    whole.run(test_mode=True)
    whole.run(test_mode=True)
    saved = whole.state_dict()
    expected = whole.run(test_mode=False)["reward"]
    resumed = make_runner(Scripted(script), *words, key="a_sis")
    resumed.load_state_dict(saved)
    assert torch.equal(resumed.run(test_mode=False)["reward"], expected)
    assert resumed.t_env == whole.t_env == 12
    assert np.array_equal(resumed.artifacts()["population_first"], whole.artifacts()["population_first"])


def test_artifacts_are_the_first_and_the_last_population(make_runner):
    mac = Scripted(forward)
    runner = make_runner(mac)
    assert runner.artifacts() == {}
    for script in (forward, lambda t, states: torch.zeros_like(states)):
        mac.script = script
        runner.run(test_mode=True)
        runner.run(test_mode=True)
    kept = runner.artifacts()
    flow = np.stack([(np.array(SEATS) == k).mean(1) for k in range(3)], 1)
    assert np.allclose(kept["population_first"], flow)
    assert np.allclose(kept["population_last"], flow[0])
    assert kept["policy_last"].shape[2] > 1
    assert np.array_equal(kept["policy_last"][:, :, 0], np.ones((4, 3)))  # now they all sit still


def test_artifacts_have_the_map_and_the_names_of_a_game_that_has_them(make_runner):
    runner = make_runner(Scripted(forward))
    runner.game.map_shape, runner.game.map_regions = (1, 3), ((0, 0, 1),)
    runner.game.action_names = tuple("ABC"[: runner.game.n_actions])
    for _ in range(2):
        runner.run(test_mode=True)
    kept = runner.artifacts()
    for name in ("first", "last"):
        assert np.array_equal(kept[f"map_{name}"][:, 0], kept[f"population_{name}"])
    assert kept["map_regions"].tolist() == [[0, 0, 1]]
    assert kept["action_names"].tolist() == list(runner.game.action_names)
    assert "state_names" not in kept


def test_on_close_is_told(make_runner):
    runner = make_runner(Scripted(forward))
    runner.close_env()
    closed = []
    runner.on_close = closed.append
    runner.close_env()
    assert closed == [runner]
    runner.save_replay()


def test_the_host_s_own_controller_plays_features(make_runner, recording_logger):
    settings = {
        "agent": "rnn",
        "hidden_dim": 8,
        "use_rnn": True,
        "action_selector": "multinomial",
        "agent_output_type": "pi_logits",
        "mask_before_softmax": True,
        "obs_agent_id": True,
        "obs_last_action": True,
        "observation": "features",
        "epsilon_start": 1.0,
        "epsilon_finish": 0.0,
        "epsilon_anneal_time": 16,
        "test_greedy": True,
        "n_agents": 5,
        "n_actions": 2,
    }
    torch.manual_seed(0)
    scheme = {"obs": {"vshape": 7}, "actions_onehot": {"vshape": (2,)}}
    mac = HOST_CONTROLLERS["basic_mac"](scheme, {"agents": 5}, SimpleNamespace(**settings))
    runner = make_runner(mac, **settings)
    batch = runner.run(test_mode=False)
    assert set(batch["actions"][:, :4].unique().tolist()) <= {0, 1}
    for _ in range(2):
        runner.run(test_mode=True)
    assert recording_logger.last("test_mean_field_exploitability") >= 0
    assert "test_mean_field_exploitability_tail" not in recording_logger.series
    assert recording_logger.last("epsilon") == 1.0
    assert batch["reward"].grad_fn is None


def test_a_missing_key_is_refused(make_runner):
    with pytest.raises(UserError, match=r"env_args.key: missing"):
        make_runner(Scripted(forward), env_args={"n_agents": 3})
    with pytest.raises(UserError, match=r"observation=pixels"):
        make_runner(Scripted(forward), observation="pixels")


def test_a_batch_that_no_memory_holds_is_refused(make_runner):
    with pytest.raises(UserError, match=r"env_args.n_agents=90000000, .*GiB.*lower one of them"):
        make_runner(Scripted(forward), "env_args.n_agents=90000000", key="a_sis")


def test_restored_returns_live_where_the_game_does(make_runner):
    runner = make_runner(Scripted(forward))
    state = runner.state_dict() | {"train_returns": [torch.ones(2)]}
    runner.load_state_dict(state)
    assert all(returns.device == runner.game.device for returns in runner.train_returns)


def test_a_score_of_too_many_tables_is_skipped_in_one_line(build, monkeypatch, caplog):
    monkeypatch.setattr("mf_pmd.runners.scoring.MOST_ENTRIES", 1000)
    with caplog.at_level("WARNING"):
        runner = build("mf_pmd_tabular", "a_sis", "env_args.n_agents=10", "test_nepisode=10").runner
    (line,) = [
        record.getMessage() for record in caplog.records if "test_exploitability_*" in record.getMessage()
    ]
    assert "is skipped: with test_nepisode=10" in line
    runner.run(test_mode=True)
    assert "test_mean_field_exploitability" in runner.logger.series
    assert "test_exploitability_mean" not in runner.logger.series


def test_the_entries_of_a_score_are_counted_as_they_are_made(make_game):
    sis = DeviationScore(make_game("a_sis", n_agents=1000), n_episodes=40)
    # 40 episodes of 20 steps, two types, twice: 4 rewards, 4 x 2 entries of laws at 1 + 4 populations
    assert sis.entries(40) == 2 * 40 * 20 * 2 * (4 + 8 * 5)
    assert sis.entries(40) < MOST_ENTRIES
