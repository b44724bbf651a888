"""check_game: every game of ours passes, and a game broken in one way is caught by the check for it."""

import re

import pytest
import torch

from mf_pmd import games
from mf_pmd.errors import UserError
from mf_pmd.games.base import PopulationGame, Step, look_up
from mf_pmd.games.check import FIRST, SECOND, check_game
from mf_pmd.games.checking import packed
from mf_pmd.games.constants import SymmetryConstants

DRAWS = 30_000


class Rooms:
    """Two rooms: action 1 changes room with probability .2 + .5 nu(there) + .1 u; a crowd costs."""

    declared = SymmetryConstants(0.2, 0.1, 0.5, 0.15, 1.5)

    def __init__(self, n_agents=6, **changes):
        settings = {"initial_law": torch.tensor([0.3, 0.7]), "constants": self.declared, "horizon": 4}
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, **{**settings, **changes})

    def transition_table(self, mu, personal):
        leaves = 0.7 - 0.5 * mu.sum(-1) + 0.1 * personal[..., None]  # nu(there) = 1 - nu(here)
        law = mu.new_zeros(*leaves.shape, 2, 2)  # [..., s, a, s']
        for s in range(2):
            law[..., s, 0, s] = 1
            law[..., s, 1, s] = 1 - leaves[..., s]
            law[..., s, 1, 1 - s] = leaves[..., s]
        return law

    def reward_table(self, mu, personal):
        pay = 0.6 - 0.3 * mu.sum(-1) + 0.1 * personal[..., None]
        return pay[..., None].expand(*pay.shape, 2)


class Sound(Rooms, PopulationGame):
    """With a sampler of its own."""

    def sample_step(self, states, actions, others):
        here = look_up(others.diagonal(dim1=-2, dim2=-1), states)
        moves = self.uniforms(states.shape[0]) < (0.7 - 0.5 * here + 0.1 * self.personal) * (actions == 1)
        return Step(torch.where(moves, 1 - states, states), 0.6 - 0.3 * here + 0.1 * self.personal)


class ByTables(Rooms, games.TableGame):
    """From its tables."""


class Bare(Sound):
    """The same without tables."""

    transition_table = PopulationGame.transition_table
    reward_table = PopulationGame.reward_table


BROKEN = []


def breaks(check, because):
    """Register a game that `check` must catch, saying `because`."""

    def register(game):
        BROKEN.append(pytest.param(game, check, because, id=f"{check}-{game.__name__}"))
        return game

    return register


@breaks("sizes", "no distribution")
class LeakingInitialLaw(Sound):
    def __init__(self):
        super().__init__(initial_law=torch.tensor([0.3, 0.6]))


@breaks("sizes", "state_names")
class Misnamed(Sound):
    state_names = ("left", "middle", "right")


@breaks("personal", "not finite")
class UnknownTastes(Sound):
    def __init__(self):
        super().__init__(personal=torch.tensor([1.0, 1, 1, -1, -1, torch.nan]))


@breaks("outputs", "torch.float64")
class DoubleRewards(Sound):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(rewards=step.rewards.double())


@breaks("outputs", "states from 0 to 2")
class ThirdRoom(Sound):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(next_states=step.next_states + (actions == 1))


@breaks("outputs", "shape")
class OneRewardForAll(Sound):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(rewards=step.rewards.mean(1))


@breaks("device", "is on meta")
class TablesElsewhere(Sound):
    def reward_table(self, mu, personal):
        return super().reward_table(mu, personal).to("meta")


@breaks("tables", "sum to 1 but for")
class LeakingTable(Sound):
    def transition_table(self, mu, personal):
        return super().transition_table(mu, personal) * 0.99


@breaks("tables", "beyond 1")
class TooGenerous(Sound):
    def reward_table(self, mu, personal):
        return super().reward_table(mu, personal) + 0.5


@breaks("tables", "reward_table holds values that are not finite at u = ")
class UnknownReward(Sound):
    def reward_table(self, mu, personal):
        return super().reward_table(mu, personal) * torch.tensor([1, torch.nan], dtype=mu.dtype)


@breaks("tables", "transition_table is negative")
class NegativeTable(Sound):
    def transition_table(self, mu, personal):
        shift = torch.tensor([-0.5, 0.5], dtype=mu.dtype)  # rows still sum to 1
        return super().transition_table(mu, personal) + shift


@breaks("tables", "differs from that of each alone")
class MeanOfTheBatch(Sound):
    def reward_table(self, mu, personal):
        mean = mu.reshape(-1, 2, 2).mean(0)
        return super().reward_table(mean, personal).expand(mu.shape)


@breaks("initial law", "does not draw")
class AnotherStart(Sound):
    def reset(self, batch_size):
        return (self.uniforms(batch_size) < 0.68).long()


