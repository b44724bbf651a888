"""Both ways of joining a clone of the real EPyMARL, which EPYMARL_HOME names and which is copied."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mf_pmd.attach import attach, detach

pytestmark = pytest.mark.slow

RUN_METRICS = {"test_return_mean", "test_mean_field_exploitability", "agent_steps_per_second"}
MF_PMD_METRICS = RUN_METRICS | {
    "test_mean_field_exploitability_last",
    "test_mean_field_exploitability_average",
    "test_mean_field_exploitability_tail",
    "td_error_abs",
    "policy_entropy",
    "mirror_descent_kl",
    "step_size",
}
MEAN_ACTION_METRICS = RUN_METRICS | {"td_error_abs", "critic_loss", "q_taken_mean", "policy_entropy"}
UPSTREAM_PPO_METRICS = {"pg_loss", "critic_loss", "agent_grad_norm"}
SMALL = ("env_args.n_agents=20", "use_cuda=False", "t_max=400", "test_interval=200", "log_interval=100")
OFTEN = ("runner_log_interval=100", "learner_log_interval=100", "test_nepisode=4")

RUNS = {
    "mf_pmd": ("mf_pmd", (), MF_PMD_METRICS),
    "mf_pmd_tabular": ("mf_pmd_tabular", (), MF_PMD_METRICS),
    "munchausen_omd": ("munchausen_omd", (), MF_PMD_METRICS),
    "mf_q": ("mf_q", (), MEAN_ACTION_METRICS),
    "mf_ac": ("mf_ac", (), MEAN_ACTION_METRICS),
    "ippo, population runner": (
        "ippo",
        ("runner=population", "batch_size_run=4", "batch_size=4", "buffer_size=4"),
        RUN_METRICS | UPSTREAM_PPO_METRICS,
    ),
    "ippo, its parallel runner": (
        "ippo",
        ("runner=parallel", "batch_size_run=4", "batch_size=4", "buffer_size=4"),
        {"test_total_return_mean"} | UPSTREAM_PPO_METRICS,
    ),
    "ippo, its episode runner": (
        "ippo",
        ("runner=episode", "batch_size_run=1", "batch_size=4", "buffer_size=4"),
        {"test_total_return_mean"} | UPSTREAM_PPO_METRICS,
    ),
}

TOWN = ("env_args.n_agents=70", "env_args.horizon=6", "use_cuda=False", "t_max=60", "test_interval=30")
TOWN += ("log_interval=30", "runner_log_interval=30", "learner_log_interval=30", "test_nepisode=4")
FORAGING = ("env_args.key=lbforaging:Foraging-8x8-2p-3f-v3", "env_args.time_limit=10", "common_reward=False")
FORAGING += ("use_cuda=False", "t_max=400", "test_interval=200", "log_interval=200", "test_nepisode=4")
FORAGING += ("runner_log_interval=200", "learner_log_interval=200", "add_value_last_step=False")
RUNNERS = {
    "population": (),
    "episode": ("observation=features", "batch_size_run=1", "batch_size=1", "buffer_size=1"),
    "parallel": ("observation=features", "batch_size_run=4", "batch_size=4", "buffer_size=4"),
}
PPO_METRICS = {"policy_loss", "critic_loss", "policy_entropy", "explained_variance"}
PMD_METRICS = {"td_error_abs", "policy_entropy", "mirror_descent_kl"}


@pytest.fixture(scope="module")
def upstream() -> Path:
    home = os.environ.get("EPYMARL_HOME")
    if not home:
        pytest.skip("EPYMARL_HOME names no clone of EPyMARL")
    pytest.importorskip("gymnasium", reason="EPyMARL itself needs gymnasium")
    return Path(home)


def clone(upstream: Path, target: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(upstream), str(target)], check=True)
    return target


@pytest.fixture(scope="module")
def attached(upstream, tmp_path_factory) -> Path:
    root = clone(upstream, tmp_path_factory.mktemp("attached") / "epymarl")
    attach(str(root))
    return root


def run(command: list[str], root: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in the clone, writing no byte code: what git sees afterwards is of the run itself."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def words(algorithm: str, extra: tuple[str, ...]) -> list[str]:
    return words_for(algorithm, "a_sis", (*SMALL, *OFTEN, *extra))


def words_for(algorithm: str, environment: str, settings: tuple[str, ...]) -> list[str]:
    options = [f"--config={algorithm}", f"--env-config={environment}"]
    return [*options, "with", *settings, "local_results_path=results"]


def finite_metrics(root: Path, options: list[str]) -> dict:
    """The metrics of a run that must come to its end, all of them numbers."""
    result = run([sys.executable, "src/main.py", *options], root)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    metrics = newest_metrics(root)
    assert all(abs(value) < float("inf") for series in metrics.values() for value in series["values"])
    return metrics


def git_status(root: Path) -> str:
    return run(["git", "status", "--porcelain", "--ignored"], root).stdout


def newest_metrics(root: Path) -> dict:
    files = sorted((root / "results" / "sacred").rglob("metrics.json"), key=lambda file: file.stat().st_mtime)
    return json.loads(files[-1].read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RUNS)
def test_run_in_an_attached_clone(attached, name):
    algorithm, extra, expected = RUNS[name]
    result = run([sys.executable, "src/main.py", *words(algorithm, extra)], attached)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    metrics = newest_metrics(attached)
    assert expected <= set(metrics), sorted(metrics)
    assert all(abs(value) < float("inf") for key in expected for value in metrics[key]["values"])


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("algorithm", "expected"), [("mf_ppo", PPO_METRICS), ("mf_pmd", PMD_METRICS)])
def test_taxis_learn_under_every_runner(attached, algorithm, runner, expected):
    options = words_for(algorithm, "a_taxi", (*TOWN, f"runner={runner}", *RUNNERS[runner]))
    metrics = finite_metrics(attached, options)
    returns = {"test_return_mean"} if runner == "population" else {"test_total_return_mean"}
    assert expected | returns <= set(metrics), sorted(metrics)


@pytest.mark.parametrize("algorithm", ["mf_ppo", "mf_pmd"])
def test_what_taxis_learnt_is_read_back_and_drawn(attached, algorithm, tmp_path):
    trained = (*TOWN, "save_model=True", "save_model_interval=60")
    finite_metrics(attached, words_for(algorithm, "a_taxi", trained))
    checkpoint = max(
        (attached / "results" / "models").glob(f"{algorithm}_seed*"), key=lambda p: p.stat().st_mtime
    )
    evaluating = (*TOWN, f"checkpoint_path={checkpoint}", "evaluate=True")
    assert "test_return_mean" in finite_metrics(attached, words_for(algorithm, "a_taxi", evaluating))
    command = "import sys; from mf_pmd.cli import main; sys.exit(main(sys.argv[1:]))"
    drawing = ["render", str(checkpoint), "--env-config=a_taxi", "--episodes", "2", "--out", str(tmp_path)]
    drawing += ["with", *TOWN[:2]]
    result = run([sys.executable, "-c", command, *drawing], attached)
    assert result.returncode == 0, result.stderr[-4000:]
    assert {"density.png", "density.gif"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("runner", ["episode", "parallel"])
@pytest.mark.parametrize("algorithm", ["mf_ppo", "mf_ppo_ind"])
def test_foragers_learn_by_ppo(attached, algorithm, runner):
    pytest.importorskip("lbforaging", reason="one of EPyMARL's own environments")
    few = tuple(word for word in RUNNERS[runner] if not word.startswith("observation"))
    metrics = finite_metrics(attached, words_for(algorithm, "gymma", (*FORAGING, f"runner={runner}", *few)))
    assert PPO_METRICS | {"test_total_return_mean", "test_agent_0_return_mean"} <= set(metrics)


def test_the_launcher_leaves_what_a_detached_clone_has(upstream, tmp_path):
    launched = clone(upstream, tmp_path / "launched")
    attached = clone(upstream, tmp_path / "attached")
    before = git_status(attached)
    options = words("mf_pmd_tabular", ())

    command = "import sys; from mf_pmd.launcher import train; sys.exit(train(sys.argv[1], sys.argv[2:]))"
    result = run([sys.executable, "-c", command, str(launched), *options], launched)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    keys = set(newest_metrics(launched))

    attach(str(attached))
    assert git_status(attached) == before + "?? src/utils/__init__.py\n"
    result = run([sys.executable, "src/main.py", *options], attached)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    assert set(newest_metrics(attached)) == keys
    detach(str(attached))
    assert git_status(attached) == git_status(launched)


def test_attach_then_detach_is_as_before(upstream, tmp_path):
    root = clone(upstream, tmp_path / "epymarl")
    before = git_status(root)
    attach(str(root))
    detach(str(root))
    assert git_status(root) == before == ""
