"""The N-player score: the agent itself left out by hand, and exact enumeration of tiny games."""

import itertools

import pytest
import torch

from mf_pmd import games
from mf_pmd.functional.best_response import best_response
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import uniform_policy
from mf_pmd.runners import played_cells
from mf_pmd.runners.deviations import DeviationScore
from mf_pmd.runners.played_cells import PlayedCells, View


def uniform(game):
    return torch.full((game.horizon, game.n_states, game.n_actions), 1.0 / game.n_actions).double()


def random_profile(game, seed, *, individual):
    shape = (game.n_agents if individual else 1, game.horizon, game.n_states, game.n_actions)
    draws = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.softmax(2 * draws, -1).expand(game.n_agents, *shape[1:])


class Strangers(games.TableGame):
    """Every agent is of a type of its own, and minds the crowd by it."""

    def __init__(self, n_agents, seed=0):
        super().__init__(
            n_agents=n_agents,
            n_states=2,
            n_actions=2,
            horizon=2,
            initial_law=torch.tensor([0.5, 0.5]),
            personal=torch.linspace(-1, 1, n_agents),
            seed=seed,
        )

    def transition_table(self, mu, personal):
        law = torch.tensor([[0.8, 0.2], [0.2, 0.8]], dtype=mu.dtype)
        return law.expand(*mu.shape[:-2], 2, 2, 2)

    def reward_table(self, mu, personal):
        pull = torch.tensor([1.0, -1.0], dtype=mu.dtype) * personal[..., None] / 4
        reward = 0.5 + pull - mu.sum(-1) / 4  # [..., S]
        return reward.unsqueeze(-1).expand(*reward.shape, 2)


@pytest.mark.parametrize("own_flows", [True, False])
def test_the_agent_itself_is_left_out(make_game, monkeypatch, own_flows):
    monkeypatch.setattr(played_cells, "OWN_FLOWS", 10**6 if own_flows else 0)
    game = make_game("a_sis", n_agents=4, horizon=1)
    played = PlayedCells(game, individual=False, n_episodes=1)
    assert played.view == View(few_types=True, each_alone=False, own_flows=own_flows)
    states, actions = torch.tensor([[0, 1, 1, 0]]), torch.tensor([[1, 0, 0, 1]])
    counts = played.add(0, states, actions)
    assert counts[0].tolist() == [[0, 2], [2, 0]]
    cells = played.cells().long() if own_flows else played.references()
    met = played.others(torch.arange(1), cells)
    for column in range(cells.shape[2]):
        left = counts[0].clone()
        left[divmod(cells[0, 0, column].item(), 2)] -= 1
        assert torch.equal(met[0, column, 0], left.double() / 3)
    assert cells.shape[2] == (4 if own_flows else 2)


def test_every_agent_of_a_type_can_be_the_reference(make_game, monkeypatch):
    monkeypatch.setattr(played_cells, "OWN_FLOWS", 0)
    game = make_game("a_sis", n_agents=6, horizon=1)
    drawn = PlayedCells(game, individual=False, n_episodes=1).draw_references(600)
    assert set(drawn[:, 0].tolist()) == {3, 4, 5}  # u = -1
    assert set(drawn[:, 1].tolist()) == {0, 1, 2}
    drawn = PlayedCells(Strangers(20), individual=False, n_episodes=1).draw_references(600)
    assert drawn.shape == (600, 1)
    assert set(drawn[:, 0].tolist()) == set(range(20))


def test_what_is_kept_of_many_agents_does_not_grow_with_them(make_game):
    played = PlayedCells(make_game("a_sis", n_agents=10_000), individual=False, n_episodes=40)
    assert not played.keeps_cells
    assert PlayedCells(make_game("a_sis", n_agents=10_000), individual=True, n_episodes=40).keeps_cells


def test_few_episodes_give_no_score(make_game, score_of):
    game = make_game("a_sis", n_agents=4, horizon=2)
    assert score_of(game, uniform(game), 3).scores() == {}


