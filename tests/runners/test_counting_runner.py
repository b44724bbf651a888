"""The counting runner in the embedded host: what it offers, what it logs, how it resumes, what it refuses."""

import json
import statistics
from pathlib import Path
from types import SimpleNamespace

import pytest
import scipy.stats
import torch

from mf_pmd import games, register, runners
from mf_pmd.errors import UserError
from mf_pmd.functional.distributions import count_values
from mf_pmd.games.game import for_counting
from mf_pmd.host import run
from mf_pmd.runners.deviations import DeviationScore
from mf_pmd.runners.played_cells import MOST_TYPES, PlayedCells

CONFIG = Path(games.__file__).parents[1] / "config" / "envs"
COUNTS = "runner=counts"
SHORT = (
    "env_args.horizon=4",
    *(f"{key}=40" for key in ("test_interval", "save_model_interval", "log_interval")),
    *(f"{key}=40" for key in ("runner_log_interval", "learner_log_interval")),
)

OWN_GAMES = """
import torch
from mf_pmd.games import PopulationGame, Step, TableGame

class Alike(TableGame):
    def __init__(self, *, n_agents, horizon, kinds=1, personal=None, device="cpu", seed=0):
        if kinds > 1:
            personal = torch.arange(n_agents) % kinds / kinds
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=horizon,
                         initial_law=torch.tensor([0.5, 0.5]), personal=personal, device=device, seed=seed)

    def transition_table(self, mu, personal):
        batch = torch.broadcast_shapes(mu.shape[:-2], personal.shape)
        return torch.full((2, 2, 2), 0.5, dtype=mu.dtype).expand(*batch, 2, 2, 2)

    def reward_table(self, mu, personal):
        batch = torch.broadcast_shapes(mu.shape[:-2], personal.shape)
        return torch.full((2, 2), 0.5, dtype=mu.dtype).expand(*batch, 2, 2)

class Seated(Alike):
    def reset(self, batch_size):
        return (torch.arange(self.n_agents) % 2).repeat(batch_size, 1)

class Neighbours(Alike):
    def step(self, states, actions, h=0):
        return Step(states.roll(1, 1), torch.full(states.shape, 0.5))

class Untold(PopulationGame):
    def __init__(self, *, n_agents, horizon, device="cpu", seed=0):
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=horizon,
                         initial_law=torch.tensor([0.5, 0.5]), device=device, seed=seed)

    def sample_step(self, states, actions, others):
        return Step(actions, torch.zeros(states.shape))
"""


@pytest.fixture(scope="module")
def own_games(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "counted_games.py"
    file.write_text(OWN_GAMES)
    return file


@pytest.mark.parametrize("alg", ["mf_pmd_tabular", "mf_pmd", "mf_ac", "mf_q", "munchausen_omd", "omd"])
def test_every_learner_of_cells_learns_from_counts(build, alg):
    pieces = build(alg, "a_rps", COUNTS, "env_args.n_agents=1000000001", "env_args.horizon=3")
    batch = pieces.runner.run()
    counted = batch.statistics
    assert counted.visits.dtype == torch.float64
    assert torch.equal(counted.visits.sum((2, 3)), torch.full((10, 3), 1e9 + 1, dtype=torch.float64))
    pieces.learner.train(batch, pieces.runner.t_env, 0)
    assert pieces.learner.epoch == 1
    assert pieces.runner.t_env == 30
    if hasattr(pieces.learner, "count"):
        learnt_from = pieces.learner.count(batch)
        assert learnt_from.visits.dtype == torch.float32
        torch.testing.assert_close(learnt_from.visits.double(), counted.visits, rtol=1e-6, atol=0)
        pairs = pieces.learner.counts_next_cells(pieces.args)
        assert (learnt_from.next_cell is not None) == pairs
        if pairs:
            told = counted.over_all_states()
            assert torch.equal(told.next_cell[:, 0].sum(-1), told.next_state[:, 0])


@pytest.mark.parametrize(("alg", "words"), [("mf_pmd_tabular", ["td_target=sarsa"]), ("mf_q", [])])
def test_batches_have_the_law_of_followed_ones(build, alg, words):
    sizes = ["env_args.n_agents=21", "env_args.horizon=4", "batch_size_run=200", "batch_size=200"]
    words = [*words, *sizes, "buffer_size=200"]
    found = []
    for runner in ("counts", "population"):
        pieces = build(alg, "a_rps", f"runner={runner}", *words)
        random = torch.Generator().manual_seed(3)
        for parameter in pieces.learner.mac.parameters():  # no policy is uniform, nor sure
            with torch.no_grad():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=random))
        found.append(pieces.learner.count(pieces.runner.run()))
    for name in ("visits", "next_cell", "reward_sum"):
        ours, theirs = (getattr(x, name)[:, 2].flatten(1) for x in found)
        error = (ours.var(0) / len(ours) + theirs.var(0) / len(theirs)).sqrt()
        off = (ours.mean(0) - theirs.mean(0)).abs() / error.clamp(min=1e-9)
        assert off[error > 1e-6].max() < 4.5, name
        widest = ours.var(0).argmax()
        pair = [x[:, widest].round(decimals=4).numpy() for x in (ours, theirs)]  # ties stay ties
        assert scipy.stats.ks_2samp(*pair, method="asymp").pvalue > 1e-4, name


