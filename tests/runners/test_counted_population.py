"""Counts against the game they count: exact laws of tiny games, and the game played agent by agent."""

import functools
import itertools
from collections import Counter

import pytest
import scipy.stats
import torch

from mf_pmd.functional.cells import cell_statistics
from mf_pmd.functional.counting import conditional
from mf_pmd.games import TableGame, TableKernels
from mf_pmd.games.game import for_counting
from mf_pmd.games.mfglib_game import make_mfglib
from mf_pmd.runners.counted_batch import Ledger
from mf_pmd.runners.counted_population import CountedKernels, CountedPopulation, Laws


class Crowd(TableGame):
    """Two states, two actions; the others' actions pull, differently by type and step."""

    time_dependent = True

    def __init__(self, *, n_agents, population="others", seed=0):
        super().__init__(
            n_agents=n_agents,
            n_states=2,
            n_actions=2,
            horizon=2,
            initial_law=torch.tensor([0.3, 0.7], dtype=torch.float64),
            population=population,
            seed=seed,
        )

    def transition_table(self, mu, personal, steps):
        pull = mu[..., :, 1].sum(-1)  # share that took action 1
        batch = torch.broadcast_shapes(pull.shape, personal.shape, steps.shape)
        stay = (0.15 + 0.6 * pull + 0.1 * personal + 0.1 * steps).expand(batch)[..., None, None]
        to_one = stay * torch.tensor([[1.0, 0.6], [0.3, 0.9]], dtype=mu.dtype)
        return torch.stack([1 - to_one, to_one], -1)

    def reward_table(self, mu, personal, steps):
        batch = torch.broadcast_shapes(mu.shape[:-2], personal.shape, steps.shape)
        crowd = mu.sum(-1)[..., 1].expand(batch)[..., None, None]
        own = torch.tensor([[0.0, 0.2], [0.4, 0.6]], dtype=mu.dtype)
        return 0.3 * crowd + own * (0.5 + 0.1 * personal.expand(batch)[..., None, None])


GAMES = {
    "two": ("a_sis", 2, "others"),
    "odd": ("a_sis", 3, "others"),
    "all": ("a_sis", 3, "all"),
    "clock": ("crowd", 3, "others"),
    "clock, all": ("crowd", 2, "all"),
}


@pytest.fixture(scope="module")
def make_pair(make_game):
    """A game played agent by agent, and the same made for counting."""

    def make(key, n_agents, population):
        def new():
            if key == "crowd":
                return Crowd(n_agents=n_agents, population=population)
            wide = {"eps": 0.2, "eps_beta": 0.6, "eps_recovery": 0.7} if key == "a_sis" else {}
            return make_game(key, n_agents=n_agents, population=population, horizon=2, **wide)

        with for_counting():
            counted = new()
        return new(), counted

    return make


def start(counted, types, **options):
    return CountedPopulation(CountedKernels(counted), types, **options)


def nobody(n_episodes):
    return torch.zeros(n_episodes, 0, dtype=torch.int64)


def forward(game, law, policy, h):
    """One step of the exact chain on joint states: {(s_1, .., s_N): probability} -> the same."""
    kernels, ahead = TableKernels(game, h=h), Counter()
    agents, n_states, n_actions = range(game.n_agents), game.n_states, game.n_actions
    for states, weight in law.items():
        for actions in itertools.product(range(n_actions), repeat=game.n_agents):
            cells = [s * n_actions + a for s, a in zip(states, actions, strict=True)]
            rows = []
            for i in agents:
                others = torch.tensor([[cell for j, cell in enumerate(cells) if j != i]])
                rows.append(kernels.sound_transition(i, cells[i], others)[0].tolist())
                weight_now = weight
            for s, a in zip(states, actions, strict=True):
                weight_now *= policy[h, s, a].item()
            for after in itertools.product(range(n_states), repeat=game.n_agents):
                chance = weight_now
                for i in agents:
                    chance *= rows[i][after[i]]
                ahead[after] += chance
    return ahead


def exact_laws(game, policy):
    """Laws of the joint state at every step."""
    first = game.initial_law.tolist()
    laws = [Counter()]
    for states in itertools.product(range(game.n_states), repeat=game.n_agents):
        chance = 1.0
        for s in states:
            chance *= first[s]
        laws[0][states] = chance
    for h in range(game.horizon):
        laws.append(forward(game, laws[-1], policy, h))
    return laws


