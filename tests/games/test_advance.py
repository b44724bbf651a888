"""``advance``, the step as a function of its draws: equal to ``step`` bit for bit, in any integer type."""

import pytest
import torch

from mf_pmd import games
from mf_pmd.errors import UserError
from mf_pmd.functional import parts
from mf_pmd.functional.distributions import count_values, others_distribution
from mf_pmd.games import REGISTRY, Step, TableGame, advances
from mf_pmd.games.a_beach import ABeach
from mf_pmd.runners.stepper import Stepper

SMALL = {"n_agents": 40, "horizon": 4}
KEYS = sorted(REGISTRY)


def played(game, n_steps=6, batch_size=3, advance=False, dtype=torch.int64):
    """States, actions drawn apart, and rewards of some steps."""
    random = torch.Generator().manual_seed(1)
    states, found = game.reset(batch_size).to(dtype), []
    for h in range(min(n_steps, game.horizon)):
        actions = torch.randint(game.n_actions, states.shape, generator=random).to(dtype)
        if advance:
            counts = count_values(game.places(states), game.n_places)
            step = game.advance(states, actions, counts, game.draws(batch_size), h)
        else:
            step = game.step_at(h, states, actions)
        assert step.next_states.dtype == dtype
        states = step.next_states
        found += [states.long(), step.rewards]
    return found


@pytest.mark.parametrize("n_agents", [40, 41])  # of an odd number one agent is as the induced game has it
@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize("key", KEYS)
def test_every_game_advances_as_it_steps(make_game, key, population, n_agents):
    changes = SMALL | {"population": population, "n_agents": n_agents}
    assert advances(make_game(key, **changes))
    expected = played(make_game(key, **changes))
    assert len(expected) == 8
    for dtype in {torch.int64, make_game(key, **changes).state_type}:
        found = played(make_game(key, **changes), advance=True, dtype=dtype)
        assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@pytest.mark.parametrize("at_once", [1, 7, 50])  # parts of an episode's agents; one episode; some
@pytest.mark.parametrize("key", [*KEYS, "beach_bar"])
def test_agents_who_advance_in_parts_advance_as_ever(make_game, monkeypatch, key, at_once):
    def make():
        if key in REGISTRY:
            return make_game(key, n_agents=21, horizon=4)
        return games.make(key, n_agents=21, population="others", knobs={}, seed=0)

    expected = played(make(), 3, batch_size=5, advance=True, dtype=make().state_type)
    monkeypatch.setattr(parts, "AGENTS_AT_ONCE", at_once)
    for advance, dtype in ((True, make().state_type), (False, torch.int64)):
        found = played(make(), 3, batch_size=5, advance=advance, dtype=dtype)
        assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@pytest.mark.parametrize("key", ["beach_bar", "susceptible_infected"])
@pytest.mark.parametrize("n_agents", [40, 41])
@pytest.mark.parametrize("population", ["others", "all"])
def test_a_game_of_mfglib_advances_as_it_steps(key, population, n_agents):
    def make():
        return games.make(key, n_agents=n_agents, population=population, knobs={}, seed=0)

    game = make()
    assert advances(game)
    assert isinstance(game, TableGame)
    assert game.population == population
    found = played(game, 3, advance=True, dtype=game.state_type)
    expected = played(make(), 3)
    assert len(expected) == 6
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def literal_beach(game, states, actions, draws):
    """A-Beach's step as its definition reads, in int64."""
    others = others_distribution(count_values(states, game.n_states).float())
    crowd = torch.diagonal(others, dim1=-2, dim2=-1)
    probability = game.noise + game.eps * game.personal
    blown = (draws < probability / 2).long() - (draws >= 1 - probability / 2).long()
    own = game._own_reward().float()[states, actions]
    aversion = game.c3 * (1 + game.eps_beta * game.personal)
    return Step(
        (states + actions - 1 + blown) % game.n_states, own + aversion * (1 - crowd.gather(1, states))
    )


@pytest.mark.parametrize("n_sites", [3, 10, 252, 253, 300])  # the last two beyond uint8
def test_a_ring_of_any_size_is_walked_as_the_definition_says(make_game, n_sites):
    game = make_game("a_beach", n_sites=n_sites, n_agents=2000, noise=0.6, eps=0.3)
    assert game.state_type is (torch.uint8 if n_sites <= 252 else torch.int16)
    random = torch.Generator().manual_seed(0)
    states = torch.randint(n_sites, (2, 2000), generator=random)
    states[:, :400], states[:, 400:800] = 0, n_sites - 1
    actions, draws = torch.randint(3, (2, 2000), generator=random), torch.rand(2, 2000, generator=random)
    expected = literal_beach(game, states, actions, draws)
    kind = game.state_type
    found = game.advance(states.to(kind), actions.to(kind), count_values(states, n_sites), draws)
    assert found.next_states.dtype is kind
    assert torch.equal(found.next_states.long(), expected.next_states)
    assert torch.equal(found.rewards, expected.rewards)