def test_it_logs_what_the_population_runner_logs(build):
    words = [*SHORT, "population.played=always", "test_nepisode=10"]
    series = {}
    for runner in ("counts", "population"):
        pieces = build("mf_pmd_tabular", "a_sis", f"runner={runner}", "env_args.n_agents=1001", *words)
        pieces.runner.run(test_mode=True)
        for _ in range(2):
            pieces.runner.run()
        series[runner] = pieces.logger.series
        arrays = pieces.runner.artifacts()
        assert arrays["population_last"].shape == (5, 2)
        assert arrays["policy_last"].shape == (4, 2, 2)
    assert set(series["counts"]) == set(series["population"])
    last = {runner: {key: values[-1][1] for key, values in found.items()} for runner, found in series.items()}
    for key in ("return_mean", "test_return_mean", "test_exploitability_mean"):
        assert last["counts"][key] == pytest.approx(last["population"][key], abs=0.05), key
    assert last["counts"]["total_return_mean"] == pytest.approx(1001 * last["counts"]["return_mean"])
    assert last["counts"]["test_ep_length_mean"] == 4


def test_the_score_of_counts_is_that_of_agents(build, make_game):
    # everyone plays alike in both; the estimate from reference agents is that from all agents
    found = {}
    for runner in ("counts", "population"):
        words = ["env_args.n_agents=401", "env_args.horizon=6", "env_args.eps=0.2", "env_args.eps_beta=0.6"]
        batch = [
            "test_nepisode=200",
            *(f"{key}=200" for key in ("batch_size_run", "batch_size", "buffer_size")),
        ]
        pieces = build(
            "mf_pmd_tabular", "a_sis", f"runner={runner}", *words, *batch, "population.played=never"
        )
        pieces.runner.run(test_mode=True)
        found[runner] = {key: values[-1][1] for key, values in pieces.logger.series.items()}
    for name in ("mean", "max"):
        key = f"test_exploitability_{name}"
        lower, upper = (
            max(f[f"{key}_lower"] for f in found.values()),
            min(f[f"{key}_upper"] for f in found.values()),
        )
        assert lower <= upper, (name, found)
        assert found["counts"][key] == pytest.approx(found["population"][key], rel=0.02)


def test_returns_are_means_over_unequal_types(build):
    pieces = build(
        "mf_pmd_tabular", "a_sis", COUNTS, "env_args.n_agents=5", "env_args.horizon=2", "test_nepisode=10"
    )
    assert pieces.runner.game.type_sizes.tolist() == [2, 1, 2]
    assert pieces.runner.game.personal.tolist() == [-1, 0, 1]
    counted = pieces.runner._count_episodes(torch.zeros(10, 0, dtype=torch.int64), test_mode=False)
    total = counted.statistics.reward_sum.sum((1, 2, 3))
    torch.testing.assert_close((counted.returns * torch.tensor([2.0, 1.0, 2.0])).sum(1), total)


