"""What is installed, and what the files around the package promise."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import mf_pmd

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"


@pytest.fixture
def metadata(monkeypatch) -> dict:
    """The arguments that setup.py calls ``setup`` with."""
    captured: dict = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: captured.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))
    return captured


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_every_module_is_in_an_installed_package(metadata):
    assert metadata["package_dir"] == {"mf_pmd": "src"}
    folders = {file.parent.relative_to(SOURCE) for file in SOURCE.rglob("*.py")}
    assert set(metadata["packages"]) == {".".join(("mf_pmd", *folder.parts)) for folder in folders}


def test_every_yaml_file_is_installed(metadata):
    installed = {file for pattern in metadata["package_data"]["mf_pmd"] for file in SOURCE.glob(pattern)}
    written = set(SOURCE.rglob("*.yaml"))
    assert written
    assert installed == written


def test_no_test_is_installed(metadata):
    assert not [name for name in metadata["packages"] if "test" in name]


def test_versions_agree(metadata):
    assert metadata["version"] == mf_pmd.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mf_pmd.__version__
    assert mf_pmd.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_citation_names_the_paper():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Yardim", "He"]
    assert (paper["volume"], paper["start"], paper["end"], paper["year"]) == (283, 31, 44, 2025)


def test_every_requirement_has_a_tested_version(metadata):
    requirements = [*metadata["install_requires"]]
    for extra in metadata["extras_require"].values():
        requirements += extra
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {line for line in lines if line and not line.startswith("#")}
    pinned = {re.split("[=<]", pin)[0].lower() for pin in pins}
    assert {re.split("[=<>]", requirement)[0].lower() for requirement in requirements} <= pinned
    assert "torch==2.13.0" in pins
    assert all("==" in pin for pin in pins - {"setuptools<81"})


def test_make_help_lists_every_target():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):", text, flags=re.MULTILINE))
    assert targets == set(phony.split())
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+) +\S", shown, flags=re.MULTILINE)) == targets


def test_the_check_that_has_to_pass_can_be_run():
    check = ROOT / ".ci" / "run"
    assert check.stat().st_mode & 0o111
    text = check.read_text(encoding="utf-8")
    assert all(target in text for target in ("lint", "test", "test-slow"))


def test_no_path_of_a_machine_and_no_index_address_is_tracked():
    # pieced together, so that this file does not hold what it looks for
    forbidden = [
        re.escape(str(ROOT) + "/"),
        r"(?<![\w.-])/" + r"(?:work|home/\w+|root|Users/\w+)/",
        "/tmp" + r"/\w",
        "file:" + r"//",
        "index" + "-url",
        "find" + "-links",
        "/si" + r"mple\b",
        r"\.wh" + r"l\b",
    ]
    pattern = re.compile("|".join(forbidden))
    found = []
    for file in tracked_files():
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{file.relative_to(ROOT)}:{n}: {line.strip()}"
            for n, line in enumerate(lines, 1)
            if pattern.search(line)
        ]
    assert found == []