@pytest.mark.parametrize("own_flows", [True, False])
@pytest.mark.parametrize("individual", [True, False])
def test_a_symmetric_game_of_many_agents_scores_as_its_mean_field_game(
    make_game, score_of, monkeypatch, own_flows, individual
):
    monkeypatch.setattr(played_cells, "OWN_FLOWS", 10**9 if own_flows else 0)
    torch.manual_seed(0)
    game = make_game("a_sis", n_agents=300 if own_flows else 3000, eps=0.0, eps_beta=0.0, seed=1)
    score = score_of(game, uniform(game), 40, individual=individual, batches=2)
    scores = score.scores()
    truth = mean_field_exploitability(game.mean_field_model(), uniform_policy(2, 2)).item()
    assert scores["exploitability_mean_lower"] <= truth <= scores["exploitability_mean_upper"] + 0.01
    assert scores["exploitability_mean"] == pytest.approx(truth, abs=0.05)
    assert scores["exploitability_max_lower"] <= truth <= scores["exploitability_max_upper"]
    if not individual:
        assert scores["exploitability_max"] == pytest.approx(truth, abs=0.05)
        assert scores["exploitability_too_weak"] == 0.0


def test_the_mean_weighs_types_by_their_agents(make_game, score_of):
    torch.manual_seed(0)
    game = make_game("a_sis", n_agents=5, horizon=3)  # u = 1, 1, -1, -1, 0
    score = score_of(game, uniform(game), 200)
    gains = score.gains()
    assert gains.weights.tolist() == pytest.approx([0.4, 0.2, 0.4])
    held_out = gains.values[100:].mean(0)
    assert score.verdict(gains).mean.estimate == pytest.approx((held_out @ gains.weights).item())
    alone = score_of(game, uniform(game), 200, individual=True).gains()
    assert alone.values.shape == (200, 5)
    assert alone.weights.tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("own_flows", [True, False])
def test_large_groups_are_split_without_a_trace(make_game, score_of, monkeypatch, own_flows, individual):
    monkeypatch.setattr(played_cells, "OWN_FLOWS", 10**9 if own_flows else 0)
    scores = []
    for entries in (2**24, 1):
        monkeypatch.setattr("mf_pmd.runners.deviations.ENTRIES_AT_ONCE", entries)
        torch.manual_seed(0)
        game = Strangers(20) if individual else make_game("a_sis", n_agents=6, horizon=2)
        scores.append(score_of(game, uniform(game), 20, individual=individual).scores())
    assert scores[0] == pytest.approx(scores[1])


def assert_close_to_enumeration(score, truth, *, slack=0.03):
    """Within sampling error of the truth; ``slack`` is what frozen flows may miss, O(1 / N)."""
    gains = score.gains()
    verdict = score.verdict(gains)
    for found, exact in ((verdict.mean, truth.mean().item()), (verdict.largest, truth.max().item())):
        assert found.lower - slack <= exact <= found.upper + slack
    middle = len(gains.values) // 2
    assert verdict.mean.estimate == pytest.approx(truth.mean().item(), abs=0.06)
    if score.played.view.each_alone:
        assert torch.allclose(gains.values[middle:].mean(0), truth, atol=0.12)


@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_against_exact_enumeration(make_game, score_of, enumeration, seed, individual, population):
    torch.manual_seed(seed)
    game = make_game("a_sis", n_agents=4, horizon=2, eps=0.2, eps_beta=0.5, seed=seed, population=population)
    profile = random_profile(game, seed, individual=individual)
    joint = enumeration.JointGame(game)
    truth = torch.tensor([joint.exploitability(profile, i) for i in range(4)]).double()
    assert_close_to_enumeration(score_of(game, profile, 2000, individual=individual), truth)


def test_against_exact_enumeration_where_everyone_is_a_type(score_of, enumeration, monkeypatch):
    monkeypatch.setattr(played_cells, "MOST_TYPES", 2)
    torch.manual_seed(0)
    game = Strangers(5, seed=2)
    profile = random_profile(game, 1, individual=False)
    joint = enumeration.JointGame(game)
    truth = torch.tensor([joint.exploitability(profile, i) for i in range(5)]).double()
    score = score_of(game, profile, 2000)
    assert score.played.view.each_alone
    assert_close_to_enumeration(score, truth)


