"""taxi_lite: its tables against its sampler, against A-Taxi's rules, and its equilibrium."""

import pytest
import torch

from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy, uniform_policy
from mf_pmd.functional.online_mirror_descent import online_mirror_descent_step
from mf_pmd.games import induced_game
from mf_pmd.games.checking.laws import check_rewards
from mf_pmd.games.checking.sizes import check_tables
from mf_pmd.games.checking.subject import Subject, Wrong

TILES = [0, 3, 6, 2, 5, 8]  # of addresses 1 to 6


def state(tile, *, fetches=None, carries=None):
    status = 0
    if fetches is not None:
        status = TILES.index(fetches) + 1
    if carries is not None:
        status = TILES.index(carries) + 7
    return 13 * tile + status


def rows(game, s, a, *, share, u=0.0):
    """Law over next states and mean reward of one cell where a share of the others is on its tile."""
    mu = torch.zeros(117, 5, dtype=torch.float64)
    mu[s - s % 13 + 4, 2] = share  # whatever they do there
    mu[(s + 13) % 117, 0] = 1 - share
    personal = torch.tensor(u, dtype=torch.float64)
    law, reward = game.transition_table(mu, personal)[s, a], game.reward_table(mu, personal)[s, a]
    return {k: p for k, p in enumerate(law.tolist()) if p > 1e-15}, reward.item()


def assert_law(found, expected):
    assert set(found) == set(expected)
    assert list(found.values()) == pytest.approx([expected[k] for k in found])


def test_the_tables_by_hand(make_game):
    game = make_game("taxi_lite", n_agents=5, eps=0.1, eps_beta=0.25)
    assert (game.n_states, game.n_actions, game.n_features) == (117, 5, 32)
    law, reward = rows(game, state(0, carries=3), 2, share=0.05)  # down, to its destination; jam .5
    new = {state(3): 0.2 / 2, **{state(3, fetches=k): 0.8 / 12 for k in TILES}}
    assert_law(law, {**new, state(0, carries=3): 0.5})
    assert reward == pytest.approx(0.5 / 1.5)
    law, reward = rows(game, state(0, carries=3), 2, share=0.5, u=1.0)  # jam .7 (1 + .1)
    assert law[state(0, carries=3)] == pytest.approx(0.77)
    assert reward == pytest.approx(0.23 * 1.25 / 1.5)
    _, reward = rows(game, state(2, carries=5), 2, share=0.0, u=-1.0)  # region 2 pays 1.2 (1 + .25)
    assert reward == pytest.approx(1.0)
    law, reward = rows(game, state(4, fetches=5), 4, share=0.05)  # takes who waits, if not jammed
    assert_law(law, {state(5, carries=2): 0.25, state(5, carries=8): 0.25, state(4, fetches=5): 0.5})
    assert reward == 0
    law, _ = rows(game, state(4), 0, share=0.7)
    assert_law(law, {state(4): 0.2, **{state(4, fetches=k): 0.8 / 6 for k in TILES}})
    law, _ = rows(game, state(1, carries=0), 1, share=0.05)  # off the map
    assert_law(law, {state(1, carries=0): 1.0})


def test_it_starts_anywhere_and_empty(make_game):
    game = make_game("taxi_lite")
    law = game.initial_law.reshape(9, 13)
    assert law[:, 0].tolist() == pytest.approx([1 / 9] * 9)
    assert law[:, 1:].sum() == 0


