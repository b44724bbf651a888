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
    return [
        f"--config={algorithm}",
        "--env-config=a_sis",
        "with",
        *SMALL,
        *OFTEN,
        *extra,
        "local_results_path=results",
    ]


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
