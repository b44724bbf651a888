"""Which games have maps, and where on them their places lie."""

import pytest
import torch

from mf_pmd.errors import UserError

SHAPES = {
    "beach_bar": (1, 4),
    "linear_quadratic": (1, 11),
    "crowd_motion": (20, 20),
    "building_evacuation": (10, 50),
    "left_right": None,
    "random_linear": None,
}


@pytest.fixture
def mfglib_game(make_game):
    pytest.importorskip("mfglib")
    from mf_pmd.games.mfglib_game import make_mfglib

    return lambda key, **knobs: make_mfglib(key, n_agents=5, population="all", knobs=knobs)


@pytest.mark.parametrize("key", SHAPES)
def test_mfglib_grids_have_maps(mfglib_game, key):
    game = mfglib_game(key)
    assert game.map_shape == SHAPES[key]
    if game.map_shape is None:
        with pytest.raises(UserError, match=r"has no map: .* population\.png"):
            game.on_map(torch.ones(game.n_places))
        return
    everyone = torch.arange(2.0 * game.n_places).reshape(2, -1)
    drawn = game.on_map(everyone)
    assert drawn.shape == (2, *game.map_shape)
    assert drawn.flatten(1).sort(1).values.equal(everyone)  # every place is one tile


def test_floors_lie_side_by_side(mfglib_game):
    game = mfglib_game("building_evacuation", n_floor=3, floor_l=2, floor_w=4)
    assert game.map_shape == (2, 12)
    population = torch.zeros(3, 2, 4)
    population[1, 0, 2] = 1.0
    assert game.on_map(population.flatten()).nonzero().tolist() == [[0, 4 + 2]]
    assert game.map_regions == ((0,) * 4 + (1,) * 4 + (2,) * 4,) * 2


def test_a_beach_is_a_strip(make_game):
    game = make_game("a_beach", n_agents=4, n_sites=6)
    assert game.on_map(torch.arange(6.0)).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_a_game_without_a_map_names_the_picture_that_it_has(make_game):
    with pytest.raises(UserError, match=r"ASIS has no map: .* population\.png"):
        make_game("a_sis", n_agents=4).on_map(torch.ones(2))


@pytest.mark.parametrize("key", ["a_sis", "a_beach"])
def test_games_tally_nothing_unless_they_say_so(make_game, key):
    game = make_game(key, n_agents=4)
    states = game.reset(2)
    assert game.tallies(states, states, states) == {}
