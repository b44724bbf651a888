"""A run with W&B offline, and what the file that `wandb sync` would send holds."""

import json
import struct
from pathlib import Path

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

from mf_pmd import cli
from mf_pmd.host import run

BLOCK = 32768  # bytes; W&B keeps its records as LevelDB keeps its log
HEADER = struct.Struct("<IHB")  # checksum, length, kind
LAST_PARTS = (1, 4)  # whole, or the last part of a record
SHORT = ("env_args.n_agents=20", "env_args.horizon=3", "t_max=120", "test_interval=60", "test_nepisode=20")


def read_records(file: Path):
    """The records of an offline run."""
    data = file.read_bytes()
    assert data.startswith(b":W&B")
    position, record = 7, b""
    while position + HEADER.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size
        record += data[position : position + length]
        position += length
        if kind in LAST_PARTS:
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


@pytest.fixture(scope="module")
def sent(configure, tmp_path_factory):
    """Results of a run with W&B and of one without; the records, by type; the files beside them."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(folder))
        words = [*SHORT, f"local_results_path={folder}"]
        config = configure("mf_pmd_tabular", "a_sis", *words, "use_wandb=True", "wandb_save_model=True")
        result = run.train(config, draw=cli._draw_test)
        wandb.teardown()
    plain = run.train(configure("mf_pmd_tabular", "a_sis", *words))
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    by_type = {}
    for record in read_records(file):
        kind = record.WhichOneof("record_type")
        by_type.setdefault(kind, []).append(getattr(record, kind))
    return result, plain, by_type, file.parent / "files"


def history(by_type):
    """The rows, each key -> value."""
    rows = []
    for record in by_type["history"]:
        row = {}
        for item in record.item:
            *path, last = item.nested_key or [item.key]
            inside = row
            for key in path:
                inside = inside.setdefault(key, {})
            inside[last] = json.loads(item.value_json)
        rows.append(row)
    return rows


def metrics(result):
    return json.loads((result.results_dir / "metrics.json").read_text())


def test_training_is_the_same_with_and_without(sent):
    with_it, without, _, _ = sent
    ours, plain = metrics(with_it), metrics(without)
    for curves in (ours, plain):
        curves.pop("agent_steps_per_second", None)
    assert {key: curve["values"] for key, curve in ours.items()} == {
        key: curve["values"] for key, curve in plain.items()
    }


def test_the_run_has_a_name_a_group_and_tags(sent):
    _, _, by_type, _ = sent
    (about,) = by_type["run"]
    assert about.display_name == "mf_pmd_tabular-a_sis-seed1"
    assert about.run_group.startswith("mf_pmd_tabular_a_sis_")
    assert (about.job_type, list(about.tags)) == ("train", ["mf_pmd_tabular", "a_sis", "N=20"])
    assert about.project == "mf-pmd"


def test_steps_are_the_axis_of_everything(sent):
    _, _, by_type, _ = sent
    defined = {metric.name or metric.glob_name: metric.step_metric for metric in by_type["metric"]}
    assert defined["*"] == "t_env"


def test_every_metric_of_every_step_is_there(sent):
    result, _, by_type, _ = sent
    rows = {row["t_env"]: row for row in history(by_type)}
    for key, curve in metrics(result).items():
        for t, value in zip(curve["steps"], curve["values"], strict=True):
            assert rows[t][key] == pytest.approx(value), (key, t)


def test_each_test_has_its_pictures_and_the_chart(sent):
    result, _, by_type, files = sent
    tests = metrics(result)["test_mean_field_exploitability"]["steps"]
    rows = {row["t_env"]: row for row in history(by_type)}
    assert len(tests) == 3
    for count, t in enumerate(tests, start=1):
        for name in ("population_flow", "policy"):
            assert rows[t][name]["_type"] == "image-file"
            assert (files / rows[t][name]["path"]).read_bytes().startswith(b"\x89PNG")
        table = json.loads((files / rows[t]["exploitability_bracket_table"]["path"]).read_text())
        assert table["columns"] == ["step", "lineKey", "lineVal"]
        assert len(table["data"]) == 6 * count
    chart = next(
        update
        for config in by_type["config"]
        for update in config.update
        if list(update.nested_key)[-1:] == ["exploitability_bracket"]
    )
    assert json.loads(chart.value_json)["panel_config"]["panelDefId"] == "wandb/lineseries/v0"


def test_the_summary_says_best_and_last(sent):
    result, _, by_type, _ = sent
    summary = {
        update.key: json.loads(update.value_json)
        for record in by_type["summary"]
        for update in record.update
        if update.key
    }
    curves = metrics(result)
    scores = curves["test_mean_field_exploitability"]
    best = scores["values"].index(min(scores["values"]))
    assert summary["best_t_env"] == scores["steps"][best]
    for key in ("mean_field_exploitability", "exploitability_mean", "exploitability_max"):
        values = curves[f"test_{key}"]["values"]
        assert summary[f"best_{key}"] == pytest.approx(values[best])
        assert summary[f"last_{key}"] == pytest.approx(values[-1])
    half = curves["uniform_mean_field_exploitability"]["values"][0] / 2
    reached = [t for t, value in zip(scores["steps"], scores["values"], strict=True) if value <= half]
    assert summary["steps_to_half_of_uniform"] == min(reached, default=None)


def test_checkpoints_are_artifacts_that_lie_where_they_were(sent):
    result, _, by_type, _ = sent
    models = [artifact for artifact in by_type["artifact"] if artifact.type == "model"]
    checkpoints = sorted(result.models_dir.iterdir(), key=lambda folder: int(folder.name))
    assert [json.loads(model.metadata)["t_env"] for model in models] == [int(c.name) for c in checkpoints]
    assert "best" in models[0].aliases
    assert all("latest" in model.aliases for model in models)
    for model, checkpoint in zip(models, checkpoints, strict=True):
        held = {entry.path: Path(entry.local_path) for entry in model.manifest.contents}
        assert {checkpoint / path for path in held} == set(held.values())
        assert set(held.values()) == {path for path in checkpoint.rglob("*") if path.is_file()}
