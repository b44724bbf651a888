"""A-Taxi against its rules, written out for one taxi in plain Python, and what holds in every play of it."""

from collections import Counter
from fractions import Fraction
from itertools import product

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from mf_pmd.games import check_game
from mf_pmd.games.a_taxi import ATaxi

SHIFTS = {0: (0, 0), 1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}
REGIONS = [
    [row * 5 + column for row in range(5) for column in columns] for columns in ((0, 1), (3, 4))
]  # tiles of region 1 and of region 2, in the order of their addresses
TILES = REGIONS[0] + REGIONS[1]  # tile of address k at k - 1


def pack(tile, destination=None, waiting=()):
    """A local state: tile, tile of destination or None, tiles on which somebody waits."""
    bits = sum(1 << TILES.index(k) for k in waiting)
    return tile + 32 * (0 if destination is None else TILES.index(destination) + 1) + 1024 * bits


def unpack(state):
    destination, bits = state // 32 % 32, state // 1024
    waiting = frozenset(TILES[k] for k in range(20) if bits >> k & 1)
    return state % 32, None if destination == 0 else TILES[destination - 1], waiting


def one_step(tile, destination, waiting, action, *, nu, u, eps, eps_beta, appear=True):
    """The rules: every outcome (tile, destination, waiting, reward) of one taxi's step, with probabilities.

    Without ``appear`` the step stops before (4), which is the same for all.
    """
    news = list(product([None, *REGIONS[0]], [None, *REGIONS[1]])) if appear else [()]
    law = Counter()
    row, column = divmod(tile, 5)
    down, right = SHIFTS[action]
    inside = 0 <= row + down < 5 and 0 <= column + right < 5
    target = tile + 5 * down + right if inside else tile
    jam = min(0.7, 10 * nu) * (1 + eps * u)
    for arrived, chance in ((target, 1 - jam), (tile, jam)):  # (1)
        pays, to = 0.0, destination
        if to == arrived:  # (2)
            fare, sign = (1.0, 1) if arrived in REGIONS[0] else (1.2, -1)
            pays, to = fare * (1 + eps_beta * u * sign) / (1.2 * (1 + eps_beta)), None
        takes = to is None and arrived in waiting  # (3)
        left = waiting - {arrived} if takes else waiting
        region = next((tiles for tiles in REGIONS if arrived in tiles), [])
        others = [k for k in region if k != arrived] if takes else [to]
        for chosen, where in product(others, news):  # (4)
            coming = Fraction(1)
            for tile_of_new in where:
                coming *= Fraction(1, 5) if tile_of_new is None else Fraction(8, 100)
            new = left | {k for k in where if k is not None}
            law[arrived, chosen, new, round(pays, 6)] += chance * float(coming) / len(others)
    return law


def drawn(game, state, action, *, nu_counts, u_first, repeats):
    """Outcomes of agent 0 (u = 1) or the last (u = -1) while others stand where nu_counts says."""
    others = [tile for tile, n in nu_counts.items() for _ in range(n)]
    assert len(others) == game.n_agents - 1
    row = [state, *others] if u_first else [*others, state]
    states = torch.tensor(row).expand(repeats, -1)
    actions = torch.zeros_like(states)
    who = 0 if u_first else game.n_agents - 1
    actions[:, who] = action
    step = game.step(states, actions)
    seen = zip(step.next_states[:, who].tolist(), step.rewards[:, who].tolist(), strict=True)
    return Counter((*unpack(next_state), round(reward, 6)) for next_state, reward in seen)


ALL = frozenset(TILES)
CASES = {
    "empty in region 1, goes on": (6, None, (), 4, {0: 3}),
    "empty, jammed by one of three": (6, None, (), 4, {6: 1, 0: 2}),
    "at the cap of jams": (6, None, (), 2, {6: 3}),
    "carries across the road": (7, 5, (0, 24), 3, {7: 1, 3: 2}),
    "carries and arrives": (6, 5, (), 3, {6: 1, 1: 2}),
    "arrives in region 2": (12, 13, (), 4, {12: 2, 1: 1}),
    "arrives and takes the next": (6, 5, (5, 6), 3, {0: 3}),
    "takes who waits here": (6, None, (6,), 0, {0: 3}),
    "takes who waits there, or here if jammed": (8, None, (8, 9), 4, {8: 1, 0: 2}),
    "carries, and takes nobody": (6, 0, (6, 5, 1), 1, {0: 3}),
    "off the map": (0, None, (), 1, {0: 2, 7: 1}),
    "off the corner, somebody waits": (24, None, (24,), 4, {24: 1, 7: 2}),
    "on the road": (12, None, TILES, 0, {12: 1, 0: 2}),
    "every tile waits": (12, None, TILES, 3, {0: 3}),
}