def test_two_agents_by_hand(make_game):
    # p = .2 + .05 u: agent 1 (u = 1) has .25, agent 2 (u = -1) has .15; bar at 5, D = 5
    game = make_game("a_beach", n_agents=2)

    def advance(states, actions, draws):
        states = torch.tensor([states])
        return game.advance(states, torch.tensor([actions]), count_values(states, 10), torch.tensor([draws]))

    apart = advance([4, 0], [2, 0], [0.124, 0.926])
    assert apart.next_states.tolist() == [[6, 8]]  # 4 + 1, blown right; 0 - 1, blown left: round the ring
    # near: 1 - 1 / 5 and 1 - 5 / 5; nobody stands still; nobody beside: .4 (1 + .25) and .4 (1 - .25)
    assert apart.rewards[0].tolist() == pytest.approx([0.4 * 0.8 + 0.5, 0.3])
    assert advance([4, 0], [2, 0], [0.126, 0.924]).next_states.tolist() == [[5, 9]]
    together = advance([5, 5], [1, 1], [0.5, 0.5])
    assert together.next_states.tolist() == [[5, 5]]
    assert together.rewards[0].tolist() == pytest.approx([0.5, 0.5])  # .4 + .1: the other is all the others


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"taxi_lite", "a_taxi"}))
def test_a_step_waits_for_no_device(make_game, key):
    # a meta tensor has no values: whatever waits for one raises
    game = make_game(key, **SMALL)
    for name, value in vars(game).items():
        if isinstance(value, torch.Tensor):
            setattr(game, name, value.to("meta"))
    states = torch.empty(3, 40, dtype=game.state_type, device="meta")
    counts, draws = count_values(states, game.n_places), torch.empty(3, 40, device="meta")
    step = game.advance(states, states, counts, draws)
    assert step.next_states.shape == step.rewards.shape == (3, 40)


class Frozen(ABeach):
    """A beach of one's own whose agents stay where they are."""

    def sample_step(self, states, actions, others):
        return Step(states, torch.zeros(states.shape))


def test_a_subclass_with_a_step_of_its_own_is_not_advanced(make_game):
    knobs = {
        name: getattr(make_game("a_beach"), name) for name in ("c1", "c2", "c3", "noise", "eps", "eps_beta")
    }
    own = Frozen(**SMALL, n_sites=10, bar=None, population="others", **knobs)
    assert advances(make_game("a_beach"))
    assert not advances(own)


@pytest.mark.parametrize("name", ["draws", "uniforms", "step", "places", "distribution_met"])
def test_whatever_a_step_is_made_of_may_be_one_s_own(make_game, name):
    game = make_game("a_beach", **SMALL)
    assert advances(game)
    game.__class__ = type("Own", (ABeach,), {name: getattr(ABeach, name)})
    assert not advances(game)


@pytest.mark.parametrize("name", ["draws", "step", "sample_step"])
def test_an_instance_may_have_a_step_of_its_own(make_game, name):
    game = make_game("a_beach", **SMALL)
    setattr(game, name, getattr(make_game("a_beach", **SMALL), name))
    assert not advances(game)
    game.advance = game.advance  # by whoever knows what the step is now
    assert advances(game)


@pytest.mark.parametrize("name", ["step", "reset"])
def test_an_instance_whose_step_is_its_own_is_not_counted(make_game, name):
    game, other = (make_game("a_beach", **SMALL) for _ in range(2))
    assert games.require_countable(game, "a_beach") is game
    own = getattr(other, name)
    setattr(game, name, lambda *args: own(*args))
    with pytest.raises(UserError, match=f"its {name} is its own"):
        games.require_countable(game, "a_beach")


def test_what_stands_in_for_a_game_is_asked_for_steps(make_game):
    class Watched:
        """Hands everything on to a game, one whose step is its own."""

        def __init__(self, game):
            self.game = game

        def __getattr__(self, name):
            return getattr(self.game, name)

    own = make_game("a_beach", **SMALL)
    own.__class__ = type("Own", (ABeach,), {"sample_step": Frozen.sample_step})
    watched = Watched(own)
    assert not advances(watched)
    states = Stepper(watched).reset(2)
    step = Stepper(watched).step(0, states, torch.zeros(2, 40, dtype=torch.uint8), None)
    assert torch.equal(step.next_states, states)  # frozen


def test_types_of_agents_are_found_anew_when_they_change():
    class Pair(TableGame):
        def __init__(self):
            law = torch.tensor([1.0, 0.0])
            super().__init__(n_agents=6, n_states=2, n_actions=1, horizon=2, initial_law=law)

        def transition_table(self, mu, personal):
            moves = (personal > 0).to(mu.dtype)[..., None, None] + 0 * mu
            return torch.stack([1 - moves, moves], -1)

        def reward_table(self, mu, personal):
            return 0 * mu + (personal > 0).to(mu.dtype)[..., None, None]

    game, zeros = Pair(), torch.zeros(2, 6, dtype=torch.int64)
    assert game.types() is game.types()
    assert game.step(zeros, zeros).next_states.tolist() == [[1, 1, 1, 0, 0, 0]] * 2
    game.personal.neg_()  # in place
    assert game.step(zeros, zeros).next_states.tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    game.personal = torch.ones(6)
    assert game.step(zeros, zeros).rewards.tolist() == [[1.0] * 6] * 2
