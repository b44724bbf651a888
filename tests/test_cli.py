"""The command line: what it prints, and its exit status."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mf_pmd import __version__, cli

ROOT = Path(cli.__file__).resolve().parents[1]
GAME = ["--config=ippo", "--env-config=a_sis"]
SHORT = [
    "with",
    "seed=1",
    "use_cuda=False",
    "threads=1",
    "env_args.n_agents=4",
    "env_args.horizon=3",
    "hidden_dim=8",
    "t_max=60",
    "test_interval=60",
]


def run_cli(capsys, *argv: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command in this process."""
    status = cli.main(argv)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def run_process(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which finds the package where this one does."""
    path = os.pathsep.join([str(Path(cli.__file__).parents[1]), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, env=env, check=False)


@pytest.mark.parametrize("form", [GAME, ["--env-config", "a_sis", "--config", "ippo"]])
def test_train_in_either_form(capsys, tmp_path, form):
    status, out, err = run_cli(capsys, "train", *form, *SHORT, f"local_results_path={tmp_path}")
    assert (status, err) == (0, "")
    folder = tmp_path / "sacred" / "ippo" / "a_sis" / "1"
    assert (folder / "metrics.json").is_file()
    assert str(folder) in out


def test_options_may_follow_the_settings(capsys, tmp_path):
    status, _, _ = run_cli(capsys, "train", *SHORT, f"local_results_path={tmp_path}", *GAME)
    assert status == 0


def test_main_is_train(tmp_path):
    finished = run_process(
        str(Path(cli.__file__).parent / "main.py"), *GAME, *SHORT, f"local_results_path={tmp_path}"
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert (tmp_path / "sacred" / "ippo" / "a_sis" / "1" / "metrics.json").is_file()


def test_main_without_the_package_is_one_line():
    main = str(Path(cli.__file__).parent / "main.py")
    finished = subprocess.run(
        [sys.executable, "-S", "-E", main, *GAME], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "mf_pmd is not installed for this Python: run make setup" in finished.stderr


MISTAKES = {
    "no verb": ([], "VERB"),
    "unknown verb": (["trian"], "trian"),
    "no algorithm": (["train"], "--config is missing"),
    "no environment": (["train", "--config=ippo"], "--env-config is missing"),
    "unknown algorithm": (["train", "--config=ipo", "--env-config=a_sis"], "did you mean ippo?"),
    "unknown environment": (["train", "--config=ippo", "--env-config=a_sos"], "did you mean a_sis?"),
    "unknown key": (["train", *GAME, "with", "t_mx=1"], "t_mx=1"),
    "unknown value": (["train", *GAME, "with", "use_cuda=maybe"], "use_cuda=maybe"),
    "word without with": (["train", *GAME, "t_max=1"], "with t_max=1"),
    "unknown option": (["train", *GAME, "--speed=1"], "--speed=1"),
    "abbreviated option": (["train", "--conf=ippo"], "--conf=ippo"),
    "unknown kind": (["list", "games"], "games"),
    "no environment to configure": (["config", "ippo"], "ENV"),
    "no path": (["attach"], "PATH"),
    "unknown algorithm to compare": (
        ["compare", "--algs=mf_pmd,ipo"],
        "--algs=ipo: no such algorithm; did you",
    ),
    "unknown game to compare on": (
        ["compare", "--envs", "a_sos"],
        "--envs=a_sos: no such environment; did you",
    ),
    "algorithm named twice": (["compare", "--algs=ippo,mf_pmd,ippo"], "ippo is named twice"),
    "empty name": (["compare", "--algs=ippo,,"], "--algs=ippo,,: a name is empty"),
    "empty list": (["compare", "--algs="], "--algs is missing"),
    "no seeds": (["compare", "--seeds=0"], "--seeds=0"),
    "seeds by name": (["compare", "--seeds=one"], "--seeds"),
    "no steps": (["compare", "--t-max=0"], "--t-max=0"),
    "steps of no number": (["compare", "--t-max=1e9"], "--t-max"),
    "no jobs": (["compare", "--jobs=-1"], "--jobs=-1"),
    "steps by a word": (["compare", "with", "t_max=5"], "--t-max"),
    "unknown key to compare with": (
        ["compare", "with", "env_args.n_agent=5"],
        "did you mean env_args.n_agents?",
    ),
    "key of some algorithms": (["compare", "--algs=mf_pmd,ippo", "with", "c_xi=1"], "ippo on a_sis: c_xi=1"),
    "compare without with": (["compare", "lr=1"], "with lr=1"),
    "nothing to plot": (["plot"], "RESULTS"),
    "no results to plot": (["plot", "/nowhere"], "/nowhere: no such folder"),
    "no checkout": (["attach", "/nowhere"], "/nowhere"),
    "no checkout to detach": (["detach", "/nowhere"], "/nowhere"),
    "no host": (["train", "--host", "/nowhere", *GAME], "/nowhere"),
}


@pytest.mark.parametrize(("argv", "part"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line_and_status_2(capsys, argv, part):
    status, out, err = run_cli(capsys, *argv)
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert part in err


def test_an_unexpected_argument_of_the_game_is_one_line(capsys, tmp_path):
    words = [
        "with",
        "env_args.n_agents=1",
        "seed=1",
        "use_cuda=False",
        f"local_results_path={tmp_path / 'out'}",
    ]
    status, _, err = run_cli(capsys, "train", *GAME, *words)
    assert status == 2
    assert err.count("\n") == 1
    assert "n_agents" in err
    assert not (tmp_path / "out").exists()


def test_interrupting_ends_with_130(capsys, monkeypatch):
    def interrupted(words):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.VERBS, "train", interrupted)
    status, _, err = run_cli(capsys, "train")
    assert (status, err) == (130, "interrupted\n")


def test_list_names_and_describes(capsys):
    status, algs, _ = run_cli(capsys, "list", "algs")
    assert status == 0
    assert {"ippo", "mf_pmd", "mf_pmd_tabular"} <= {line.split()[0] for line in algs.splitlines()}
    assert all(len(line.split()) > 2 for line in algs.splitlines())
    _, envs, _ = run_cli(capsys, "list", "envs")
    assert {"a_sis", "a_rps", "a_beach"} <= {line.split()[0] for line in envs.splitlines()}


def test_config_prints_comments_and_sources(capsys):
    status, out, _ = run_cli(capsys, "config", "ippo", "a_sis", "with", "lr=0.5")
    assert status == 0
    lines = {line.split(":")[0].strip(): line for line in out.splitlines()}
    assert lines["lr"].startswith("lr: 0.5 ")
    assert lines["lr"].endswith("[with]")
    assert lines["horizon"].endswith("[envs/a_sis.yaml]")
    assert lines["t_max"].count("#") == 1


def test_host_gets_the_other_words_joined(capsys, monkeypatch):
    from mf_pmd import launcher

    given = []
    monkeypatch.setattr(launcher, "train", lambda path, argv: given.append((path, argv)) or 0)
    status, _, _ = run_cli(
        capsys, "train", "--host", "there", "--config", "ippo", "--env-config=a_sis", "with", "seed=1"
    )
    assert status == 0
    assert given == [("there", ["--config=ippo", "--env-config=a_sis", "with", "seed=1"])]


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["train", "--help"]])
def test_help_and_version_do_not_wait_for_torch(argv):
    code = (
        "import sys; from mf_pmd import cli\n"
        f"try: cli.main({argv!r})\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'numpy', 'yaml'} & set(sys.modules), sorted(sys.modules)"
    )
    started = time.monotonic()
    finished = run_process("-c", code)
    assert finished.returncode == 0, finished.stderr
    assert time.monotonic() - started < 5
    assert "mf-pmd" in finished.stdout
    if argv == ["--version"]:
        assert finished.stdout == f"mf-pmd {__version__}\n"


@pytest.mark.slow
def test_compare_runs_a_grid_then_reuses_it(tmp_path):
    """Whole runs of a tiny game; one algorithm is given what it refuses."""
    main = "import sys; from mf_pmd.cli import main; sys.exit(main(sys.argv[1:]))"
    grid = ["--algs=mf_pmd_tabular,ippo,vdn", "--envs=a_sis,a_rps", "--seeds=2", "--t-max=40", "--jobs=2"]
    tiny = ["with", "env_args.n_agents=10", "env_args.horizon=2", "use_cuda=False", "common_reward=False"]
    command = ["-c", main, "compare", *grid, f"--results={tmp_path}", *tiny]
    first = run_process(*command)
    assert first.returncode == 1, first.stderr
    assert "12 runs: 0 are there already, 12 to run" in first.stderr
    assert (
        "Runs that failed: 4. vdn on a_sis, seed 1 (exit status 2: error: common_reward=False" in first.stdout
    )
    assert first.stdout.count("| mf_pmd_tabular | 2 ") == first.stdout.count("| ippo           | 2 ") == 2
    assert first.stdout.count("| vdn            | 0 of 2 | –") == 2
    assert first.stdout.count("\n40 environment steps.") == 2
    assert "The uniform policy" in first.stdout
    pictures = {"curves.png", "exploitability.png", "return.png", "wall_time.png"}
    assert pictures <= {file.name for file in (tmp_path / "compare").iterdir()}

    second = run_process(*command)
    assert "12 runs: 8 are there already, 4 to run" in second.stderr
    plotted = run_process("-c", main, "plot", str(tmp_path), f"--out={tmp_path / 'again'}")
    assert plotted.returncode == 0, plotted.stderr
    assert plotted.stdout.count("| ippo           | 2 ") == 2
    assert pictures <= {file.name for file in (tmp_path / "again").iterdir()}
