"""Running a checkout's main.py with the plugin and no file, on a stand-in with EPyMARL's file names."""

import sys

import pytest

from mf_pmd import checkout
from mf_pmd.attach import attach
from mf_pmd.errors import UserError
from mf_pmd.launcher import train

OURS = ["--config=mf_pmd", "--env-config=a_sis"]


@pytest.fixture(autouse=True)
def _no_byte_code(monkeypatch):
    """Leave the checkout as it was found."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_train_does_what_attaching_does_and_leaves_no_file(stand_in, capfd):
    before = stand_in.everything()
    assert train(str(stand_in.root), [*OURS, "with", "seed=1"]) == 0
    report = stand_in.report_in(capfd.readouterr().out)
    assert stand_in.everything() == before
    attach(str(stand_in.root))
    attached = stand_in.report_in(stand_in.run_main(*OURS, "with", "seed=1").stdout)
    assert report == attached


def test_train_registers_once_in_an_attached_checkout(stand_in, capfd):
    attach(str(stand_in.root))
    assert train(str(stand_in.root), OURS) == 0
    report = stand_in.report_in(capfd.readouterr().out)
    assert report["config"] == str(checkout.CONFIG / "algs" / "mf_pmd.yaml")
    assert checkout.our_registry_names()["runners"] <= set(report["registries"]["runners"])


def test_train_runs_the_checkouts_own_algorithms_and_files(stand_in, capfd):
    own_file = stand_in.root / "own.yaml"
    own_file.touch()
    assert train(str(stand_in.root), ["--config=iql", f"--env-config={own_file.with_suffix('')}"]) == 0
    report = stand_in.report_in(capfd.readouterr().out)
    assert report["env_config"] == str(own_file)


def test_train_restores_the_process(stand_in, monkeypatch):
    theirs = type(sys)("utils")
    monkeypatch.setitem(sys.modules, "utils", theirs)
    argv, path = sys.argv[:], sys.path[:]
    train(str(stand_in.root), OURS)
    assert sys.argv == argv
    assert sys.path == path
    assert sys.modules["utils"] is theirs
    assert not {"run", "learners", "envs", "utils.logging", "smaclite"} & set(sys.modules)


def test_train_runs_two_checkouts_one_after_the_other(stand_in, tmp_path, capfd):
    other = type(stand_in)(tmp_path / "other")
    other.write("src/learners/__init__.py", 'REGISTRY = {"other_learner": object}\n')
    for checked_out, expected in ((stand_in, "q_learner"), (other, "other_learner")):
        assert train(str(checked_out.root), OURS) == 0
        assert expected in stand_in.report_in(capfd.readouterr().out)["registries"]["learners"]


def test_train_returns_the_status_of_a_failed_run(stand_in, capfd):
    assert train(str(stand_in.root), [*OURS, "fail"]) == 1
    assert "failed, as asked" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env-config=a_sis"], "--config is missing"),
        (["--config=mf_pmd", "--env-config"], "--env-config is missing"),
        (["--config=mf_pdm", "--env-config=a_sis"], "did you mean mf_pmd"),
        (["--config=mf_pmd", "--env-config=gyma"], "did you mean gymma"),
        (["--config=mf_pmd", "--env-config=qqqq"], "name one of .*a_sis"),
    ],
)
def test_train_refuses_words_that_name_no_yaml(stand_in, words, message):
    with pytest.raises(UserError, match=message):
        train(str(stand_in.root), words)


def test_train_refuses_a_folder_that_is_no_checkout(tmp_path):
    with pytest.raises(UserError, match="not an EPyMARL checkout"):
        train(str(tmp_path), OURS)


def test_train_refuses_a_registry_that_has_our_name(stand_in):
    name = min(checkout.our_registry_names()["learners"])
    stand_in.write("src/learners/__init__.py", f"REGISTRY = dict({name}=object)\n")
    with pytest.raises(UserError, match=f"already has a learner named {name}"):
        train(str(stand_in.root), OURS)
