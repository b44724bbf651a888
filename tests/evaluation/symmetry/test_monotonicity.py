"""Which games are monotone, and that a wrong claim is refused."""

import pytest
import torch

from mf_pmd.evaluation.symmetry.monotonicity import game_monotonicity
from mf_pmd.evaluation.symmetry.sampled import sampled_symmetry
from mf_pmd.games import TableGame, check_game
from mf_pmd.games.constants import SymmetryConstants


@pytest.mark.parametrize(("key", "monotone"), [("a_sis", False), ("a_rps", False), ("a_beach", True)])
@pytest.mark.parametrize("population", ["others", "all"])
def test_our_games_are_what_they_declare(make_game, key, monotone, population):
    game = make_game(key, population=population)
    found = game_monotonicity(game)
    assert found.monotone is monotone is game.constants.monotone
    assert found.note


class Crowd(TableGame):
    """P free of mu; a state pays 1/2 plus ``taste`` times its crowd's share, raised to ``power``."""

    def __init__(self, *, taste, power=1, monotone=None, n_states=2, moved=0.0):
        self.taste, self.power, self.moved = taste, power, moved
        super().__init__(
            n_agents=6,
            n_states=n_states,
            n_actions=1,
            horizon=2,
            initial_law=torch.full((n_states,), 1 / n_states, dtype=torch.float64),
            constants=SymmetryConstants(0.0, 0.0, 1.0, 1.0, 3.0, monotone),
        )

    def transition_table(self, mu, personal):
        law = torch.full((*mu.shape[:-2], self.n_states, 1, self.n_states), 1 / self.n_states).to(mu)
        shift = self.moved * mu[..., 0, 0, None, None] + 0 * personal[..., None, None]
        law = law.expand(*shift.shape[:-2], *law.shape[-3:]).clone()
        law[..., 0] += shift
        law[..., 1] -= shift
        return law

    def reward_table(self, mu, personal):
        return 0.5 + self.taste * mu**self.power + 0 * personal[..., None, None]


@pytest.mark.parametrize(
    ("settings", "monotone"),
    [
        ({"taste": -0.3}, True),
        ({"taste": 0.0}, True),
        ({"taste": 0.3}, False),
        ({"taste": 0.3, "power": 2}, False),
        ({"taste": -0.3, "power": 2}, None),
        ({"taste": -0.3, "moved": 0.1}, False),
    ],
)
def test_told_and_not_told(settings, monotone):
    assert game_monotonicity(Crowd(**settings)).monotone is monotone


def test_many_cells_are_looked_at_without_their_corners():
    found = game_monotonicity(Crowd(taste=-0.3, n_states=300))
    assert found.monotone is None
    assert game_monotonicity(Crowd(taste=0.3, n_states=300)).monotone is False


class Turning(Crowd):
    """Monotone at every step but one."""

    time_dependent = True

    def __init__(self, *, horizon, turn):
        super().__init__(taste=-0.3)
        self.horizon, self.turn, self.constants = horizon, turn, None

    def transition_table(self, mu, personal, steps):
        return super().transition_table(mu, personal + 0 * steps)

    def reward_table(self, mu, personal, steps):
        taste = torch.where(steps == self.turn, 0.3, -0.3)[..., None, None]
        return 0.5 + taste * mu + 0 * personal[..., None, None]


def test_a_step_that_is_not_monotone_is_found():
    found = game_monotonicity(Turning(horizon=50, turn=7))  # of six steps, none is the seventh
    assert found.monotone is False
    assert found.note.startswith("at step 7: ")
    found = game_monotonicity(Turning(horizon=50, turn=-1))
    assert found.monotone is True
    assert found.note.startswith("at all 50 steps, ")


def test_of_too_many_steps_it_is_not_told():
    found = game_monotonicity(Turning(horizon=1000, turn=501))
    assert found.monotone is None
    assert found.note.startswith("200 of 1000 steps were looked at (0 to 999), and are: ")


def test_sampled_steps_do_not_tell_of_the_rest():
    found = sampled_symmetry(Turning(horizon=50, turn=7), n_populations=3)
    assert found.monotone is None
    assert found.monotone_note.startswith("6 of 50 steps were looked at (0, 10, 20, 29, 39, 49), and are: ")
    assert sampled_symmetry(Turning(horizon=6, turn=-1), n_populations=3).monotone is True


def verdict(**settings):
    report = check_game(Crowd(**settings), draws=2_000)
    return next(finding for finding in report.findings if finding.check == "constants")


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ({"taste": 0.3}, "v R v is at most"),
        ({"taste": 0.3, "power": 2}, "sum (R(mu) - R(mu')) (mu - mu')"),
        ({"taste": -0.3, "moved": 0.1}, "P depends on mu"),
    ],
)
def test_a_claim_that_is_violated_is_refused(settings, because):
    found = verdict(monotone=True, **settings)
    assert found.passed is False
    assert found.message.startswith("monotone = True, but ")
    assert because in found.message


@pytest.mark.parametrize(
    "settings",
    [
        {"taste": 0.3, "monotone": None},
        {"taste": 0.3, "monotone": False},
        {"taste": -0.3, "monotone": True},
        {"taste": -0.3, "power": 2, "monotone": True},
        {"taste": -0.3, "monotone": None},
    ],
)
def test_nothing_is_said_otherwise(settings):
    found = verdict(**settings)
    assert found.passed is True
    assert "monotone" not in found.message
