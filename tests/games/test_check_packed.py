"""check_game of games without numbered states: that of the docs passes, and broken ones are caught."""

import re
import sys
import types
from pathlib import Path

import pytest
import torch

from mf_pmd import games
from mf_pmd.errors import UserError
from mf_pmd.games import check_game
from mf_pmd.games.checking import packed

PAGE = Path(__file__).parents[2] / "docs" / "your-own-game.md"
CODE = next(c for c in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "Couriers" in c)
module = types.ModuleType("couriers_of_the_docs")
sys.modules[module.__name__] = module
exec(compile(CODE, str(PAGE), "exec"), module.__dict__)
SETTINGS = {"horizon": 20, "spread": 0.2, "population": "others"}
BROKEN = []


class Sound(module.Couriers):
    def __init__(self, n_agents=6, **changes):
        super().__init__(n_agents=n_agents, **{**SETTINGS, **changes})


def breaks(check, because):
    """Register a game that `check` must catch, saying `because`."""

    def register(game):
        BROKEN.append(pytest.param(game, check, because, id=f"{check}-{game.__name__}"))
        return game

    return register


@breaks("sizes", "n_features = None")
class Featureless(Sound):
    n_features = None


@breaks("sizes", "has_tables")
class SaysItHasTables(Sound):
    has_tables = True


@breaks("personal", "not finite")
class UnknownTastes(Sound):
    def __init__(self):
        super().__init__()
        self.personal = self.personal * torch.nan


@breaks("outputs", "torch.int32")
class SmallIntegers(Sound):
    def reset(self, batch_size):
        return super().reset(batch_size).int()


@breaks("outputs", "torch.float64")
class DoubleRewards(Sound):
    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        return step._replace(rewards=step.rewards.double())


@breaks("outputs", "not in [0, 1]")
class Fines(Sound):
    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        return step._replace(rewards=step.rewards - 0.5)


@breaks("outputs", "not finite")
class UnknownPay(Sound):
    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        return step._replace(rewards=step.rewards / (actions != 1))


@breaks("device", "what parts returns is on meta")
class PartsElsewhere(Sound):
    def parts(self, states):
        return super().parts(states).to("meta")


@breaks("places", "places from 0 to 8")
class NinthPlace(Sound):
    def places(self, states):
        return super().places(states) + (super().places(states) == 7).long()


@breaks("places", "do not lie on a map")
class WrongMap(Sound):
    map_shape = (3, 3)


@breaks("places", "loses or makes agents")
class LeakyMap(Sound):
    map_shape = (2, 4)

    def on_map(self, population):
        return 0.9 * super().on_map(population)


@breaks("parts", "look alike")
class ForgetsLetters(Sound):
    def parts(self, states):
        return super().parts(states // 512 * 512 + states % 8)


@breaks("parts", "look alike")
class BeyondFloat32(Sound):
    def parts(self, states):
        return super().parts(states) + torch.tensor([0.0, 2.0**28])


@breaks("parts", "different parts")
class UnsteadyParts(Sound):
    def parts(self, states):
        return super().parts(states) + 1e-3 * torch.arange(states.shape[-1]).unsqueeze(-1) * torch.ones(2)


@breaks("features", "shape [2, 6, 21], not [2, 6, 22]")
class OneFeatureLess(Sound):
    n_features = module.Couriers.n_features + 1


@breaks("features", "in another order differ")
class SeesItsIndex(Sound):
    def features(self, parts, population, progress):
        shown = super().features(parts, population, progress)
        shown[..., 0] = torch.arange(parts.shape[-2])
        return shown


@breaks("features", "of some agents")
class LooksAround(Sound):
    def features(self, parts, population, progress):
        shown = super().features(parts, population, progress)
        return shown - shown.mean(-2, keepdim=True)


@breaks("features", "of one episode")
class MeanOfTheBatch(Sound):
    def features(self, parts, population, progress):
        return super().features(parts, population, progress.mean().expand(progress.shape))


@breaks("inputs", "states")
class InPlace(Sound):
    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        states.copy_(step.next_states)
        return step


@breaks("inputs", "rewards")
class OneBuffer(Sound):
    """Hands out the same memory at every step."""

    buffer = None

    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        if self.buffer is None or self.buffer.shape != step.rewards.shape:
            self.buffer = torch.empty_like(step.rewards)
        self.buffer.copy_(step.rewards + 1e-3 * self.uniforms(len(states)))
        return step._replace(rewards=self.buffer)


@breaks("batch", "in a batch than alone")
class SharedCrowd(Sound):
    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        return step._replace(rewards=step.rewards.mean(0, keepdim=True).expand_as(step.rewards).clone())


@breaks("batch", "moves otherwise")
class SharedLuck(Sound):
    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        alone = len(states.unique(dim=0)) == 1
        return step._replace(next_states=states if alone else step.next_states)


@breaks("batch", "pays otherwise")
class SharedLuckOfPay(Sound):
    random_rewards = True

    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        alone = len(states.unique(dim=0)) == 1
        return step._replace(rewards=step.rewards + 0.5 * (alone and self.horizon == 20))


@breaks("memory", "get")
class Inflation(Sound):
    steps = 0

    def step(self, states, actions, h=0):
        self.steps += 1
        step = super().step(states, actions)
        return step._replace(rewards=(step.rewards + 0.1) * 0.999**self.steps)


@breaks("memory", "move otherwise")
class RestsEveryOtherEpisode(Sound):
    resets = 0

    def reset(self, batch_size):
        self.resets += 1
        return super().reset(batch_size)

    def step(self, states, actions, h=0):
        step = super().step(states, actions)
        return step._replace(next_states=states.clone()) if self.resets % 2 else step


@breaks("seed", "same seed")
class GlobalLuck(Sound):
    def uniforms(self, batch_size):
        return torch.rand(batch_size, self.n_agents)


@breaks("global randomness", "torch")
class Wasteful(Sound):
    def features(self, parts, population, progress):
        torch.rand(1)
        return super().features(parts, population, progress)


@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize("seed", range(3))
def test_the_game_of_the_docs_is_sound(population, seed):
    report = check_game(Sound(population=population), draws=20_000, seed=seed)
    assert report.passed, str(report)
    assert [finding.check for finding in report.findings] == list(packed.FIRST | packed.SECOND)
    assert all(finding.passed for finding in report.findings)


@pytest.mark.parametrize(("game", "check", "because"), BROKEN)
def test_a_broken_game_is_caught(game, check, because):
    report = check_game(game(), draws=20_000)
    found = {finding.check: finding.message for finding in report.failures}
    assert check in found, str(report)
    assert because in found[check]


def test_every_check_has_a_game_that_it_catches():
    assert {param.values[1] for param in BROKEN} == set(packed.FIRST | packed.SECOND)


def test_the_game_is_left_as_it_was():
    game, twin = Sound(seed=5), Sound(seed=5)
    check_game(game, draws=1000)
    assert torch.equal(game.reset(3), twin.reset(3))


def test_a_file_may_hold_such_a_game(tmp_path):
    path = tmp_path / "couriers.py"
    path.write_text(CODE)
    game = games.make(f"{path}:Couriers", n_agents=5, **SETTINGS)
    assert not isinstance(game, games.PopulationGame)
    path.write_text(CODE.replace("n_parts = 2", "n_parts = 3"))
    with pytest.raises(UserError, match=r"no sound game, parts: parts of shape") as caught:
        games.make(f"{path}:Couriers", n_agents=5, **SETTINGS)
    assert "\n" not in str(caught.value)