@breaks("initial law", "not independent")
class TogetherAtFirst(Sound):
    def __init__(self):
        super().__init__(n_agents=40)

    def reset(self, batch_size):
        draws = torch.rand(batch_size, 1, generator=self.generator)
        return (draws < 0.7).long().expand(-1, self.n_agents).clone()


@breaks("laws", "u = -1")
class LawOfOneType(Sound):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        slips = (self.uniforms(states.shape[0]) < 0.1) & (self.personal < 0) & (actions == 1)
        return step._replace(next_states=torch.where(slips, states, step.next_states))


@breaks("laws", "probability zero")
class Restless(Sound):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        slips = self.uniforms(states.shape[0]) < 0.001
        return step._replace(next_states=torch.where(slips, 1 - states, step.next_states))


@breaks("rewards", "s = 1, a = 0")
class RewardOfOneCell(Sound):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(rewards=step.rewards + 1e-3 * (states == 1) * (actions == 0))


@breaks("rewards", "not in [0, 1]")
class Fines(Bare):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(rewards=step.rewards - 0.5)


@breaks("rewards", "not finite")
class UnknownPay(Bare):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(rewards=step.rewards * torch.nan)


@breaks("others", "state_distribution_met is off")
class MeetsItself(Bare):
    def state_distribution_met(self, states):
        share = torch.nn.functional.one_hot(states, 2).float().mean(1)
        return share[:, None].expand(-1, 2, 2)


class MistakesWhomItMeets(ByTables):
    """Rows at the population that an agent does not meet."""

    def _own_rows(self, *arguments, **keywords):
        declared = self.population
        self.population = "all" if declared == "others" else "others"
        try:
            return super()._own_rows(*arguments, **keywords)
        finally:
            self.population = declared


@breaks("others", "counts itself")
class MeetsItselfByTables(MistakesWhomItMeets):
    pass


@breaks("others", "leaves itself out")
class LeavesItselfOut(MistakesWhomItMeets):
    def __init__(self):
        super().__init__(population="all")


@breaks("batch", "pays")
class SharedCrowd(Bare):
    def sample_step(self, states, actions, others):
        return super().sample_step(states, actions, others.mean(0, keepdim=True).expand_as(others))


@breaks("batch", "moves otherwise")
class SharedLuck(Bare):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(next_states=torch.where(states.float().mean() > 0.5, step.next_states, states))


@breaks("memory", "pay")
class Inflation(Bare):
    steps = 0

    def sample_step(self, states, actions, others):
        self.steps += 1
        step = super().sample_step(states, actions, others)
        return step._replace(rewards=step.rewards * 0.999**self.steps)


@breaks("memory", "agents move otherwise")
class RestsEveryOtherEpisode(Bare):
    resets = 0

    def reset(self, batch_size):
        self.resets += 1
        return super().reset(batch_size)

    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        return step._replace(next_states=states) if self.resets % 2 else step


@breaks("seed", "same seed")
class GlobalLuck(Sound):
    def uniforms(self, batch_size):
        return torch.rand(batch_size, self.n_agents)


@breaks("seed", "different seeds")
class OneEpisode(Sound):
    def reset(self, batch_size):
        self.generator.manual_seed(0)
        return super().reset(batch_size)


@breaks("global randomness", "torch")
class Wasteful(Sound):
    def sample_step(self, states, actions, others):
        torch.rand(1)
        return super().sample_step(states, actions, others)


@breaks("inputs", "states")
class InPlace(Bare):
    def sample_step(self, states, actions, others):
        step = super().sample_step(states, actions, others)
        states.copy_(step.next_states)
        return step


@breaks("inputs", "mu")
class Normalises(Sound):
    def reward_table(self, mu, personal):
        pay = super().reward_table(mu.clone(), personal)
        mu *= 0.5
        return pay


def declaring(field, value):
    """The sound game with one constant declared too small."""
    return type(f"Small_{field}", (Sound,), {"declared": Sound.declared._replace(**{field: value})})


for constant, value in Sound.declared._asdict().items():
    if constant != "monotone":
        breaks("constants", f"{constant} = ")(declaring(constant, 0.5 * value))


