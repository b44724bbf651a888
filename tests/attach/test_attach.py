"""Attaching to a checkout and detaching from it, on a stand-in with EPyMARL's file names."""

import os
import re

import pytest

from mf_pmd import checkout
from mf_pmd.attach import _digest, attach, detach, is_attached
from mf_pmd.errors import UserError

OURS = ("--config=mf_pmd", "--env-config=a_sis")


def test_attach_adds_one_file_and_changes_none(stand_in):
    before = stand_in.everything()
    message = attach(str(stand_in.root))
    after = stand_in.everything()
    assert set(after) - set(before) == {"src/utils/__init__.py"}
    assert {name: after[name] for name in before} == before
    assert str(stand_in.root) in message
    assert is_attached(stand_in.source)


def test_attached_main_finds_our_names_and_keeps_its_own(stand_in):
    attach(str(stand_in.root))
    result = stand_in.run_main(*OURS, "with", "seed=1")
    assert result.returncode == 0, result.stderr
    report = stand_in.report_in(result.stdout)
    assert report["config"] == str(checkout.CONFIG / "algs" / "mf_pmd.yaml")
    assert report["env_config"] == str(checkout.CONFIG / "envs" / "a_sis.yaml")
    assert report["words"][2:] == ["with", "seed=1"]
    for field, names in checkout.our_registry_names().items():
        assert names <= set(report["registries"][field])
    assert "q_learner" in report["registries"]["learners"]
    assert "rnn" in report["registries"]["agents"]


def test_attached_main_reads_its_own_yaml_as_before(stand_in):
    attach(str(stand_in.root))
    result = stand_in.run_main("--config=iql", "--env-config=gymma")
    assert result.returncode == 0, result.stderr
    assert stand_in.report_in(result.stdout)["words"] == ["--config=iql", "--env-config=gymma"]


def test_attached_main_says_what_to_do_where_our_package_is_missing(stand_in):
    attach(str(stand_in.root))
    result = stand_in.run_main(*OURS, isolated=True)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "cannot import mf_pmd" in result.stderr
    assert str(stand_in.attached_file) in result.stderr


def test_attached_main_says_which_package_of_its_own_is_missing(stand_in):
    stand_in.write("src/envs/__init__.py", "import a_package_that_is_nowhere\n\nREGISTRY = {}\n")
    attach(str(stand_in.root))
    result = stand_in.run_main(*OURS)
    assert result.returncode == 1
    assert "pip install a_package_that_is_nowhere" in result.stderr.splitlines()[-1]


def test_attached_main_refuses_a_registry_that_took_our_name_since(stand_in):
    attach(str(stand_in.root))
    name = min(checkout.our_registry_names()["learners"])
    stand_in.write("src/learners/__init__.py", f"REGISTRY = dict({name}=object)\n")
    result = stand_in.run_main(*OURS)
    assert result.returncode == 1
    assert f"already has a learner named {name}" in result.stderr.splitlines()[-1]


def test_attach_and_detach_are_idempotent_and_leave_nothing(stand_in):
    before = stand_in.everything()
    attach(str(stand_in.root))
    attached = stand_in.everything()
    assert "already" in attach(str(stand_in.root))
    assert stand_in.everything() == attached
    detach(str(stand_in.root))
    assert stand_in.everything() == before
    assert "not attached" in detach(str(stand_in.root))
    assert stand_in.everything() == before


def test_detach_after_a_run_leaves_only_what_the_checkout_caches_itself(stand_in):
    before = stand_in.everything()
    attach(str(stand_in.root))
    assert stand_in.run_main(*OURS).returncode == 0
    assert list(stand_in.attached_file.parent.glob("__pycache__/__init__.*.pyc"))
    detach(str(stand_in.root))
    left = set(stand_in.everything()) - set(before)
    assert left
    assert all("__pycache__" in name for name in left)
    assert not any(name.startswith("src/utils/__pycache__/__init__") for name in left)


def test_detach_removes_a_cache_folder_that_holds_nothing_else(stand_in):
    before = stand_in.everything()
    attach(str(stand_in.root))
    stand_in.write("src/utils/__pycache__/__init__.cpython-311.pyc", "")
    detach(str(stand_in.root))
    assert stand_in.everything() == before


