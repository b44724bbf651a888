"""The logger, and Weights & Biases when it fails."""

import logging
import math
from types import SimpleNamespace

import pytest
import wandb
from tqdm import tqdm

from mf_pmd.host import run
from mf_pmd.host.loop import Loop
from mf_pmd.host.utils.logger import Logger
from mf_pmd.host.utils.progress import BAR, Progress
from mf_pmd.host.utils.wandb_sink import WandbSink, group_name


class SacredRun:
    """What the logger needs of a sacred run."""

    def __init__(self):
        self.info = {}
        self.scalars = []

    def log_scalar(self, key, value, t):
        self.scalars.append((key, value, t))


class WandbRun:
    """A run of W&B that remembers, and breaks when told to."""

    id = "x"

    def __init__(self, broken=False):
        self.broken = broken
        self.rows = []
        self.calls = 0
        self.finished = False
        self.defined = []
        self.summary = {}
        self.models = []
        self.exit_code = None

    def define_metric(self, name, step_metric=None):
        self.defined.append((name, step_metric))

    def log_artifact(self, artifact, aliases):
        self.models.append((artifact, aliases))

    def log(self, row, step):
        self.calls += 1
        if self.broken:
            raise RuntimeError("no network")
        self.rows.append((row, step))

    def finish(self, exit_code):
        self.finished = True
        self.exit_code = exit_code


@pytest.fixture
def quiet(caplog):
    logger = logging.getLogger("test.quiet")
    caplog.set_level(logging.INFO, logger.name)
    return logger


CONFIG = {
    "name": "ippo",
    "env": "toy",
    "env_args": {"key": "small", "seed": 1},
    "seed": 1,
    "evaluate": False,
    "save_replay": False,
    "wandb_team": None,
    "wandb_project": "p",
    "wandb_mode": "offline",
}


def test_series_go_to_metrics_and_info(quiet):
    logger, sacred_run = Logger(quiet), SacredRun()
    logger.setup_sacred(sacred_run)
    logger.log_stat("a", 1, 0)
    logger.log_stat("a", 2.5, 10)
    logger.log_stat("b", 7, 10, to_sacred=False)
    logger.record("note", "x")
    logger.flush()
    assert sacred_run.scalars == [("a", 1.0, 0), ("a", 2.5, 10)]
    assert sacred_run.info == {"a": [1.0, 2.5], "a_T": [0, 10], "note": "x"}
    assert logger.latest("a") == 2.5
    assert logger.latest("c") is None


def test_what_is_not_finite_becomes_null_and_is_said_once(quiet, caplog):
    logger, sacred_run = Logger(quiet), SacredRun()
    logger.setup_sacred(sacred_run)
    for value in (math.nan, math.inf, 1.0):
        logger.log_stat("a", value, 0)
    assert [value for _, value, _ in sacred_run.scalars] == [None, None, 1.0]
    assert caplog.text.count("stored as null") == 1


def test_recent_stats_are_printed_with_the_last_values(quiet, caplog):
    logger = Logger(quiet)
    for t in range(100):
        logger.log_stat("loss", t, t)
    logger.log_stat("episode", 50, 99)
    logger.print_recent_stats()
    assert "t_env 99, episode 50" in caplog.text
    assert "loss: 99" in caplog.text


def test_wandb_gets_one_row_a_step(quiet, monkeypatch, tmp_path):
    fake = WandbRun()
    given = {}
    monkeypatch.setattr(wandb, "init", lambda **kwargs: given.update(kwargs) or fake)
    logger = Logger(quiet)
    logger.setup_wandb(CONFIG, tmp_path)
    logger.log_stat("a", 1, 0)
    logger.log_stat("b", 2, 0)
    logger.log_stat("a", 3, 5)
    logger.finish()
    assert fake.rows == [({"a": 1.0, "b": 2.0, "t_env": 0}, 0), ({"a": 3.0, "t_env": 5}, 5)]
    assert fake.finished
    assert (given["entity"], given["mode"], given["group"]) == (None, "offline", group_name(CONFIG))
    assert (given["name"], given["job_type"]) == ("ippo-small-seed1", "train")
    assert given["tags"] == ["ippo", "small"]
    assert fake.defined == [("t_env", None), ("*", "t_env")]
    assert fake.exit_code == 0
    assert fake.summary == {}  # nothing was tested


@pytest.fixture
def sink(quiet, monkeypatch, tmp_path):
    """A sink on a run that remembers, its charts and pictures plain values."""
    fake = WandbRun()
    monkeypatch.setattr(wandb, "init", lambda **kwargs: fake)
    monkeypatch.setattr(wandb, "Image", lambda pixels: ("image", pixels))
    monkeypatch.setattr(wandb.plot, "line_series", lambda **chart: chart)
    sink = WandbSink(CONFIG, tmp_path, quiet, draw=lambda arrays: {"picture": arrays["x"]})
    return sink, fake