@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_what_the_rules_say(make_game, case, population):
    tile, destination, waiting, action, counts = CASES[case]
    settings_ = {"eps": 0.3, "eps_beta": 0.2}
    game = make_game("a_taxi", n_agents=4, population=population, **settings_, seed=3)
    state, own = pack(tile, destination, waiting), population == "all"
    for u_first, u in ((True, 1), (False, -1)):
        nu = (counts.get(tile, 0) + own) / (3 + own)
        law = one_step(tile, destination, frozenset(waiting), action, nu=nu, u=u, **settings_)
        assert sum(law.values()) == pytest.approx(1)
        seen = drawn(game, state, action, nu_counts=counts, u_first=u_first, repeats=6000)
        assert_counter(seen, law, repeats=6000)


def assert_counter(seen, law, *, repeats):
    """Chi-square over outcomes, and over each part of them alone; what is impossible must not happen."""
    assert not set(seen) - set(law), set(seen) - set(law)
    parts = {
        "outcome": lambda o: o,
        "tile, destination, reward": lambda o: (o[0], o[1], o[3]),
        "map of region 1": lambda o: o[2] & set(REGIONS[0]),
        "map of region 2": lambda o: o[2] & set(REGIONS[1]),
    }
    for part in parts.values():
        due, got = Counter(), Counter()
        for outcome, p in law.items():
            due[part(outcome)] += p * repeats
        for outcome, n in seen.items():
            got[part(outcome)] += n
        common = [key for key in due if due[key] >= 10]
        rare = sum(n for key, n in due.items() if due[key] < 10)
        terms = [(got[key] - due[key]) ** 2 / due[key] for key in common]
        if rare >= 10:
            left = repeats - sum(got[key] for key in common)
            terms.append((left - rare) ** 2 / rare)
        degrees = len(terms) - 1
        if degrees > 0:
            p = torch.special.gammaincc(torch.tensor(degrees / 2.0), torch.tensor(sum(terms) / 2.0))
            assert p > 1e-6, (sum(terms), degrees)


def test_the_reference_would_notice(make_game):
    # the same draws against a law with another share, another fare or another order fail
    game = make_game("a_taxi", n_agents=4, eps=0.3, eps_beta=0.2, seed=3)
    seen = drawn(game, pack(18, 19, ()), 4, nu_counts={18: 1, 1: 2}, u_first=True, repeats=6000)
    right = {"nu": 1 / 3, "u": 1, "eps": 0.3, "eps_beta": 0.2}
    assert_counter(seen, one_step(18, 19, frozenset(), 4, **right), repeats=6000)
    for wrong in ({"nu": 0.06}, {"u": -1}, {"eps": 0.2}, {"eps_beta": 0.1}):
        with pytest.raises(AssertionError):
            assert_counter(seen, one_step(18, 19, frozenset(), 4, **(right | wrong)), repeats=6000)


def test_two_taxis_in_a_jam_by_hand(make_game):
    # both on tile 6: each meets the other, nu = 1, jam = .7 (1 + .3 u); counted in, nu = 1 as well
    game = make_game("a_taxi", n_agents=2, eps=0.3, eps_beta=0.1)
    repeats = 20_000
    together = torch.full((repeats, 2), pack(6))
    moved = game.places(game.step(together, torch.full_like(together, 4)).next_states) == 7
    free = moved.double().mean(0)
    assert free.tolist() == pytest.approx([1 - 0.91, 1 - 0.49], abs=0.015)
    luck = (moved.double() - free).prod(1).mean().item()
    assert abs(luck) < 0.01  # their jams are independent
    apart = torch.tensor([[pack(6), pack(18)]]).expand(repeats, 2)
    assert (
        game.places(game.step(apart, torch.full_like(apart, 4)).next_states) == torch.tensor([7, 19])
    ).all()
    counted = make_game("a_taxi", n_agents=2, eps=0.3, eps_beta=0.1, population="all")
    stays = counted.places(counted.step(apart, torch.full_like(apart, 4)).next_states) == torch.tensor(
        [6, 18]
    )
    assert stays.double().mean(0).tolist() == pytest.approx([0.91, 0.49], abs=0.015)  # nu = 1/2 each


@pytest.mark.parametrize("share", [0, 1, 3, 7, 8, 100])
def test_jams_grow_with_the_others_on_the_tile_up_to_a_cap(make_game, share):
    game = make_game("a_taxi", n_agents=201, eps=0.0, horizon=2)
    states = torch.zeros(400, 201, dtype=torch.long)  # tile 0, and `share` others on tile 12
    states[:, : share + 1] = pack(12)
    step = game.step(states, torch.full_like(states, 1))
    jammed = (game.places(step.next_states)[:, : share + 1] == 12).double().mean().item()
    expected = min(0.7, 10 * share / 200)
    error = 5 * (expected * (1 - expected) / (400 * (share + 1))) ** 0.5
    assert jammed == pytest.approx(expected, abs=max(error, 1e-12))