def test_attach_brings_an_untouched_file_of_another_version_up_to_date(stand_in):
    attach(str(stand_in.root))
    current = stand_in.attached_file.read_text(encoding="utf-8")
    body = "pass\n"
    marker = re.sub(r"[0-9a-f]{64}", _digest(body), current.splitlines()[0])
    stand_in.attached_file.write_text(f"{marker}\n{body}", encoding="utf-8")
    assert "Attached" in attach(str(stand_in.root))
    assert stand_in.attached_file.read_text(encoding="utf-8") == current


def test_an_edited_file_is_neither_overwritten_nor_removed(stand_in):
    attach(str(stand_in.root))
    with stand_in.attached_file.open("a", encoding="utf-8") as stream:
        stream.write("import my_own_plugin\n")
    edited = stand_in.everything()
    for command in (attach, detach):
        with pytest.raises(UserError, match="was edited since"):
            command(str(stand_in.root))
    assert stand_in.everything() == edited


@pytest.mark.parametrize("text", ["", "import something\n", "\u00e9".encode("latin-1")])
def test_a_file_that_is_not_ours_is_refused_and_stays(stand_in, text):
    stand_in.attached_file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    before = stand_in.everything()
    for command in (attach, detach):
        with pytest.raises(UserError, match=re.escape(str(stand_in.attached_file))):
            command(str(stand_in.root))
    assert stand_in.everything() == before


def test_a_link_in_our_place_is_refused(stand_in):
    stand_in.attached_file.symlink_to(stand_in.root / "nowhere.py")
    for command in (attach, detach):
        with pytest.raises(UserError, match="not ours"):
            command(str(stand_in.root))
    assert not (stand_in.root / "nowhere.py").exists()


@pytest.mark.parametrize("missing", checkout.REQUIRED_FILES)
@pytest.mark.parametrize("command", [attach, detach])
def test_a_folder_that_is_no_checkout_is_refused(stand_in, command, missing):
    (stand_in.source / missing).unlink()
    before = stand_in.everything()
    with pytest.raises(UserError, match=re.escape(f"(it has no src/{missing})")) as refusal:
        command(str(stand_in.root))
    assert str(stand_in.root) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert stand_in.everything() == before


def test_a_path_that_does_not_exist_and_the_source_folder_are_refused(stand_in):
    for path in (stand_in.root / "nowhere", stand_in.source):
        with pytest.raises(UserError, match="the one that holds src/"):
            attach(str(path))


@pytest.mark.parametrize("name", ["config/algs/mf_pmd.yaml", "config/envs/a_sis.yaml"])
def test_a_checkout_with_a_yaml_of_our_name_is_refused(stand_in, name):
    stand_in.write(f"src/{name}", "name: theirs\n")
    with pytest.raises(UserError, match=re.escape(f"src/{name}")):
        attach(str(stand_in.root))
    assert not stand_in.attached_file.exists()


@pytest.mark.parametrize(
    "form", ['REGISTRY = {{"{name}": object}}\n', 'REGISTRY = {{}}\nREGISTRY["{name}"] = object\n']
)
def test_a_checkout_with_a_registry_entry_of_our_name_is_refused(stand_in, form):
    name = min(checkout.our_registry_names()["runners"])
    stand_in.write("src/runners/__init__.py", form.format(name=name))
    with pytest.raises(UserError, match=re.escape(f'runners.REGISTRY["{name}"]')):
        attach(str(stand_in.root))
    assert not stand_in.attached_file.exists()


def test_a_main_that_imports_its_run_first_is_refused(stand_in):
    main = (stand_in.source / "main.py").read_text(encoding="utf-8")
    stand_in.write("src/main.py", "from run import run\n" + main)
    with pytest.raises(UserError, match="train --host"):
        attach(str(stand_in.root))
    assert not stand_in.attached_file.exists()


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="the rights of a folder do not bind this user"
)
def test_a_folder_that_cannot_be_written_is_refused(stand_in):
    folder = stand_in.attached_file.parent
    folder.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot be written"):
            attach(str(stand_in.root))
    finally:
        folder.chmod(0o700)


def test_a_write_that_fails_leaves_nothing_half_written(stand_in, monkeypatch):
    before = stand_in.everything()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UserError, match="No space left"):
        attach(str(stand_in.root))
    assert stand_in.everything() == before