def log_test(sink, t, mean_field, mean=1.0):
    sink.log("test_mean_field_exploitability", mean_field, t)
    for key, value in {"": mean, "_lower": mean - 1, "_upper": mean + 1}.items():
        sink.log(f"test_exploitability_mean{key}", value, t)
    sink.log_test(lambda: {"x": t}, t)


def test_a_test_adds_its_pictures_and_one_chart_of_the_bracket(sink):
    sink, fake = sink
    log_test(sink, 0, 2.0, mean=5.0)
    log_test(sink, 10, 1.0, mean=4.0)
    sink.finish()
    first, second = (row for row, _ in fake.rows)
    assert (first["picture"], second["picture"]) == (("image", 0), ("image", 10))
    chart = second["exploitability_bracket"]
    assert chart["keys"] == ["mean over agents", "mean over agents, lower", "mean over agents, upper"]
    assert chart["xs"] == [[0, 10]] * 3
    assert chart["ys"] == [[5.0, 4.0], [4.0, 3.0], [6.0, 5.0]]
    assert first["exploitability_bracket"]["xs"] == [[0]] * 3
    assert fake.summary["best_mean_field_exploitability"] == 1.0


def test_the_chart_stays_small_and_ends_whole(sink):
    sink, fake = sink
    for t in range(200):
        log_test(sink, t, 1.0)
    sink.log("episode", 200, 199)
    sink.finish()
    lengths = [len(row["exploitability_bracket"]["xs"][0]) for row, _ in fake.rows if len(row) > 6]
    assert lengths[:21] == [*range(1, 22)]
    assert lengths[-1] == 200
    assert sum(lengths) < 25 * 200


def test_what_is_not_finite_is_no_point_of_the_chart(sink):
    sink, fake = sink
    log_test(sink, 0, math.nan, mean=math.nan)
    log_test(sink, 10, 1.0, mean=2.0)
    sink.finish()
    assert fake.rows[-1][0]["exploitability_bracket"]["xs"] == [[10]] * 3


def test_checkpoints_are_versions_of_a_model(sink, tmp_path, monkeypatch):
    sink, fake = sink
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "agent.th").write_text("weights")
    for t, score in ((0, 2.0), (10, 1.0), (20, 1.5), (30, 0.5)):
        log_test(sink, t, score)
        sink.save(folder, t)
    sink.save(folder, 35)  # not tested
    assert [aliases for _, aliases in fake.models] == [
        ["latest", "t_env-0", "best"],
        ["latest", "t_env-10", "best"],
        ["latest", "t_env-20"],
        ["latest", "t_env-30", "best"],
        ["latest", "t_env-35"],
    ]
    artifact = fake.models[1][0]
    assert (artifact.name, artifact.type) == ("ippo-small-seed1-x", "model")
    assert artifact.metadata["t_env"] == 10
    assert artifact.metadata["test_mean_field_exploitability"] == 1.0
    assert (artifact.metadata["algorithm"], artifact.metadata["seed"]) == ("ippo", 1)
    assert list(artifact.manifest.entries) == ["deep/agent.th"]


def test_a_picture_that_fails_ends_the_pictures_alone(quiet, monkeypatch, tmp_path, caplog):
    fake = WandbRun()
    monkeypatch.setattr(wandb, "init", lambda **kwargs: fake)

    def draw(arrays):
        raise ValueError("no such colour")

    sink = WandbSink(CONFIG, tmp_path, quiet, draw=draw)
    for t in range(3):
        sink.log("a", 1.0, t)
        sink.log_test(dict, t)
    sink.finish(failed=True)
    assert caplog.text.count("no such colour") == 1
    assert [step for _, step in fake.rows] == [0, 1, 2]
    assert fake.exit_code == 1


@pytest.mark.parametrize("part", ["define_metric", "log", "log_artifact", "summary", "finish"])
def test_no_part_of_wandb_can_stop_a_run(sink, quiet, tmp_path, monkeypatch, caplog, part):
    class Broken(WandbRun):
        def __getattribute__(self, name):
            if name == part:
                raise OSError("no network")
            return super().__getattribute__(name)

    monkeypatch.setattr(wandb, "init", lambda **kwargs: Broken())
    sink = WandbSink(CONFIG, tmp_path, quiet, draw=lambda arrays: {"picture": arrays["x"]})
    for t in range(3):
        log_test(sink, t, 1.0)
        sink.save(tmp_path, t)
    sink.finish()
    assert caplog.text.count("W&B failed") == 1