def test_counts_beyond_32_bits_are_kept(make_game):
    with for_counting():
        game = make_game("a_sis", n_agents=10**12, horizon=1)
    played = PlayedCells(game, individual=False, n_episodes=4)
    counts = torch.tensor([[[1e11, 4e11, 0, 0], [0, 0, 5e11, 0]]], dtype=torch.float64).expand(4, -1, -1)
    references = torch.tensor([[0, 2]]).expand(4, -1)
    assert played.add_counts(0, counts, references)[0].flatten().tolist() == [1e11, 4e11, 5e11, 0]
    assert played.counts()[0, 0, 0].tolist() == [10**11, 4 * 10**11, 0, 0]
    met = played.others(torch.arange(4), played.references())[0, 0, 0].flatten()
    exact = torch.tensor([1e11 - 1, 4e11, 5e11, 0], dtype=torch.float64) / (1e12 - 1)
    assert torch.equal(met, exact)
    assert played.members(1).shape == (1, 5 * 10**11)


def test_the_score_takes_a_counted_game_as_it_takes_agents(make_game, random_policy):
    # one play of 60 agents, told to both scores: the same brackets but for whom the flows are of
    game = make_game("a_sis", n_agents=60, horizon=3, eps=0.2, eps_beta=0.6)
    with for_counting():
        counted = make_game("a_sis", n_agents=60, horizon=3, eps=0.2, eps_beta=0.6)
    torch.manual_seed(1)
    policy, episodes = random_policy(5, 3, 2, 2), 300
    by_agents = DeviationScore(game, n_episodes=episodes * 10**6)  # too many for flows of their own
    by_counts = DeviationScore(counted, n_episodes=episodes)
    who = by_agents.played.draw_references(episodes)  # [B, 2]: types of u = -1 and 1
    by_agents.played.draw_references = lambda batch_size: who
    type_of = by_agents.played.type_of
    states, returns = game.reset(episodes), torch.zeros(episodes, 60, dtype=torch.float64)
    for h in range(3):
        actions = torch.multinomial(policy[h, states].flatten(0, 1), 1).reshape(states.shape)
        by_agents.add_actions(h, states, actions)
        cells = states * 2 + actions
        counts = count_values(type_of * 4 + cells, 8).double().unflatten(1, (2, 4))
        by_counts.add_counts(h, counts, cells.gather(1, who))
        states, rewards = game.step_at(h, states, actions)
        returns += rewards
    by_agents.add_returns(returns)
    by_counts.add_returns(torch.stack([returns[:, type_of == g].mean(1) for g in range(2)], 1))
    assert not by_agents.played.keeps_cells
    ours, theirs = by_counts.scores(), by_agents.scores()
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, abs=1e-9), key


def test_resuming_equals_not_stopping_bit_for_bit(configure, checkpoint_entries):
    def short(*words):
        return configure(
            "mf_pmd_tabular", "a_sis", COUNTS, "env_args.n_agents=1000001", *SHORT, "test_nepisode=10", *words
        )

    whole = run.train(short("t_max=160"))
    first = run.train(short("t_max=80"))
    second = run.train(short("t_max=160", f"checkpoint_path={first.models_dir}"))
    assert (first.t_env, second.t_env) == (80, whole.t_env)
    expected, reached = checkpoint_entries(whole.checkpoint), checkpoint_entries(second.checkpoint)
    assert expected.keys() == reached.keys()
    for key, value in expected.items():
        same = torch.equal(value, reached[key]) if torch.is_tensor(value) else value == reached[key]
        assert same, key
    logged = [json.loads((r.results_dir / "metrics.json").read_text()) for r in (whole, second)]
    for key in ("return_mean", "test_exploitability_mean", "test_mean_field_exploitability"):
        tail = [v for t, v in zip(logged[0][key]["steps"], logged[0][key]["values"], strict=True) if t > 80]
        again = [v for t, v in zip(logged[1][key]["steps"], logged[1][key]["values"], strict=True) if t > 80]
        assert tail == again, key
        assert tail, key