@pytest.fixture(scope="module")
def told(make_pair, random_policy):
    """By name: the game, a policy, the exact laws, enumerated once, and the game made for counting."""

    @functools.cache
    def tell(name):
        game, _ = make_pair(*GAMES[name])
        policy = random_policy(1, game.horizon, 2, 2)
        return game, policy, exact_laws(game, policy)

    return lambda name: (*tell(name), make_pair(*GAMES[name])[1])


def of_counts(law, game, types, follow=None):
    """The law of (state of the first agent of a type, if one is followed; counts by type and state)."""
    found = Counter()
    for states, chance in law.items():
        table = torch.zeros(len(types), game.n_states, dtype=torch.int64)
        for u, s in zip(game.personal.tolist(), states, strict=True):
            table[types.index(u), s] += 1
        own = () if follow is None else (states[game.personal.tolist().index(types[follow])],)
        found[own + tuple(table.flatten().tolist())] += chance
    return found


def assert_law(assert_laws, drawn, exact):
    keys = [key for key, chance in exact.items() if chance > 0]
    assert set(drawn) <= set(keys)
    common = [key for key in keys if exact[key] > 5e-4]
    rest = [key for key in keys if exact[key] <= 5e-4]
    counts, laws = [drawn[key] for key in common], [exact[key] for key in common]
    if sum(exact[key] for key in rest) > 5e-4:
        counts.append(sum(drawn[key] for key in rest))
        laws.append(sum(exact[key] for key in rest))
    total = sum(laws)
    assert_laws(counts, [law / total for law in laws])


def observed(population, follow=None):
    """What ``of_counts`` is the law of, in every episode."""
    types = population.types
    table = population.untagged.sum(2)
    for k in range(types.shape[1]):
        episodes = torch.arange(len(types))
        table = table.clone()
        table[episodes, types[:, k], population.states[:, k]] += 1
    rows = table.flatten(1).long()
    if follow is not None:
        rows = torch.cat([population.states[:, follow : follow + 1], rows], 1)
    return Counter(map(tuple, rows.tolist()))


@pytest.mark.parametrize("by_origin", [False, True])
@pytest.mark.parametrize("name", GAMES)
def test_the_law_of_the_counts_is_that_of_the_agents(told, assert_laws, name, by_origin):
    game, policy, laws, counted = told(name)
    torch.manual_seed(11)
    population = start(counted, nobody(15_000), by_origin=by_origin)
    types = counted.personal.tolist()
    assert_law(assert_laws, observed(population), of_counts(laws[0], game, types))
    for h in range(game.horizon):
        population.move(population.act(policy[h][None, None]), h)
        assert_law(assert_laws, observed(population), of_counts(laws[h + 1], game, types))


@pytest.mark.parametrize("name", ["two", "odd", "clock"])
def test_an_agent_followed_is_one_of_its_type_and_met_by_the_others(told, assert_laws, name):
    game, policy, laws, counted = told(name)
    torch.manual_seed(12)
    n_types, types = len(counted.personal), counted.personal.tolist()
    one_each = torch.arange(n_types).expand(15_000, -1)
    last_alone = torch.full((15_000, 1), n_types - 1)
    for followed, column, follow in ((one_each, 0, 0), (last_alone, 0, n_types - 1)):
        population = start(counted, followed)
        for h in range(game.horizon):
            population.move(population.act(policy[h][None, None]), h)
            exact = of_counts(laws[h + 1], game, types, follow)
            assert_law(assert_laws, observed(population, column), exact)


