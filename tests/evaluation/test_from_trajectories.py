"""Symmetry of the games from their trajectories: covered, without tables, and refused where it must be."""

import sys
from pathlib import Path

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.evaluation.symmetry.from_trajectories import (
    Trajectories,
    known_types,
    measure,
    play,
    play_and_measure,
)
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.games import PopulationGame, Step

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
EVEN = {"eps": 0.0, "eps_beta": 0.0}


@pytest.fixture
def coverage(monkeypatch):
    """benchmarks/symmetry_coverage.py as its script imports it."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import symmetry_coverage

    yield symmetry_coverage
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


def mixed(random_policy, game, seed=0):
    return tabular_policy(random_policy(seed, game.horizon, game.n_states, game.n_actions))


class Bare(PopulationGame):
    """No tables: agents of type +1 are paid .1 more and stay; the others move on with probability .5."""

    def __init__(self, *, n_agents, horizon, personal=None, pay=0.5, n_states=2):
        law = torch.full((n_states,), 1 / n_states)
        super().__init__(
            n_agents=n_agents,
            n_states=n_states,
            n_actions=2,
            horizon=horizon,
            initial_law=law,
            personal=personal,
        )
        self.pay = pay

    def sample_step(self, states, actions, others):
        moves = (self.uniforms(len(states)) < 0.5) & (self.personal < 0)
        rewards = self.pay + 0.05 * self.personal + 0.2 * others[..., 0].gather(1, states)
        return Step((states + moves) % self.n_states, rewards)


def test_a_game_without_tables_is_measured(random_policy):
    game = Bare(n_agents=20, horizon=6)
    found = play_and_measure(game, mixed(random_policy, game), n_episodes=40, seed=1)
    # P(s' != s) is 0 or .5: every agent is .25 away on either side; rewards are .05 away
    for largest in (found.alpha.largest_rms, found.alpha.largest_by_type):
        assert largest.lower <= 0.5 <= largest.upper
        assert largest.upper - largest.lower < 0.2
    for largest in (found.beta.largest_rms, found.beta.largest_by_type):
        assert largest.lower <= 0.05 <= largest.upper
        assert largest.upper - largest.lower < 1e-5
    assert 0.3 < found.alpha.at_least.value <= 0.5 <= found.alpha.at_most.value
    assert 0.04 < found.beta.at_least.value <= 0.05 <= found.beta.at_most.value
    assert found.types.tolist() == [-1, 1]
    assert found.seen.visits.sum() == 40 * 6 * 20


def test_symmetric_games_are_covered_by_zero(make_game, random_policy):
    for key, changes in (("a_sis", EVEN), ("a_rps", {"eps": 0.0}), ("a_beach", {**EVEN, "n_sites": 4})):
        game = make_game(key, n_agents=60, horizon=4, **changes)
        found = play_and_measure(game, mixed(random_policy, game), n_episodes=40, seed=2)
        for part in (found.alpha, found.beta):
            assert part.largest_rms.lower == 0
            assert part.largest_by_type.lower == 0
            assert part.at_least.value == 0
        assert found.beta.largest_rms.upper < 1e-6  # rewards have no noise


def test_the_same_seed_plays_the_same(make_game, random_policy):
    game = make_game("a_sis", n_agents=10, horizon=3)
    policy = mixed(random_policy, game)
    first, again, other = (play(game, policy, n_episodes=8, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.actions, other.actions)


def test_a_policy_is_played_as_it_is(make_game):
    game = make_game("a_sis", n_agents=300, horizon=2)

    def policy(h, nu):  # reads the step and the population; action 1 is not to be taken at step 1
        assert nu.shape == (2,)
        assert nu.sum().item() == pytest.approx(1)
        rows = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
        return rows if h == 0 and nu[1] > 0 else torch.tensor([[1.0, 0.0], [1.0, 0.0]])

    played = play(game, policy, n_episodes=40, seed=0)
    assert played.actions[:, 1].max() == 0
    for state, share in ((0, 0.75), (1, 0.5)):
        taken = played.actions[:, 0][played.states[:, 0] == state].double()
        assert abs(taken.mean().item() - share) < 4 * 0.5 / len(taken) ** 0.5
    assert played.states.shape == (40, 3, 300)


def test_actions_owe_nothing_to_the_game_s_own_draws(make_game):
    # were the two streams one, the action would be a function of the draw that put the agent where it is
    game = make_game("a_sis", n_agents=2000, horizon=1)
    played = play(game, lambda h, nu: torch.full((2, 2), 0.5), n_episodes=8, seed=3)
    start, action = played.states[:, 0].double().flatten(), played.actions[:, 0].double().flatten()
    assert torch.corrcoef(torch.stack([start, action]))[0, 1].abs() < 4 / 16_000**0.5


def test_time_dependent_kernels_are_told_the_step(random_policy):
    class Clock(Bare):
        time_dependent = True

        def step(self, states, actions, h=0):
            return Step((states + h) % 2, torch.full(states.shape, 0.1 * h))

    game = Clock(n_agents=4, horizon=3)
    played = play(game, mixed(random_policy, game), n_episodes=8, seed=0)
    assert played.rewards[0, :, 0].tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert torch.equal(played.states[:, 2], (played.states[:, 1] + 1) % 2)


def test_types_are_known_where_they_are_few():
    few = Bare(n_agents=20, horizon=2, personal=torch.arange(20) % 16)
    many = Bare(n_agents=20, horizon=2, personal=torch.arange(20) % 17)
    assert torch.equal(known_types(few), few.personal)
    assert known_types(many) is None


def test_arrays_of_others_are_measured():
    states, actions = torch.zeros(10, 3, 4).int(), torch.zeros(10, 2, 4).int()
    rewards = torch.full((10, 2, 4), 0.5)
    played = Trajectories(states.numpy(), actions.tolist(), rewards.numpy())
    found = measure(played, n_states=1, n_actions=1, types=[0, 0, 1, 1])
    assert found.beta.largest_by_type.lower == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_episodes": 7}, "7 episodes"),
        ({"n_episodes": 0}, "n_episodes=0"),
        ({"n_agents": 2}, "2 agents"),
        ({"pay": 1.5}, r"must lie in \[0, 1\]"),
        ({"pay": float("nan")}, "NaN"),
        ({"policy": torch.full((2, 2), 0.4)}, "sums to"),
        ({"policy": torch.full((2, 3), 1 / 3)}, r"rows \[2, 3\]: the game has \[2, 2\]"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings, message):
    settings = {"n_episodes": 8, "n_agents": 4, "pay": 0.5, "policy": torch.full((2, 2), 0.5), **settings}
    game = Bare(n_agents=settings["n_agents"], horizon=2, pay=settings["pay"])
    with pytest.raises(UserError, match=message):
        play_and_measure(game, lambda h, nu: settings["policy"], n_episodes=settings["n_episodes"], seed=0)


def test_the_benchmark_tells_what_it_counts(coverage, capsys):
    words = ["--games", "a_sis", "--repetitions", "2", "--n-agents", "30", "--episodes", "16"]
    assert coverage.main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| a_sis")]
    assert len(lines) == 8
    assert all("of 2" in line for line in lines[:4])


def test_the_benchmark_s_truth_is_that_of_loops(coverage, make_game, random_policy):
    # a_sis agent by agent: .81 eps u nu, paid .5 eps_beta u / D less for distancing
    game = make_game("a_sis", n_agents=6, horizon=3, eps=0.2)
    played = play(game, mixed(random_policy, game), n_episodes=8, seed=1)
    truth = coverage.visited_deviations(game, played, n_blocks=8)
    expected, visits = torch.zeros(3, 6, 4).double(), torch.zeros(8, 6, 4).double()
    for b in range(8):
        for h in range(3):
            states, actions = played.states[b, h].tolist(), played.actions[b, h].tolist()
            cells = [2 * s + a for s, a in zip(states, actions, strict=True)]
            for i, cell in enumerate(cells):
                if cells.count(cell) == 1:
                    continue
                u = game.personal[i].item()
                visits[b, i, cell] += 1
                infected = (sum(states) - states[i]) / 5
                catch = 0.81 * 0.2 * u * infected if cell == 0 else 0.0
                cost = 0.5 * 0.3 * u if cell % 2 else 0.0
                expected[:, i, cell] += torch.tensor([-catch, catch, -cost / 1.65]).double()
    assert torch.equal(truth.visits, visits)
    assert torch.allclose(truth.sums, expected, atol=1e-6)


def test_sorted_agents_whose_deviations_follow_the_population(coverage, random_policy):
    # one effect an agent, used at all populations, says .004 for .018; types are compared group by group
    game = coverage.HARDER["sorting"](100)
    for seed in range(3):
        played = play(game, mixed(random_policy, game), n_episodes=100, seed=seed)
        truth = coverage.visited_deviations(game, played, n_blocks=20)
        rms, most = truth.rms()[-1], truth.of_agents()[-1].max().item()
        known, blind = (
            measure(played, n_states=2, n_actions=1, types=types) for types in (game.personal, None)
        )
        half = (known.beta.rms.upper - known.beta.rms.lower).flatten() / 2
        assert ((known.beta.rms.estimate.flatten() - rms).abs() < 2 * half).all()
        assert half[0] < 0.2 * rms[0]
        assert 0.5 * most < known.beta.at_least.value <= most <= known.beta.at_most.value
        assert blind.beta.rms.upper[0, 0] < 0.5 * rms[0]  # what it assumes, and says so, is not so
        assert "do not change with the population" in blind.assumes


@pytest.mark.slow
@pytest.mark.parametrize("key", ["a_sis", "a_rps", "a_beach"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_intervals_cover(coverage, key, symmetric):
    # 12 repetitions at 95 %: fewer than 9 would be an accident of probability .0002
    game = coverage.make_game(key, n_agents=200, symmetric=symmetric)
    found = coverage.repeat(game, repetitions=12, n_episodes=100, policy_seed=None, scale=1.0)
    for outcomes in (found.alpha, found.beta):
        for part in range(len(coverage.PARTS)):
            assert sum(each.covered[part] for each in outcomes) >= 9, coverage.PARTS[part]
        right, cells = (sum(column) for column in zip(*(each.cells for each in outcomes), strict=True))
        assert right >= 0.85 * cells


@pytest.mark.slow
@pytest.mark.parametrize("key", ["a_sis_recovering", "sorting", "lingering"])
def test_intervals_cover_where_agents_sort_themselves(coverage, key):
    # few episodes of many agents, the worst for biases that all agents of a type share
    found = coverage.repeat(
        coverage.HARDER[key](1000), repetitions=12, n_episodes=40, policy_seed=None, scale=1.0
    )
    for outcomes in (found.alpha, found.beta):
        for part in range(len(coverage.PARTS)):
            assert sum(each.covered[part] for each in outcomes) >= 9, coverage.PARTS[part]
