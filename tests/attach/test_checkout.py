"""What is read off a checkout, and the words that are handed to its main.py."""

import importlib
import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mf_pmd import checkout
from mf_pmd.errors import UserError


def test_the_names_of_our_yaml_files_become_paths_without_yaml(stand_in):
    words = ["main.py", "--env-config=a_sis", "--config=mf_pmd", "with", "seed=1", "env_args.n_agents=20"]
    rewritten = checkout.with_our_configs(words, stand_in.source)
    assert rewritten == [
        "main.py",
        f"--env-config={checkout.CONFIG / 'envs' / 'a_sis'}",
        f"--config={checkout.CONFIG / 'algs' / 'mf_pmd'}",
        "with",
        "seed=1",
        "env_args.n_agents=20",
    ]
    assert words[1] == "--env-config=a_sis", "the argument is left as it was"


@pytest.mark.parametrize(
    "word",
    [
        "--config=iql",
        "--config=a_sis",
        "--env-config=mf_pmd",
        "--config=nowhere",
        "--config=",
        "--config",
        "--configuration=mf_pmd",
        "config=mf_pmd",
        "--config=/elsewhere/mf_pmd",
        "--config=mf_pmd=x",
        "name=mf_pmd",
        "",
    ],
)
def test_other_words_stay_as_they_are(stand_in, word):
    assert checkout.with_our_configs([word], stand_in.source) == [word]


def test_a_yaml_of_the_checkout_wins_over_ours(stand_in):
    stand_in.write("src/config/algs/mf_pmd.yaml", "name: theirs\n")
    assert checkout.with_our_configs(["--config=mf_pmd"], stand_in.source) == ["--config=mf_pmd"]


def test_an_installation_whose_path_holds_an_equals_sign_is_refused(stand_in, monkeypatch, tmp_path):
    config = tmp_path / "a=b"
    (config / "algs").mkdir(parents=True)
    (config / "algs" / "mf_pmd.yaml").touch()
    monkeypatch.setattr(checkout, "CONFIG", config)
    with pytest.raises(UserError, match="install mf-pmd elsewhere"):
        checkout.with_our_configs(["--config=mf_pmd"], stand_in.source)


def test_registry_names_are_read_from_both_forms_and_nothing_else():
    code = (
        'REGISTRY = {"a": 1, **others, name: 2}\n'
        'REGISTRY["b"] = 3\n'
        'REGISTRY[name] = 4\nOTHER["c"] = 5\nOTHER = {"d": 6}\n'
        'def add():\n    REGISTRY["e"] = 7\n'
    )
    assert checkout.literal_registry_names(code) == {"a", "b", "e"}


def test_a_clean_checkout_has_none_of_our_names(stand_in):
    assert checkout.taken_names(stand_in.source) == []


def test_what_we_bring_is_not_empty():
    names = checkout.our_config_names()
    assert "mf_pmd" in names["algs"]
    assert "a_sis" in names["envs"]
    assert "population" in checkout.our_registry_names()["runners"]
    assert "population" in checkout.our_registry_names()["envs"]


@pytest.fixture
def path(monkeypatch):
    """The search path, restored afterwards; smaclite is not imported yet."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "smaclite", raising=False)
    yield sys.path
    sys.modules.pop("smaclite", None)


def test_smaclite_is_stubbed_where_it_is_missing(path):
    if importlib.util.find_spec("smaclite") is not None:
        pytest.skip("smaclite is installed")
    before = path[:]
    checkout.stub_smaclite()
    assert "Stands in" in importlib.import_module("smaclite").__doc__
    checkout.stub_smaclite()
    assert path == [*before, str(checkout.STAND_INS)]


def test_smaclite_stays_where_it_is_installed(path, tmp_path):
    (tmp_path / "smaclite.py").write_text("real = True\n", encoding="utf-8")
    path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    before = path[:]
    checkout.stub_smaclite()
    assert path == before
    assert importlib.import_module("smaclite").real


def test_a_module_of_another_package_is_not_taken_for_the_checkouts(stand_in, monkeypatch):
    other = type(sys)("learners")
    other.__file__ = str(stand_in.root / "elsewhere" / "learners.py")
    monkeypatch.setitem(sys.modules, "learners", other)
    with pytest.raises(UserError, match="the name 'learners' belongs to"):
        checkout.host_api(stand_in.source)


class WandbRow:
    """What EPyMARL's logger with W&B holds when a runner is closed, of two tests."""

    use_wandb = True

    def __init__(self):
        self.stats = {
            "test_mean_field_exploitability": [(0, 2.0), (10, 1.0)],
            **{f"test_exploitability_mean{end}": [(0, 3.0), (10, 2.0)] for end in ("", "_lower", "_upper")},
            "loss": [(0, object())],
        }
        self.wandb_current_data = {"test_return_mean": 1.0}
        self.wandb = SimpleNamespace(summary={})


def test_wandb_of_a_checkout_gets_pictures_bracket_and_summary():
    logger = WandbRow()
    arrays = {"population_last": np.full((3, 2), 0.5), "policy_last": np.full((2, 2, 2), 0.5)}
    checkout.close(SimpleNamespace(logger=logger, artifacts=lambda: arrays))
    names = {"test_return_mean", "population_flow", "policy", "exploitability_bracket"}
    assert set(logger.wandb_current_data) == names
    assert logger.wandb.summary["last_exploitability_mean"] == 2.0
    assert logger.wandb.summary["best_t_env"] == 10


def test_a_wandb_that_fails_ends_no_run_of_a_checkout(capsys):
    logger = WandbRow()
    logger.wandb = None
    checkout.close(SimpleNamespace(logger=logger, artifacts=dict))
    assert "neither pictures nor summary" in capsys.readouterr().err
    checkout.close(SimpleNamespace(logger=SimpleNamespace(), artifacts=dict))
