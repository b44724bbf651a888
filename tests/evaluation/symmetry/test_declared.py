"""What games declare, with the kind of number it is."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.evaluation.symmetry.declared import declared_symmetry
from mf_pmd.evaluation.symmetry.record import CONSTANTS, DECLARED, EXACT, UPPER
from mf_pmd.games import SymmetryConstants, TableGame
from mf_pmd.games.base import PopulationGame


@pytest.mark.parametrize("key", ["a_sis", "a_rps", "a_beach"])
@pytest.mark.parametrize("population", ["others", "all"])
def test_it_is_what_the_game_says(make_game, key, population):
    game = make_game(key, population=population)
    found = declared_symmetry(game)
    for name in CONSTANTS[:4]:
        assert getattr(found, name).value == getattr(game.constants, name)
    # L_pop = 1.62 is L_P + .81, an upper bound; the tables' own is 1.51
    slopes = {"a_sis": 1.51, "a_rps": 1.0, "a_beach": 1.0}
    assert found.lipschitz_population.value == pytest.approx(slopes[key])
    assert found.certifies
    assert not found.hearsay
    assert found.monotone is game.constants.monotone
    assert found.method == "closed form"


@pytest.mark.parametrize(
    ("key", "population", "bounds"),
    [
        ("a_sis", "others", set()),
        ("a_sis", "all", {"alpha"}),
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
        assert found.lipschitz_population.where == "P is affine in mu, the game declares 1.62"


def test_on_a_short_beach_no_two_sites_are_apart(make_game):
    found = declared_symmetry(make_game("a_beach", n_sites=4)).lipschitz_population
    assert found == (pytest.approx(0.8), EXACT, "P is affine in mu, the game declares 1")


class Own(TableGame):
    """alpha .2, beta 0, L_P .2, L_R .5, L_pop .2, the slopes of P at one loud step alone if there is one."""

    def __init__(self, *declared, loud=None, horizon=10, slope=0.2, personal=None):
        self.time_dependent, self.loud, self.slope = loud is not None, loud, slope
        super().__init__(
            n_agents=40,
            n_states=2,
            n_actions=1,
            horizon=horizon,
            initial_law=torch.tensor([0.5, 0.5]),
            constants=SymmetryConstants(*declared),
            personal=personal,
        )

    def transition_table(self, mu, personal, steps=0):
        crowd = mu.sum(-1)[..., 0]
        moved = self.slope if self.loud is None else self.slope * (torch.as_tensor(steps) == self.loud)
        out = 0.4 + moved * crowd + 0.1 * personal
        return torch.stack([out, 1 - out], -1)[..., None, None, :].expand(*out.shape, 2, 1, 2)

    def reward_table(self, mu, personal, steps=0):
        crowd = mu.sum(-1)[..., 0] + 0 * personal + 0 * torch.as_tensor(steps)
        return torch.stack([1 - crowd, crowd], -1)[..., None]


def test_what_a_game_of_an_authors_own_declares_is_called_so():
    found = declared_symmetry(Own(0.2, 0.0, 0.2, 0.5, 0.3))
    assert {getattr(found, name).kind for name in CONSTANTS} == {DECLARED}
    assert found.certifies
    assert found.hearsay
    slope = found.lipschitz_population
    assert slope == (0.3, DECLARED, "by the corners 0.2, P is affine in mu as far as seen")
    assert declared_symmetry(Own(0.2, 0.0, 0.2, 0.5, 0.2)).lipschitz_population.where == ""


@pytest.mark.parametrize(
    ("declared", "seen"),
    [
        ((0.0, 0.0, 0.2, 0.5, 0.3), "alpha = 0, but 0.2 was seen"),
        ((0.2, 0.0, 0.1, 0.5, 0.3), "lipschitz_transition = 0.1, but "),
        ((0.2, 0.0, 0.2, 0.4, 0.3), "lipschitz_reward = 0.4, but "),
        ((0.2, 0.0, 0.2, 0.5, 0.1), "lipschitz_population = 0.1, but "),
    ],
)
def test_what_the_tables_exceed_is_refused(declared, seen):
    with pytest.raises(UserError, match=r"^Own declares constants that its tables exceed: ") as refused:
        declared_symmetry(Own(*declared))
    assert seen in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_the_corners_exceed_is_refused(make_game):
    game = make_game("a_sis")
    game.constants = game.constants._replace(lipschitz_population=1.5099)  # sampled moves come near it
    with pytest.raises(UserError, match=r"lipschitz_population = 1\.5099, but 1\.51 is met at the corners"):
        declared_symmetry(game)


def test_a_step_that_exceeds_them_is_named():
    with pytest.raises(UserError, match=r"at step 9: lipschitz_transition = 0, but"):
        declared_symmetry(Own(0.2, 0.0, 0.0, 0.5, 0.3, loud=9))


@pytest.mark.parametrize("monotone", [True, None])
def test_a_law_that_may_move_is_not_monotone(monotone):
    # rewards of the less crowded pay more, laws stand still, but are declared to move
    found = declared_symmetry(Own(0.2, 0.0, 0.1, 0.5, 0.3, monotone, slope=0.0))
    assert found.monotone is None
    assert found.monotone_note.endswith("but L_P = 0.1 > 0 is declared too")
    assert declared_symmetry(Own(0.2, 0.0, 0.0, 0.5, 0.3, monotone, slope=0.0)).monotone is True


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