@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("population", ["others", "all"])
def test_one_flow_for_all_of_a_type_measures_what_their_own_do(
    make_game, score_of, monkeypatch, population, individual
):
    # the transitions read the population: a control variate at another agent's flow would miss by -2 / N
    means = []
    for own_flows in (10**9, 0):
        monkeypatch.setattr(played_cells, "OWN_FLOWS", own_flows)
        found = []
        for seed in range(3):
            torch.manual_seed(seed)
            game = make_game("a_sis", n_agents=20, eps=0.0, eps_beta=0.0, seed=seed, population=population)
            gains = score_of(game, uniform(game), 600, individual=individual).gains()
            found.append((gains.values.mean(0) @ gains.weights).item())
        means.append(sum(found) / 3)
    assert means[0] == pytest.approx(means[1], abs=0.03)


@pytest.mark.parametrize("own_flows", [True, False])
def test_agents_keep_their_order(make_game, score_of, monkeypatch, own_flows):
    # agent 4 alone does the worst it can; types, which come sorted by u, are mixed
    monkeypatch.setattr(played_cells, "OWN_FLOWS", 10**9 if own_flows else 0)
    torch.manual_seed(0)
    game = make_game("a_beach", n_agents=6, horizon=4, c3=0.0, eps=0.0, noise=0.0, n_sites=5)
    game.personal = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    stay = torch.zeros(6, 4, 5, 3, dtype=torch.float64)
    stay[..., 1] = 1.0
    stay[4, :, 3:] = torch.tensor([0.0, 0.0, 1.0]).double()
    stay[4, :, :3] = torch.tensor([1.0, 0.0, 0.0]).double()
    score = score_of(game, stay, 100, individual=True)
    gains = score.gains()
    assert gains.values.mean(0).argmax() == 4
    assert score.verdict(gains).worst == 4
    of_type = torch.stack([gains.actions[game.personal == u] for u in (1.0, -1.0)])
    assert (of_type == of_type[:, :1]).all()  # one deviation a type, back at its agents


def test_enumeration_by_hand(enumeration):
    # two agents choose a state; who is alone is paid 1: against a coin that always shows 0, go to 1
    class Alone(games.TableGame):
        def __init__(self):
            super().__init__(
                n_agents=2, n_states=2, n_actions=2, horizon=2, initial_law=torch.tensor([1.0, 0.0])
            )

        def transition_table(self, mu, personal):
            return torch.eye(2, dtype=mu.dtype).expand(*mu.shape[:-2], 2, 2, 2)

        def reward_table(self, mu, personal):
            return (1 - mu.sum(-1)).unsqueeze(-1).expand(mu.shape)

    joint = enumeration.JointGame(Alone())
    zero = torch.zeros(2, 2, 2, 2, dtype=torch.float64)
    zero[..., 0] = 1.0
    assert joint.returns(zero).tolist() == [0.0, 0.0]
    assert joint.exploitability(zero, 0) == 1.0
    half = torch.full((2, 2, 2, 2), 0.5, dtype=torch.float64)
    assert joint.returns(half).tolist() == [0.5, 0.5]
    assert joint.exploitability(half, 1) == pytest.approx(0.0)