@pytest.mark.parametrize("population", ["others", "all"])
def test_two_taxis_by_hand(make_game, population):
    game = make_game("taxi_lite", n_agents=2, eps=0.3, population=population)
    states, right = torch.tensor([[state(3), state(4)]]).expand(20_000, 2), torch.full((20_000, 2), 4)
    stays = (game.step(states, right).next_states // 13 == torch.tensor([3, 4])).double().mean(0)
    if population == "others":
        assert stays.tolist() == [0.0, 0.0]  # nobody else is there
    else:
        assert stays.tolist() == pytest.approx([0.91, 0.49], abs=0.015)


def test_sampling_by_the_shares_of_tiles_is_sampling_by_what_is_met(make_game):
    first, second = (make_game("taxi_lite", n_agents=40, seed=2) for _ in range(2))
    states, actions = torch.randint(117, (6, 40)), torch.randint(5, (6, 40))
    by_tiles = first.step(states, actions)
    by_others = second.sample_step(states, actions, second.state_distribution_met(states))
    assert torch.equal(by_tiles.next_states, by_others.next_states)
    assert torch.equal(by_tiles.rewards, by_others.rewards)


@pytest.mark.parametrize("population", ["others", "all"])
def test_one_table_for_all_cells_is_that_of_every_cell_alone(make_game, population):
    game, slow = (make_game("taxi_lite", n_agents=12, population=population) for _ in range(2))
    slow.local_transition = slow.local_reward = False
    random = torch.Generator().manual_seed(0)
    cells = torch.randint(585, (12,), generator=random)
    counts = torch.bincount(cells, minlength=585).double()
    personal, step = torch.tensor(-1.0, dtype=torch.float64), torch.tensor(0)
    held = counts > 0
    for ask in ("own_laws", "own_rewards"):
        fast, expected = (getattr(g, ask)(counts, personal, step)[held] for g in (game, slow))
        assert torch.allclose(fast, expected, atol=1e-12), ask
    others = (counts / 12).reshape(117, 5)
    fast, expected = (g.tables_met(others, personal, step) for g in (game, slow))
    for one, other in zip(fast, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_views(make_game):
    game = make_game("taxi_lite", n_agents=3)
    states = torch.tensor([[state(4), state(8, fetches=0), state(8, carries=8)]])
    population = torch.zeros(1, 117)
    population[0, states[0]] = 1 / 3
    shares = game.on_map(population)
    assert shares.shape == (1, 3, 3)
    assert shares[0].flatten().tolist() == pytest.approx([0, 0, 0, 0, 1 / 3, 0, 0, 0, 2 / 3])
    assert game.parts(states).tolist() == [[[float(s)] for s in states[0].tolist()]]
    features = game.features(game.parts(states), population, torch.tensor([0.5]))
    tile, status, crowd, clock = features[0].split([9, 13, 9, 1], -1)
    assert tile.argmax(-1).tolist() == [4, 8, 8]
    assert status.argmax(-1).tolist() == [0, 1, 12]
    assert crowd[2].tolist() == pytest.approx(shares[0].flatten().tolist())
    assert clock.flatten().tolist() == [0.5] * 3
    moved = torch.tensor([[state(4), state(8, fetches=0), state(7, carries=8)]])
    tallies = game.tallies(states, torch.tensor([[1, 4, 3]]), moved)
    assert tallies["jammed"].tolist() == [[True, False, False]]  # the second moved off the map
    assert tallies["carrying"].tolist() == [[False, False, True]]


def test_online_mirror_descent_finds_its_equilibrium(make_game):
    game = make_game("taxi_lite")
    model = game.mean_field_model()
    uniform = mean_field_exploitability(model, uniform_policy(117, 5)).item()
    assert uniform == pytest.approx(1.843, abs=1e-3)
    logits = torch.zeros(game.horizon, 117, 5, dtype=torch.float64)
    for _ in range(12):
        logits = online_mirror_descent_step(model, logits, step_size=100.0).logits
    found = mean_field_exploitability(model, tabular_policy(torch.softmax(logits, -1))).item()
    assert 0 <= found < 1e-3 * uniform


def test_exploitability_is_that_of_mfglib(make_game):
    import mfglib.alg  # noqa: F401  (first, its modules import one another)
    from mfglib.scoring import exploitability_score

    game = make_game("taxi_lite", n_agents=2, horizon=4, eps=0.0, eps_beta=0.0)
    random = torch.Generator().manual_seed(3)
    policy = torch.softmax(torch.randn(4, 117, 5, generator=random, dtype=torch.float64), -1)
    ours = mean_field_exploitability(game.mean_field_model(), tabular_policy(policy)).item()
    torch.set_default_dtype(torch.float64)  # in which MFGLib computes throughout
    try:
        theirs = exploitability_score(induced_game(game).to_mfglib(), policy)
    finally:
        torch.set_default_dtype(torch.float32)
    assert ours == pytest.approx(float(theirs), abs=1e-9)


@pytest.mark.parametrize("declared", ["local_transition", "local_reward"])
def test_sites_are_held_against_the_tables(make_game, monkeypatch, declared):
    game = make_game("taxi_lite", n_agents=5)
    jam = game._jam
    monkeypatch.setattr(game, "_jam", lambda mu, personal: jam(mu.flip(-2), personal))  # of another tile
    for name in {"local_transition", "local_reward"} - {declared}:
        setattr(game, name, False)
    with pytest.raises(Wrong, match=rf"{declared}, but that of state \d+ moves by"):
        check_tables(Subject(game, draws=0, level=0.0, seed=0))


def test_mean_rewards_are_held_against_the_table(make_game):
    game = make_game("taxi_lite", n_agents=5)
    first, second = game._fares
    game._fares = (first, 0.8 * second)  # of the sampler
    with pytest.raises(Wrong, match=r"the mean reward at .* in reward_table and"):
        check_rewards(Subject(game, draws=15_000, level=1e-6, seed=0))


@pytest.mark.parametrize("eps_beta", [0.0, 0.7])
def test_rewards_that_are_certain_fit_the_table_but_for_rounding(make_game, eps_beta):
    game = make_game("taxi_lite", n_agents=5, eps_beta=eps_beta)
    check_rewards(Subject(game, draws=500, level=1e-6, seed=1))
    one_type = make_game("taxi_lite", n_agents=5, eps_beta=eps_beta)
    first, second = one_type._fares
    one_type._fares = (first * torch.tensor([1, 1, 1, 1, 0.5]), second)  # one agent, one region
    with pytest.raises(Wrong, match=r"the mean reward at .* u = 0 is"):
        check_rewards(Subject(one_type, draws=2_000, level=1e-6, seed=0))