@pytest.mark.parametrize("key", sorted(games.REGISTRY))
@pytest.mark.parametrize(
    "changes", [{}, {"n_agents": 5}, {"n_agents": 6, "population": "all"}], ids=["default", "5", "all"]
)
def test_every_game_of_ours_passes(make_game, key, changes):
    game = make_game(key, **changes)
    report = check_game(game, draws=DRAWS if game.n_places < 100 else DRAWS // 10)
    assert report.passed, str(report)
    ours = FIRST | SECOND if isinstance(game, PopulationGame) else packed.FIRST | packed.SECOND
    assert [finding.check for finding in report.findings] == list(ours)
    assert all(finding.passed for finding in report.findings)


@pytest.mark.parametrize("game", [Sound, ByTables, Bare])
@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize("seed", range(3))
def test_sound_games_pass(game, population, seed):
    report = check_game(game(population=population), draws=DRAWS, seed=seed)
    assert report.passed, str(report)


@pytest.mark.parametrize(("game", "check", "because"), BROKEN)
def test_a_broken_game_is_caught(game, check, because):
    report = check_game(game(), draws=DRAWS)
    found = {finding.check: finding.message for finding in report.failures}
    assert check in found, str(report)
    assert because in found[check]


def test_every_check_has_a_game_that_it_catches():
    assert {param.values[1] for param in BROKEN} == set(FIRST | SECOND)


def test_constants_are_measured_where_they_are_tight():
    (finding,) = (f for f in check_game(Sound(), draws=100).findings if f.check == "constants")
    assert "alpha 0.2 <= 0.2" in finding.message
    assert "lipschitz_reward 0.15 <= 0.15" in finding.message


def test_constants_that_are_not_declared_are_bounded_from_below():
    finding = check_game(Sound(constants=None), draws=100).findings[-1]
    assert finding.passed is None
    assert "alpha 0.2, beta 0.1, lipschitz_transition 0.5, lipschitz_reward 0.15" in finding.message


def test_many_tastes_are_sampled():
    report = check_game(Sound(9, personal=torch.linspace(-1, 1, 9)), draws=DRAWS)
    assert report.passed, str(report)


def test_a_game_without_tables_is_checked_for_what_can_be_told():
    report = check_game(Bare(), draws=DRAWS)
    silent = {finding.check for finding in report.findings if finding.passed is None}
    assert silent == {"tables", "laws", "constants"}


def test_a_game_without_chance_needs_no_second_seed():
    class Certain(games.TableGame):
        def __init__(self):
            super().__init__(
                n_agents=4, n_states=2, n_actions=2, horizon=2, initial_law=torch.tensor([1.0, 0.0])
            )

        def transition_table(self, mu, personal):
            return torch.eye(2, dtype=mu.dtype).expand(*mu.shape[:-2], 2, 2, 2)

        def reward_table(self, mu, personal):
            return 1 - mu

    assert check_game(Certain(), draws=1000).passed


def test_the_game_is_left_as_it_was():
    game, twin = Sound(seed=5), Sound(seed=5)
    check_game(game, draws=1000)
    assert torch.equal(game.reset(3), twin.reset(3))


def test_an_error_of_the_author_is_a_finding():
    class Typo(Sound):
        def sample_step(self, states, actions, others):
            return self.smaple(states)

    report = check_game(Typo(), draws=1000)
    assert "AttributeError" in report.failures[0].message
    assert "not tried" in report.findings[-1].message


@pytest.mark.parametrize(
    ("thing", "what"), [(3, "of type int"), (None, "of type NoneType"), (Sound, "the class Sound")]
)
def test_what_is_no_game_is_refused_in_one_line(thing, what):
    with pytest.raises(UserError, match=rf"^game is {what}: check_game needs a population game") as caught:
        check_game(thing)
    assert "\n" not in str(caught.value)


def test_the_report_can_be_read_and_raised():
    check_game(Sound(), draws=1000).raise_if_failed()
    report = check_game(TooGenerous(), draws=1000)
    assert "TooGenerous with 6 agents" in str(report)
    assert "WRONG tables" in str(report)
    with pytest.raises(UserError, match=r"TooGenerous.*tables: reward_table reaches"):
        report.raise_if_failed()


def test_a_law_of_float32_is_a_distribution():
    class Thirds(Sound):
        def __init__(self):
            super().__init__(initial_law=torch.tensor([0.2, 0.8]) / torch.tensor(1.0000001))

    law = Thirds().initial_law
    assert law.dtype == torch.float64
    assert law.sum().item() == pytest.approx(1, abs=1e-15)
    assert check_game(Thirds(), draws=2000).passed


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("fixed_transition", "rows of transition_table move by"),
        ("local_reward", r"that of state \d moves by .* with others"),
    ],
)
def test_what_is_declared_of_the_tables_is_held_against_them(make_game, declared, message):
    game = make_game("a_sis" if declared == "fixed_transition" else "a_rps", n_agents=5)
    setattr(game, declared, True)
    (finding,) = games.check_game(game, draws=100).failures
    assert finding.check == "tables"
    assert re.search(f"{declared}, but {message}", finding.message)
    truthful = make_game("a_beach", n_agents=5)
    truthful.fixed_transition = truthful.local_reward = True
    assert games.check_game(truthful, draws=100).passed