def play(game, batch_size, seed):
    random = torch.Generator().manual_seed(seed)
    states = [game.reset(batch_size)]
    rewards, actions = [], []
    for h in range(game.horizon):
        actions.append(torch.randint(game.n_actions, states[-1].shape, generator=random))
        step = game.step(states[-1], actions[-1], h)
        states.append(step.next_states)
        rewards.append(step.rewards)
    return torch.stack(states), torch.stack(actions), torch.stack(rewards)


@settings(max_examples=15)
@given(
    n_agents=st.integers(2, 30),
    eps=st.floats(0, 0.42),
    eps_beta=st.floats(0, 1),
    population=st.sampled_from(["others", "all"]),
    seed=st.integers(0, 10**6),
)
def test_what_holds_in_every_play(n_agents, eps, eps_beta, population, seed):
    knobs = {"eps": eps, "eps_beta": eps_beta, "population": population, "observe_density": False}
    game = ATaxi(n_agents=n_agents, horizon=60, seed=seed, **knobs)
    states, actions, rewards = play(game, 2, seed)
    tile, to, waiting = game.parts(states).long().unbind(-1)
    address = torch.tensor([TILES.index(k) + 1 if k in TILES else 0 for k in range(25)])
    here = address[tile]
    assert (to[0] == 0).all() & (waiting[0] == 0).all()
    assert ((to == 0) | (to != here)).all()  # nobody carries to where it stands
    before, after = to[:-1], to[1:]
    picked = (after > 0) & (after != before)
    paid = rewards > 0
    if eps_beta < 1:  # then no fare is 0
        assert torch.equal(paid, (before > 0) & (before == here[1:]))  # a fare at delivery, and there alone
    assert ((before == 0) | (before == after) | (before == here[1:])).all()  # whoever carries goes on to
    assert (here[1:][picked] > 0).all()  # no passenger on the road
    assert ((after[picked] > 10) == (here[1:][picked] > 10)).all()  # a ride stays in its region
    assert (after[picked] != here[1:][picked]).all()
    bit = 1 << (here - 1).clamp(min=0)
    waited = (waiting[:-1] & bit[1:] > 0) & (here[1:] > 0)
    assert torch.equal(picked, waited & ((before == 0) | (before == here[1:])))  # and the empty alone
    kept = waiting[:-1] & ~torch.where(picked, bit[1:], 0)
    assert (kept & ~waiting[1:] == 0).all()  # nobody else leaves
    new = waiting[1:] & ~kept
    for region in (1023, 1023 << 10):
        part = new & region
        assert (part & (part - 1) == 0).all()  # at most one more in a region
    column, row = tile % 5, tile // 5
    moved = (column[1:] - column[:-1]).abs() + (row[1:] - row[:-1]).abs()
    assert (moved <= 1).all() & (moved[actions == 0] == 0).all()
    assert rewards.min() >= 0
    assert rewards.max() <= 1 + 1e-6
    tallies = game.tallies(states[:-1], actions, states[1:])
    assert torch.equal(tallies["carrying"], before > 0)
    assert not (tallies["jammed"] & ((moved > 0) | (actions == 0))).any()


def test_the_largest_fare_is_one_and_fares_are_those_of_the_rules(make_game):
    game = make_game("a_taxi", n_agents=2, eps=0.0, eps_beta=0.25)
    states = torch.tensor([[pack(6, 5), pack(18, 19)], [pack(18, 19), pack(6, 5)]])
    actions = torch.tensor([[3, 4], [4, 3]])  # all arrive, none of them jammed
    expected = torch.tensor([[1.25, 1.2 * 1.25], [1.2 * 0.75, 0.75]]) / (1.2 * 1.25)
    assert torch.allclose(game.step(states, actions).rewards, expected)