@pytest.mark.parametrize(("population", "met"), [("others", 1.0), ("all", 0.5)])
def test_two_agents_by_hand(make_game, assert_laws, population, met):
    # one ill, one not; both go out: it catches with .81 times what it meets, the ill recovers with .3
    with for_counting():
        game = make_game("a_sis", n_agents=2, population=population, eps=0.0, eps_beta=0.0, eps_recovery=0.0)
    out = torch.tensor([1.0, 0.0]).expand(1, 1, 2, 2)
    counted = start(game, nobody(40_000))
    counted.untagged = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64).expand(40_000, 1, 2, 2)
    counted.untagged = counted.untagged.transpose(1, 2)  # the agent of u = -1 is healthy, that of u = 1 ill
    acted = counted.act(out)
    counted.move(acted, 0)
    assert torch.equal(acted.cells[0], torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0]], dtype=torch.float64))
    rewards = counted.kernels.rewards(acted.cells.unsqueeze(1))[0, 0]
    assert rewards[0, 0].item() == 1.0
    assert rewards[1, 2].item() == pytest.approx(1 - 1 / 1.5)
    caught = 0.81 * met
    laws = [(1 - caught) * 0.3, (1 - caught) * 0.7 + caught * 0.3, caught * 0.7]
    ill = counted.counts()[:, 1].long()
    assert_laws(torch.bincount(ill, minlength=3).tolist(), laws)


@pytest.mark.parametrize("follow", [False, True])
def test_statistics_add_up_step_by_step(make_pair, random_policy, follow):
    game, counted = make_pair("crowd", 10_001, "others")
    torch.manual_seed(3)
    followed = torch.arange(3).expand(4, -1) if follow else nobody(4)
    population = start(counted, followed, by_origin=True)
    ledger = Ledger(population.kernels, pairs=True)
    policy = random_policy(3, 2, 2, 2)
    counts, paid = [], torch.zeros(4, dtype=torch.float64)
    for h in range(2):
        counts.append(population.counts())
        acted = population.act(policy[h][None, None])
        ledger.add(acted, population.move(acted, h))
        met = acted.cells.sum(1, keepdim=True)
        paid += (acted.cells * game.own_rewards(met, counted.personal.double(), torch.tensor(h))).sum((1, 2))
    counts.append(population.counts())
    statistics = ledger.statistics()
    assert all(field.dtype == torch.float64 for field in statistics if field is not None)
    assert torch.equal(statistics.visits.sum(-1), torch.stack(counts[:-1], 1))
    assert torch.equal(statistics.state_count, torch.stack(counts[:-1], 1))
    assert torch.equal(statistics.next_state.sum(-1), statistics.visits)
    assert torch.equal(statistics.next_state.sum((2, 3)), torch.stack(counts[1:], 1))
    assert torch.equal(statistics.next_cell[:, 0].sum(-1), statistics.next_state[:, 0])
    assert torch.equal(statistics.next_cell[:, 0].sum((1, 2)), statistics.visits[:, 1])
    assert not statistics.next_cell[:, -1].any()
    torch.testing.assert_close(statistics.reward_sum.sum((1, 2, 3)), paid)
    torch.testing.assert_close(ledger.returns().sum(1), paid)


def test_a_policy_of_the_own_last_action_goes_with_its_agents(make_pair):
    # action 0 first; then everyone repeats: whoever took 1 before takes 0, whoever took 0 takes 1
    _, counted = make_pair("crowd", 1001, "others")
    population = start(counted, torch.zeros(5, 1, dtype=torch.int64), by_origin=True)
    half = torch.full((1, 2, 2, 2), 0.5)
    first = population.act(half)
    population.move(first, 0)
    flip = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 2, 1, 2).expand(1, 2, 2, 2)
    second = population.act(flip)
    by_action = [acted.cells.sum(1).unflatten(1, (2, 2)).sum(1) for acted in (first, second)]
    assert torch.equal(by_action[1], by_action[0].flip(1))
    assert torch.equal(second.tagged % 2, 1 - first.tagged % 2)
    pairs = second.pairs.unflatten(1, (2, 2)).unflatten(3, (2, 2)).sum((1, 3))  # [B, before, now]
    assert not pairs[:, 0, 0].any()
    assert not pairs[:, 1, 1].any()