def test_evaluations_are_told_from_trainings(quiet, monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(wandb, "init", lambda **kwargs: given.update(kwargs) or WandbRun())
    config = {
        **CONFIG,
        "evaluate": True,
        "hypergroup": "mine",
        "env_args": {"key": "a b", "n_agents": 5},
    }
    WandbSink(config, tmp_path, quiet)
    assert (given["job_type"], given["name"]) == ("evaluate", "ippo-a-b-seed1")
    assert given["tags"] == ["ippo", "a b", "N=5", "mine"]
    assert given["group"] == group_name({**config, "evaluate": False})


def test_groups_differ_by_settings_and_not_by_seed():
    other_seed = {**CONFIG, "seed": 2, "env_args": {"key": "small", "seed": 2}}
    other_settings = {**CONFIG, "wandb_project": "q"}
    assert group_name(CONFIG) == group_name(other_seed) != group_name(other_settings)
    assert group_name(CONFIG).startswith("ippo_small_")
    assert group_name(CONFIG) == group_name({**CONFIG, "local_results_path": "elsewhere"})
    assert CONFIG["env_args"]["seed"] == 1


def test_a_crash_is_told_to_wandb(toy_config, monkeypatch):
    fake = WandbRun()
    monkeypatch.setattr(wandb, "init", lambda **kwargs: fake)
    monkeypatch.setattr(Loop, "train", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.train(toy_config("use_wandb=True"))
    assert fake.exit_code == 1


@pytest.mark.parametrize("broken", ["init", "log"])
def test_a_failing_wandb_loses_no_metric_and_stops_no_run(toy_config, monkeypatch, console, broken):
    fake = WandbRun(broken=broken == "log")

    def init(**kwargs):
        if broken == "init":
            raise OSError("no disk")
        return fake

    monkeypatch.setattr(wandb, "init", init)
    result = run.train(toy_config("t_max=200", "test_interval=40", "use_wandb=True"))
    assert (result.results_dir / "metrics.json").read_text().count("test_return_mean") == 1
    assert result.t_env >= 200
    assert console.text.count("W&B failed") == 1
    assert fake.calls == (1 if broken == "log" else 0)


def test_tensorboard_gets_the_metrics(toy_config, tmp_path):
    pytest.importorskip("tensorboard")
    run.train(toy_config("t_max=40", "use_tensorboard=True"))
    assert list((tmp_path / "out" / "tb_logs").rglob("events.out.tfevents.*"))


def test_progress_shows_exploitability_speed_and_time_left(quiet, capsys):
    logger = Logger(quiet)
    logger.log_stat("test_mean_field_exploitability", 0.25, 0)
    logger.log_stat("agent_steps_per_second", 5e6, 0)
    progress = Progress("bar", logger, start=0, total=100)
    progress.update(50)
    progress.close()
    shown = capsys.readouterr().err
    assert "50%" in shown
    assert "expl 0.250, 5.0 M/s, 00:00 left" in shown


def test_lines_come_without_a_terminal(quiet, capsys, caplog):
    logger = Logger(quiet)
    logger.log_stat("episode", 1, 50)
    progress = Progress("auto", logger, start=0, total=100)
    progress.update(50)
    progress.report(50)
    progress.close()
    assert capsys.readouterr().err == ""
    assert "t_env 50 of 100" in caplog.text


def test_the_console_takes_tensors(quiet):
    logger = Logger(quiet)
    logger.log_stat("a", SimpleNamespace(item=lambda: 3), 0)
    assert logger.latest("a") == 3.0


@pytest.mark.parametrize("mode", ["bar", "lines", "none"])
def test_a_finished_run_ends_with_first_and_last_exploitability(quiet, caplog, mode):
    logger = Logger(quiet)
    progress = Progress(mode, logger, start=0, total=100)
    logger.log_stat("test_mean_field_exploitability", 1.495, 0)
    logger.log_stat("agent_steps_per_second", 1.26e6, 0)
    progress.summarise()
    logger.log_stat("test_mean_field_exploitability", 0.11, 100)
    progress.close()
    progress.summarise()
    once = "1.3 M agent-steps/s"
    expected = [once, f"test_mean_field_exploitability 1.495 -> 0.110, {once}"]
    assert caplog.messages == ([] if mode == "none" else expected)


def test_the_bar_fits_80_columns(quiet):
    logger = Logger(quiet)
    logger.log_stat("test_mean_field_exploitability", 0.1342, 0)
    logger.log_stat("agent_steps_per_second", 999.9e6, 0)
    figures = {"n": 10**7 - 1, "total": 10**7, "elapsed": 7e3, "ncols": 80, "bar_format": BAR}
    line = tqdm.format_meter(**figures, postfix=Progress("none", logger, start=0, total=1)._figures())
    assert len(line) <= 80
    assert line.endswith("expl 0.134, 999.9 M/s, 00:00 left")


def test_a_terminal_without_a_size_gets_lines(quiet, monkeypatch, capsys):
    monkeypatch.setattr("mf_pmd.host.utils.progress._has_no_columns", lambda: True)
    progress = Progress("bar", Logger(quiet), start=0, total=100)
    progress.update(50)
    progress.close()
    assert capsys.readouterr().err == ""
