"""What games declare, with the kind of number it is."""

import pytest

from mf_pmd.errors import UserError
from mf_pmd.evaluation.symmetry.declared import declared_symmetry
from mf_pmd.evaluation.symmetry.record import CONSTANTS, EXACT, UPPER
from mf_pmd.games.base import PopulationGame


@pytest.mark.parametrize("key", ["a_sis", "a_rps", "a_beach"])
@pytest.mark.parametrize("population", ["others", "all"])
def test_it_is_what_the_game_says(make_game, key, population):
    game = make_game(key, population=population)
    found = declared_symmetry(game)
    for name in CONSTANTS:
        assert getattr(found, name).value == getattr(game.constants, name)
    assert found.monotone is game.constants.monotone
    assert found.method == "closed form"


@pytest.mark.parametrize(
    ("key", "population", "bounds"),
    [
        # L_pop = 1.62 is L_P + .81; the tables' own is 1.51
        ("a_sis", "others", {"lipschitz_population"}),
        ("a_sis", "all", {"alpha", "lipschitz_population"}),
        ("a_rps", "others", set()),
        ("a_rps", "all", {"beta"}),
        ("a_beach", "others", set()),
        ("a_beach", "all", {"beta"}),
    ],
)
def test_upper_bounds_are_called_so(make_game, key, population, bounds):
    found = declared_symmetry(make_game(key, population=population))
    kinds = {name: getattr(found, name).kind for name in CONSTANTS}
    assert {name for name, kind in kinds.items() if kind == UPPER} == bounds
    assert {name for name, kind in kinds.items() if kind == EXACT} == set(CONSTANTS) - bounds
    if key == "a_sis":
        assert "1.51 by its corners" in found.lipschitz_population.where


def test_on_a_short_beach_no_two_sites_are_apart(make_game):
    found = declared_symmetry(make_game("a_beach", n_sites=4)).lipschitz_population
    assert (found.value, found.kind) == (1.0, UPPER)


def test_monotonicity_that_is_not_declared_is_looked_up(make_game):
    for key, monotone in (("a_sis", False), ("a_rps", False), ("a_beach", True)):
        game = make_game(key)
        game.constants = game.constants._replace(monotone=None)
        assert declared_symmetry(game).monotone is monotone


def test_a_game_that_declares_nothing(make_game):
    game = make_game("a_sis")
    game.constants = None
    with pytest.raises(UserError, match=r"^A game without constants has no closed form .*give ASIS"):
        declared_symmetry(game)


def test_a_game_without_tables(make_game):
    game = make_game("a_sis")

    class Bare(type(game)):
        transition_table = PopulationGame.transition_table

    game.__class__ = Bare
    with pytest.raises(UserError, match=r"^A game without tables has no closed form") as refused:
        declared_symmetry(game)
    assert "\n" not in str(refused.value)