def test_parts_hold_a_state_exactly_and_features_are_those_listed(make_game):
    game = make_game("a_taxi", n_agents=3, observe_density=True)
    states = torch.tensor([[pack(0, 24, TILES), pack(12), pack(24, 0, (0, 24))]])
    parts = game.parts(states)
    assert parts.dtype == torch.float32
    assert parts[0].tolist() == [[0, 20, 2**20 - 1], [12, 0, 0], [24, 1, 1 + 2**19]]
    population = torch.zeros(1, 25)
    population[0, [0, 12, 24]] = 1 / 3
    population[0, 1] = 0.5  # as if: to tell right from below
    features = game.features(parts, population, torch.tensor([0.25]))
    assert features.shape == (1, 3, 72)
    assert game.n_features == 72
    tile, to, aboard, waits, clock, density = features[0].split([25, 20, 1, 20, 1, 5], -1)
    assert tile.argmax(-1).tolist() == [0, 12, 24]
    assert tile.sum(-1).tolist() == [1, 1, 1]
    assert to.sum(-1).tolist() == [1, 0, 1]
    assert (to[0, 19], to[2, 0]) == (1, 1)
    assert aboard.flatten().tolist() == [1, 0, 1]
    assert waits.sum(-1).tolist() == [20, 0, 2]
    assert (waits[2, 0], waits[2, 19]) == (1, 1)
    assert clock.flatten().tolist() == [0.25] * 3
    third = 25 / 3  # own tile, above, below, left, right; 0 outside
    assert density[0].tolist() == pytest.approx([third, 0, 0, 0, 12.5])
    assert density[1].tolist() == pytest.approx([third, 0, 0, 0, 0])
    blind = make_game("a_taxi", n_agents=3)
    assert blind.n_features == 67
    assert torch.equal(blind.features(parts, population, torch.tensor([0.25])), features[..., :67])


def test_the_even_spread_has_density_one(make_game):
    game = make_game("a_taxi", n_agents=25, observe_density=True)
    states = torch.arange(25).unsqueeze(0)
    density = game.features(game.parts(states), torch.full((1, 25), 1 / 25), torch.zeros(1))[0, :, -5:]
    assert density[12].tolist() == pytest.approx([1] * 5)
    assert density[0].tolist() == pytest.approx([1, 0, 1, 0, 1])
    assert density[24].tolist() == pytest.approx([1, 1, 0, 1, 0])


def test_how_many_local_states_there_are(make_game):
    game = make_game("a_taxi")
    assert game.n_states is None
    assert game.n_packed == 25 * 21 * 2**20 == 550_502_400
    largest = game.parts(torch.tensor(pack(24, 24, TILES)))
    assert largest.tolist() == [24, 20, 2**20 - 1]


def test_alpha_beta_and_the_slopes_by_brute_force(make_game):
    # every reachable kind of step of one taxi among few others, at every share and beyond the lattice
    shares = sorted({n / 7 for n in range(8)} | {0.0, 0.01, 0.05, 0.069, 0.07, 0.071})
    kinds = [case[:4] for case in CASES.values()]
    for eps, eps_beta in ((0.07, 0.1), (0.42, 0.0), (0.42, 0.3), (0.0, 1.0), (0.2, 0.1)):
        constants = make_game("a_taxi", eps=eps, eps_beta=eps_beta).constants
        alpha = beta = slope = pay_slope = 0.0
        for tile, destination, waiting, action in kinds:
            by_share = []
            for nu in shares:
                laws = []
                for u in (0, 1, -1):
                    law, mean = Counter(), 0.0
                    known = {"nu": nu, "u": u, "eps": eps, "eps_beta": eps_beta, "appear": False}
                    for o, p in one_step(tile, destination, frozenset(waiting), action, **known).items():
                        law[o[:3]] += p
                        mean += p * o[3]
                    laws.append((law, mean))
                (induced, paid), *others = laws
                for law, mean in others:
                    alpha = max(alpha, sum(abs(law[o] - induced[o]) for o in law | induced))
                    beta = max(beta, abs(mean - paid))
                by_share.append((nu, induced, paid))
            for (nu, law, paid), (other, there, then) in product(by_share, repeat=2):
                if nu < other:  # moving a mass m to the tile changes mu by 2 m
                    apart = 2 * (other - nu)
                    slope = max(slope, sum(abs(law[o] - there[o]) for o in law | there) / apart)
                    pay_slope = max(pay_slope, abs(paid - then) / apart)
        assert alpha == pytest.approx(constants.alpha, abs=1e-9)
        assert beta == pytest.approx(constants.beta, abs=1e-5)  # rewards above are rounded
        assert slope == pytest.approx(constants.lipschitz_transition, abs=1e-6)
        assert pay_slope == pytest.approx(constants.lipschitz_reward, abs=1e-3)


def test_beta_is_that_of_the_fares_where_jams_differ_less(make_game):
    assert make_game("a_taxi").constants.beta == pytest.approx(0.1 / 1.1)
    assert make_game("a_taxi").constants.alpha == pytest.approx(1.4 * 0.07)
    assert make_game("a_taxi", eps=0.42, eps_beta=0.0).constants.beta == pytest.approx(0.7 * 0.42)


@pytest.mark.parametrize("changes", [{}, {"n_agents": 5, "observe_density": True}, {"population": "all"}])
def test_it_passes_the_checks(make_game, changes):
    report = check_game(make_game("a_taxi", **changes), draws=20_000)
    assert report.passed, str(report)
    assert all(finding.passed for finding in report.findings)