@pytest.mark.parametrize("individual", [False, True])
def test_the_worst_actions_score_what_they_should(make_game, score_of, individual):
    # without coupling the game is a decision problem: a ring where no one minds the crowd
    game = make_game("a_beach", n_agents=6, horizon=4, c3=0.0, eps=0.0, noise=0.0, n_sites=5)
    cells = itertools.product(range(5), range(3))
    own = torch.zeros(5, 3, dtype=torch.float64)
    for s, a in cells:
        own[s, a] = game.reward_table(torch.full((5, 3), 1 / 15).double(), torch.zeros(()).double())[s, a]

    def solve(choose):
        value, actions = torch.zeros(5, dtype=torch.float64), []
        for _ in range(4):
            ahead = torch.stack([own[:, a] + value.roll(1 - a) for a in range(3)], 1)
            best = choose(ahead)
            value = ahead.gather(1, best[:, None]).squeeze(1)
            actions.insert(0, torch.nn.functional.one_hot(best, 3).double())
        return value.mean().item(), torch.stack(actions)

    best, optimal = solve(lambda q: q.argmax(1))
    worst, worst_policy = solve(lambda q: q.argmin(1))
    bad = score_of(game, worst_policy, 200, individual=individual).scores()
    for name in ("mean", "max"):
        assert bad[f"exploitability_{name}"] == pytest.approx(best - worst, abs=0.25)
        lower, upper = (bad[f"exploitability_{name}_{end}"] for end in ("lower", "upper"))
        assert lower <= best - worst <= upper
    good = score_of(game, optimal, 200, individual=individual).scores()
    # rewards are float32
    assert good["exploitability_mean"] == pytest.approx(0.0, abs=1e-6)
    assert good["exploitability_max_upper"] == pytest.approx(0.0, abs=1e-6)
    assert good["exploitability_too_weak"] == 0.0


@pytest.mark.parametrize("individual", [False, True])
def test_policies_that_remember(make_game, individual):
    # each agent draws a move at the start and keeps to it: no table of (h, s) plays like that
    torch.manual_seed(0)
    game = make_game("a_beach", n_agents=6, horizon=4, c3=0.0, eps=0.0, noise=0.0, n_sites=5)
    mu, zero = torch.full((5, 3), 1 / 15).double(), torch.zeros(()).double()
    own = game.reward_table(mu, zero)
    score = DeviationScore(game, individual=individual, n_episodes=300)
    states = game.reset(300)
    moves, returns = torch.randint(3, states.shape), torch.zeros(states.shape).double()
    for h in range(4):
        score.add_actions(h, states, moves)
        states, rewards = game.step(states, moves)
        returns += rewards
    score.add_returns(returns)
    kept = [own[(s + h * (a - 1)) % 5, a].item() for s in range(5) for a in range(3) for h in range(4)]
    laws = game.transition_table(mu, zero).expand(4, 5, 3, 5)
    best = best_response(laws, own.expand(4, 5, 3)).value.mean().item()
    truth = best - sum(kept) / 15
    scores = score.scores()
    assert scores["exploitability_mean_lower"] <= truth <= scores["exploitability_mean_upper"]
    assert scores["exploitability_mean"] == pytest.approx(truth, abs=0.05)


class Tides(games.TableGame):
    """Swimming pays more from step to step, and is the less worth the more of the others swim."""

    time_dependent = True

    def __init__(self, **sizes):
        super().__init__(n_states=2, n_actions=2, initial_law=torch.tensor([0.5, 0.5]), **sizes)

    def transition_table(self, mu, personal, steps):
        swum = 0.2 + 0.5 * mu[..., 1, :].sum(-1) * (1 - steps / self.horizon) + 0 * personal
        law = torch.stack([1 - swum, swum], -1)[..., None, :].expand(*swum.shape, 2, 2)
        return torch.stack([law, law.flip(-1)], -3)  # rows of state 1 are those of state 0, mirrored

    def reward_table(self, mu, personal, steps):
        swims = (steps + 1) / self.horizon * (1 - mu[..., 1].sum(-1)) + 0.2 * personal
        reward = torch.stack([0.4 + 0 * swims, swims], -1).clamp(0, 1)
        return reward.unsqueeze(-2).expand(*swims.shape, 2, 2)


@pytest.mark.parametrize("own_flows", [True, False])
@pytest.mark.parametrize("population", ["others", "all"])
def test_kernels_that_depend_on_the_step(score_of, enumeration, monkeypatch, own_flows, population):
    monkeypatch.setattr(played_cells, "OWN_FLOWS", 10**9 if own_flows else 0)
    torch.manual_seed(0)
    game = Tides(n_agents=4, horizon=2, population=population, seed=3)
    profile = random_profile(game, 5, individual=False)
    joint = enumeration.JointGame(game)
    truth = torch.tensor([joint.exploitability(profile, i) for i in range(4)]).double()
    assert_close_to_enumeration(score_of(game, profile, 2000), truth)