def test_tests_change_no_training(build):
    after = []
    for tests in (0, 3):
        pieces = build("mf_pmd_tabular", "a_sis", COUNTS, *SHORT, "test_nepisode=10")
        for _ in range(tests):
            pieces.runner.run(test_mode=True)
        after.append(pieces.runner.run().statistics.visits)
    assert torch.equal(*after)


def test_what_was_learnt_from_counts_is_played_by_agents(configure):
    first = run.train(configure("mf_pmd_tabular", "a_sis", COUNTS, *SHORT, "t_max=80", "test_nepisode=10"))
    words = [
        f"checkpoint_path={first.checkpoint}",
        "evaluate=True",
        "env_args.n_agents=200",
        "test_nepisode=10",
    ]
    for runner in ("population", "counts"):
        again = run.train(configure("mf_pmd_tabular", "a_sis", f"runner={runner}", *SHORT, *words))
        metrics = json.loads((again.results_dir / "metrics.json").read_text())
        assert metrics["test_return_mean"]["values"]


REFUSED = {
    "too many agents": (
        "mf_pmd_tabular",
        "a_sis",
        ["env_args.n_agents=1000000000001"],
        "exact to 1,000,000,000,000",
    ),
    "too few": ("mf_pmd_tabular", "a_sis", ["env_args.n_agents=1"], "at least 2 agents"),
    "packed": ("mf_ppo", "a_taxi", [], "packed, too many to be counted"),
    "random rewards": ("mf_pmd_tabular", "taxi_lite", [], "rewards are drawn agent by agent"),
    "own tables": ("ipmd", "a_sis", ["env_args.n_agents=1000000000"], "policies of their own"),
    "a network each": ("mf_ppo_ind", "a_sis", ["env_args.n_agents=1000000000"], "none of .local state"),
    "observations": ("mf_pmd", "a_sis", ["agent=deep_set_network"], "none of .local state"),
    "host's": (
        "ippo",
        "a_sis",
        ["env_args.n_agents=1000000000", "obs_agent_id=True"],
        "none of .local state",
    ),
    "host's q": ("iql", "a_sis", ["env_args.n_agents=1000000000"], "none of .local state"),
    "one agent": ("mf_pmd_tabular", "a_sis", ["td_agents=one"], "td_agents=one"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_counted_is_refused_in_a_line(build, name):
    alg, env, words, said = REFUSED[name]
    with pytest.raises(UserError, match=said) as refusal:
        build(alg, env, COUNTS, *words)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("game", "said"),
    [
        ("Seated", "its reset is its own"),
        ("Neighbours", "its step is its own"),
        ("Untold", "it gives no tables"),
    ],
)
def test_a_game_of_one_s_own_is_refused_naming_why(own_games, game, said):
    key = f"{own_games}:{game}"
    with pytest.raises(UserError, match=said) as refusal:
        games.require_countable(games.find_game(key)(n_agents=6, horizon=2), key)
    assert "\n" not in str(refusal.value)
    assert "runner=population" in str(refusal.value)


def test_a_game_of_one_s_own_is_counted(own_games, build):
    made = games.make_counted(f"{own_games}:Alike", n_agents=10**12, horizon=2, kinds=1)
    assert made.type_sizes.tolist() == [5e11, 5e11]
    few = games.make_counted(f"{own_games}:Alike", n_agents=101, horizon=2, kinds=3)
    assert few.type_sizes.tolist() == [34, 34, 33]
    with pytest.raises(UserError, match="made for counting"):
        made.reset(2)
    words = [COUNTS, f"env_args.key={own_games}:Alike", "env_args.n_agents=1000"]
    yaml = own_games.with_name("alike.yaml")
    text = (CONFIG / "a_sis.yaml").read_text().splitlines()
    kept = [line for line in text if not line.lstrip().startswith(("eps", "population: others"))]
    yaml.write_text("\n".join(kept).replace("  horizon: 20", f"  horizon: 2\n  kinds: {MOST_TYPES + 1}"))
    with pytest.raises(UserError, match=f"{MOST_TYPES + 1} types"):
        build("mf_pmd_tabular", str(yaml.with_suffix("")), *words)


@pytest.mark.parametrize("population", ["others", "all"])
def test_what_counted_beaches_declare_of_their_tables_is_true(make_game, population):
    with for_counting():
        counted = make_game("a_beach", n_agents=101, population=population)
        plain = make_game("a_beach", n_agents=101, population=population)
    assert counted.fixed_transition
    assert counted.local_reward
    plain.fixed_transition = plain.local_reward = False
    step, types = torch.tensor(0), counted.personal.double()
    counts = torch.bincount(torch.randint(30, (101,)), minlength=30).double().reshape(1, 1, 30)
    held = counts[0, 0] > 0
    for ours, theirs in (
        (counted.own_laws(counts, types, step), plain.own_laws(counts, types, step)),
        (counted.own_rewards(counts, types, step), plain.own_rewards(counts, types, step)),
    ):
        torch.testing.assert_close(ours[:, :, held], theirs[:, :, held], atol=1e-13, rtol=0)


def test_a_batch_of_counts_says_that_nobody_was_followed(build):
    batch = build("mf_pmd_tabular", "a_sis", COUNTS, *SHORT).runner.run()
    with pytest.raises(UserError, match="runner=counts: 'obs' was asked"):
        batch["obs"]


def test_another_host_refuses_it_in_a_line():
    registries = {name: {} for name in ("learners", "controllers", "agents", "critics", "runners", "envs")}
    host = register.HostAPI(**registries, EpisodeBatch=object, embedded=False)
    register.register(host)
    register.register(host)
    with pytest.raises(UserError, match="runner=counts: runs under the embedded host alone") as refusal:
        host.runners["counts"](args=SimpleNamespace(), logger=None)
    assert "\n" not in str(refusal.value)
    assert host.runners["population"].func is runners.PopulationRunner


@pytest.mark.slow
def test_learning_from_counts_reaches_what_learning_from_agents_reaches(configure, capsys):
    key, found = "test_mean_field_exploitability_tail", {}
    for runner in ("counts", "population"):
        finals = []
        for seed in range(1, 6):
            config = configure(
                "mf_pmd_tabular", "a_sis", f"runner={runner}", f"seed={seed}", "save_model=False"
            )
            metrics = json.loads((run.train(config).results_dir / "metrics.json").read_text())
            finals.append(metrics[key]["values"][-1])
        found[runner] = finals
    with capsys.disabled():
        print("\n" + "; ".join(f"{name}: {[round(x, 4) for x in each]}" for name, each in found.items()))
    spread = max(statistics.stdev(each) for each in found.values())
    means = [statistics.mean(each) for each in found.values()]
    assert abs(means[0] - means[1]) < 3 * spread * (2 / 5) ** 0.5
    assert max(found["counts"]) <= 0.13  # what test_learn_to_threshold asks of the population runner


def test_a_table_that_reaches_few_states_is_not_taken_for_a_full_one(build):
    pytest.importorskip("mfglib")
    words = [f"{key}=48" for key in ("batch_size_run", "batch_size", "buffer_size")]
    words += ["env_args.key=building_evacuation", "env_args.n_agents=1000", "population.played=never"]
    counted = build("mf_pmd_tabular", "mfglib", COUNTS, *words)  # moves are sure
    assert counted.args.population_info["reach"] == 1
    assert counted.learner.count(counted.runner.run()).next_state.shape[-1] == 1
    with pytest.raises(UserError, match="counts of transitions"):
        build("mf_pmd_tabular", "mfglib", "runner=population", *words)


@pytest.mark.parametrize(("alg", "words"), [("mf_pmd_tabular", []), ("mf_pmd", []), ("omd", [])])
def test_the_table_of_counts_is_the_policy_of_counts_at_every_step(build, alg, words):
    pieces = build(alg, "a_sis", "runner=counts", *words)
    batch = pieces.runner.run(test_mode=False)
    pieces.learner.train(batch, pieces.runner.t_env, 0)
    mac, nowhere = pieces.learner.mac, torch.full((1, 2), 0.5)
    for test_mode in (False, True):
        table = mac.table_of_counts(test_mode=test_mode)
        for h, rows in enumerate(table):
            assert torch.equal(rows, mac.policy_of_counts(h, nowhere, None, test_mode=test_mode)[0, 0])