@pytest.mark.parametrize(("key", "n_agents"), [("a_beach", 31), ("a_rps", 20), ("beach_bar", 30)])
def test_cells_have_the_law_of_the_game_played_agent_by_agent(make_game, random_policy, key, n_agents):
    def new(seed):
        if key in ("a_beach", "a_rps"):
            return make_game(key, n_agents=n_agents, horizon=4, seed=seed)
        pytest.importorskip("mfglib")
        return make_game("mfglib", n_agents=n_agents, seed=seed)

    game = new(1)
    with for_counting():
        counted = new(2)
    torch.manual_seed(5)
    n_states, n_actions, episodes = game.n_states, game.n_actions, 400
    policy = random_policy(4, game.horizon, n_states, n_actions)
    states, actions, rewards = [game.reset(episodes)], [], []
    for h in range(game.horizon):
        rows = policy[h, states[-1]].flatten(0, 1)
        actions.append(torch.multinomial(rows, 1).reshape(states[-1].shape))
        step = game.step_at(h, states[-1], actions[-1])
        states.append(step.next_states)
        rewards.append(step.rewards)
    followed = cell_statistics(
        torch.stack(states, 1),
        torch.stack(actions, 1),
        torch.stack(rewards, 1),
        n_states=n_states,
        n_actions=n_actions,
        dtype=torch.float64,
    )
    population = start(counted, nobody(episodes))
    ledger = Ledger(population.kernels, pairs=False)
    for h in range(game.horizon):
        acted = population.act(policy[h][None, None])
        ledger.add(acted, population.move(acted, h))
    ours = ledger.statistics().over_all_states()
    compared = {
        "rewards": [x.reward_sum.sum((1, 2, 3)) for x in (followed, ours)],
        "a cell": [x.visits[:, -1, 0, 0] for x in (followed, ours)],
        "a state": [x.state_count[:, -1, n_states // 2] for x in (followed, ours)],
        "a move": [x.next_state[:, -1, n_states // 2].sum(1)[:, n_states // 2] for x in (followed, ours)],
        "rewards of a cell": [x.reward_sum[:, -1, n_states // 2, 1] for x in (followed, ours)],
    }
    for name, pair in compared.items():
        first, second = (values.round(decimals=4) for values in pair)  # ties stay ties
        same = torch.allclose(first, first[:1]) and torch.allclose(second, first)
        assert same or scipy.stats.ks_2samp(first.numpy(), second.numpy(), method="asymp").pvalue > 1e-4, name


def test_nobody_comes_and_nobody_goes_among_very_many(make_game):
    with for_counting():
        game = make_game("a_beach", n_agents=10**12 - 1, horizon=3)
    population = start(game, nobody(2))
    uniform = torch.full((1, 1, 10, 3), 1 / 3)
    for h in range(3):
        assert torch.equal(population.counts().sum(1), torch.full((2,), 1e12 - 1, dtype=torch.float64))
        acted = population.act(uniform)
        assert acted.cells.sum(2)[0].tolist() == [5e11 - 1, 1, 5e11 - 1]
        population.move(acted, h)
    share = population.counts() / game.n_agents
    assert (share - 0.1).abs().max() < 1e-5


@pytest.mark.parametrize("by_origin", [False, True])
@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("key", ["a_beach", "building_evacuation"])
def test_moves_within_reach_are_those_counted_over_all_states(
    make_game, random_policy, key, follow, by_origin
):
    found = []
    for told_apart in (True, False):
        with for_counting():
            if key == "a_beach":
                game = make_game("a_beach", n_agents=1001, horizon=4, seed=2)  # 3 of 10 states
            else:  # 1 of 18: moves are sure
                pytest.importorskip("mfglib")
                sizes = {"n_floor": 2, "floor_l": 3, "floor_w": 3, "T": 3}
                game = make_mfglib(key, n_agents=1001, population="all", knobs=sizes, seed=2)
        torch.manual_seed(4)
        kernels = CountedKernels(game)
        assert kernels.reach is not None
        assert kernels.reach.shape[1] < game.n_states
        if not told_apart:
            rows = kernels._fixed.rows
            kernels._fixed, kernels.reach = Laws(rows, conditional(rows), None), None
        types = torch.arange(kernels.n_types).expand(3, -1) if follow else nobody(3)
        population = CountedPopulation(kernels, types, by_origin=by_origin)
        ledger = Ledger(kernels, pairs=by_origin)
        policy = random_policy(4, game.horizon, game.n_states, game.n_actions)
        for h in range(game.horizon):
            acted = population.act(policy[h][None, None])
            ledger.add(acted, population.move(acted, h))
        statistics = ledger.statistics()
        assert torch.equal(statistics.next_state.sum(-1), statistics.visits)
        found.append((statistics.over_all_states(), ledger.own_returns(types), population.counts()))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        assert one is other or torch.equal(one, other)
    assert all(torch.equal(one, other) for one, other in zip(found[0][1:], found[1][1:], strict=True))
