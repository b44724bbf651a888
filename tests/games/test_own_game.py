"""A game of the user's own, named by its file or module, from a yaml that lies anywhere."""

import re
import sys
from pathlib import Path

import pytest
import torch

from mf_pmd import cli, games
from mf_pmd.errors import UserError
from mf_pmd.host.utils.config import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"
LIBRARY = f"{EXAMPLES / 'crowded_library.py'}:CrowdedLibrary"
SIZES = {"n_agents": 4, "horizon": 2, "spread": 0.1, "population": "others"}


def load(env, *words):
    return load_config("mf_pmd_tabular", env, words, cli.CONFIG_ROOTS)


def test_a_file_and_a_class_make_a_game():
    game = games.make(LIBRARY, **SIZES, seed=3)
    assert isinstance(game, games.TableGame)
    assert (game.n_agents, game.spread) == (4, 0.1)


def test_a_module_and_a_class_make_a_game(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    assert games.make("shared_cars:SharedCars", **SIZES).n_states == 5


def test_a_relative_file_lies_below_the_working_directory(monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    assert games.make("examples/crowded_library.py:CrowdedLibrary", **SIZES).n_actions == 2


@pytest.mark.parametrize("form", ["crowded_library", "crowded_library.yaml", "./crowded_library.yaml"])
def test_a_yaml_by_its_path_finds_the_file_beside_it(monkeypatch, tmp_path, form):
    monkeypatch.chdir(EXAMPLES)
    beside = load(form)["env_args"]
    monkeypatch.chdir(tmp_path)
    elsewhere = load(str(EXAMPLES / form))["env_args"]
    assert beside == elsewhere
    assert beside["key"] == LIBRARY
    assert beside["map_name"] == "crowded_library"


def test_results_are_named_after_the_yaml_where_it_gives_no_name(tmp_path):
    (tmp_path / "mine.yaml").write_text("env: population\nenv_args:\n  key: a/b.py:Game  # a file\n")
    env_args = load(str(tmp_path / "mine.yaml"))["env_args"]
    assert env_args == {"key": f"{tmp_path / 'a' / 'b.py'}:Game", "map_name": "mine"}


def test_keys_of_other_kinds_stay_as_they_are(tmp_path):
    for key in ("a_sis", "lbforaging:Foraging-8x8-2p-3f-v3"):
        (tmp_path / "mine.yaml").write_text(f"env: x\nenv_args:\n  key: {key}  # a name\n")
        assert load(str(tmp_path / "mine.yaml"))["env_args"] == {"key": key}


def refusal(key, **env_args):
    with pytest.raises(UserError) as error:
        games.make(key, **env_args)
    return str(error.value)


def test_what_cannot_be_loaded_is_said(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from mf_pmd.games import TableGame\nclass Mine(TableGame):\n    pass\n")
    assert refusal(f"{file}:Yours") == (
        f"env_args.key={file}:Yours: {file} has no population game Yours; it defines Mine"
    )
    assert "there is no file" in refusal(f"{tmp_path}/other.py:Mine")
    assert "a file is named with its .py" in refusal("no_such_module:Mine")
    assert "file.py:Class" in refusal("a_siss")
    file.write_text("x = 1\ny = x.z\n")
    assert re.search(r"mine\.py:2: AttributeError", refusal(f"{file}:Mine"))
    file.write_text("x = 1\ndef y(:\n")
    assert re.search(r"mine\.py:2: invalid syntax", refusal(f"{file}:Mine"))
    assert "own_game_mine" not in sys.modules


def test_arguments_of_ones_own_game_are_asked_for(tmp_path):
    assert "its yaml must set it" in refusal(LIBRARY, n_agents=4)
    assert "did you mean spread?" in refusal(LIBRARY, **SIZES, spred=1)
    file = tmp_path / "mine.py"
    head = "from mf_pmd.games import TableGame\nclass Mine(TableGame):\n"
    file.write_text(f"{head}    def __init__(self, *, n_agents):\n        pass\n")
    assert "must take device and seed" in refusal(f"{file}:Mine", n_agents=4, device="cpu")
    file.write_text(TEMPLATE.format(law="law", reward="reward"))
    assert games.make(f"{file}:Anything", n_agents=4, device="cpu").n_agents == 4  # asked for nothing


BROKEN = {
    "rows that sum to .9": ("law * 0.9", "reward", "tables: "),
    "rewards of ten": ("law", "reward * 10", "tables: "),
    "rewards that are NaN": ("law", "reward * float('nan')", "tables: "),
    "laws of another shape": ("law[..., 0]", "reward", ""),
    "nothing": ("None", "reward", ""),
    "an exception": ("1 / 0", "reward", "ZeroDivisionError"),
}
TEMPLATE = """
import torch
from mf_pmd import games

class Mine(games.TableGame):
    def __init__(self, *, n_agents, device="cpu", seed=0):
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=3,
                         initial_law=torch.tensor([0.5, 0.5]), device=device, seed=seed)

    def transition_table(self, mu, personal):
        law = torch.full((*mu.shape, 2), 0.5).to(mu)
        return {law}

    def reward_table(self, mu, personal):
        reward = 1 - mu
        return {reward}

class Anything(Mine):
    def __init__(self, **settings):
        super().__init__(n_agents=settings["n_agents"])

class NoBase(Mine):
    def __init__(self, *, n_agents, device="cpu", seed=0):
        self.n_agents = n_agents

class NoSampler(games.PopulationGame):
    def __init__(self, *, n_agents, device="cpu", seed=0):
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=3,
                         initial_law=torch.tensor([0.5, 0.5]), device=device, seed=seed)
"""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_game_is_refused_before_it_is_played(tmp_path, name):
    law, reward, said = BROKEN[name]
    (tmp_path / "mine.py").write_text(TEMPLATE.format(law=law, reward=reward))
    with pytest.raises(UserError, match=f"no sound game, .*{said}.*check_game tells more") as caught:
        games.make(f"{tmp_path}/mine.py:Mine", n_agents=5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"), [("NoBase", r"must call super\(\).__init__"), ("NoSampler", "sample_step")]
)
def test_a_class_that_makes_no_game_is_refused(tmp_path, name, said):
    (tmp_path / "mine.py").write_text(TEMPLATE.format(law="law", reward="reward"))
    with pytest.raises(UserError, match=said):
        games.make(f"{tmp_path}/mine.py:{name}", n_agents=5)


def test_looking_at_a_game_leaves_it_as_it_was(tmp_path):
    (tmp_path / "mine.py").write_text(TEMPLATE.format(law="law", reward="reward"))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    game = games.make(f"{tmp_path}/mine.py:Mine", n_agents=5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(game.generator.get_state(), type(game)(n_agents=5, seed=3).generator.get_state())
