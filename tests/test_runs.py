"""Run folders: what is in them, and that resuming leads to the same bits as never having stopped."""

import itertools
import json
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import lenumba as package
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import load_config, read_config
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.runs import run as runs
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.folders import locked
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.runs.tensor_file import weights_sha256

FILES = ["best.safetensors", "config.yaml", "last.safetensors", "metrics.jsonl", "run.json"]
METRICS = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]
METRICS += ["learning_rate", "seconds", "images_per_second"]
METRICS += ["val_balanced_accuracy", "val_macro_f1", "val_recall", "val_f1"]
RECORD = {"parameters", "test_accuracy", "test_loss", "images_per_second", "compile_s", "wall_s", "peak_rss_mb"}
RECORD |= {"threads", "seed", "weights_sha256", "data_sha256", "versions", "cpu", "overrides"}
BITS = ["weights_sha256", "best_weights_sha256", "test_accuracy", "test_loss", "best_epoch", "epochs", "status"]


def bits(folder: Path) -> dict:
    """Return all of a run's results that do not depend on time."""
    record = json.loads((folder / "run.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: line[key] for key in METRICS[:6]} for line in lines]
    return {**{key: record[key] for key in BITS}, "metrics": metrics}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_holds_these_files_and_no_others(run):
    assert names(run) == FILES


def test_configuration_of_a_run_loads_back_equal(place, run):
    assert read_config(run / "config.yaml", "x").config == load_config("tiny.yaml").config


def test_metrics_have_a_line_for_each_epoch(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [METRICS] * 3
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all(line["seconds"] > 0 and 0 <= line["val_accuracy"] <= 1 for line in lines)


def test_record_of_a_run_is_complete_and_true(place):
    changes = ["train.epochs=1", "train.threads=2", "train.seed=5"]
    result = start_run(load_config("tiny.yaml", changes), overrides=changes)
    record = json.loads((result.path / "run.json").read_text())
    assert set(record) >= RECORD
    assert record == result.summary
    assert (record["threads"], record["seed"], record["overrides"]) == (2, 5, changes)
    assert record["parameters"] == 7 * 7 * 10 + 10
    assert record["data_sha256"] == load_dataset("digits").sha256
    assert record["versions"]["numba"] == version("numba")
    tensors = Checkpoint.read(result.path / "last.safetensors").tensors
    own = {name: tensor for name, tensor in tensors.items() if name in ("dense1.kernel", "dense1.bias")}
    assert record["weights_sha256"] == weights_sha256(own)
    assert record["best_weights_sha256"] == weights_sha256(Checkpoint.read(result.path / "best.safetensors").tensors)


def test_library_trains_and_loads_as_the_command_line_does(place, run):
    result = package.train("tiny.yaml", {"train.epochs": 3})
    assert bits(result.path) == bits(run)
    model = package.load(result.path)
    dataset = load_dataset("digits")
    assert (model.predict(dataset.test_images) == dataset.test_labels).mean() == result.test_accuracy
    assert model.evaluate().accuracy == result.test_accuracy


def test_model_takes_one_image_or_many_with_or_without_channels(run):
    model, images = package.load(run), load_dataset("digits").test_images[:5]
    expected = model.predict_proba(images)
    assert expected.sum(axis=1) == pytest.approx(1)
    assert (model.predict_proba(images[..., 0]) == expected).all()
    assert (model.predict_proba(images[0]) == expected[:1]).all()


@pytest.mark.parametrize(
    "images", [np.zeros((2, 28, 27), np.uint8), np.full((2, 28, 28), 1.5), np.zeros((0, 28, 28), np.uint8), [1]]
)
def test_model_refuses_other_images(run, images):
    with pytest.raises(DataError, match="images: expected"):
        package.load(run).predict(images)


@pytest.mark.parametrize("labels", [[0], [0, 10], [0, -1], [0.0, 1.0], None])
def test_model_refuses_labels_that_do_not_fit(run, labels):
    with pytest.raises(DataError):
        package.load(run).evaluate(np.zeros((2, 28, 28), np.uint8), labels and np.array(labels))


def test_weights_do_not_depend_on_the_threads_or_the_day(place):
    changes = ["data.samples=1500", "train.epochs=2", "data.batch_size=128"]
    found = [
        start_run(load_config("quickstart", [*changes, f"train.threads={threads}"])) for threads in (1, 2, 3, 7) * 2
    ]
    assert [run.summary["threads"] for run in found] == [1, 2, 3, 7] * 2
    assert all(bits(run.path) == bits(found[0].path) for run in found)


def test_seed_changes_the_weights(place, run):
    other = start_run(load_config("tiny.yaml", ["train.seed=1"]))
    assert bits(other.path)["weights_sha256"] != bits(run)["weights_sha256"]


def test_resuming_a_finished_run_changes_nothing(run):
    before, weights = bits(run), Checkpoint.read(run / "last.safetensors")
    started = json.loads((run / "run.json").read_text())["started"]
    resume_run(run)
    assert bits(run) == before
    after = Checkpoint.read(run / "last.safetensors")
    assert after.state == weights.state
    assert all((after.tensors[name] == tensor).all() for name, tensor in weights.tensors.items())
    assert json.loads((run / "run.json").read_text())["started"] == started
    assert names(run) == FILES


@pytest.mark.parametrize("optimizer", [[], ["optimizer.momentum=0.5", "optimizer.nesterov=true"]])
def test_more_epochs_lead_where_a_longer_run_would_have(place, optimizer):
    short = start_run(load_config("tiny.yaml", optimizer))
    resume_run(short.path, ["train.epochs=6"])
    long = start_run(load_config("tiny.yaml", [*optimizer, "train.epochs=6"]))
    assert bits(short.path) == bits(long.path)
    assert len(bits(long.path)["metrics"]) == 6
    assert read_config(short.path / "config.yaml", "x").config == read_config(long.path / "config.yaml", "x").config
    resume_run(short.path)
    assert bits(short.path) == bits(long.path)


@pytest.mark.parametrize(
    "change", ["data.batch_size=16", "train.seed=2", "optimizer.learning_rate=1", "data.name=mnist"]
)
def test_resumed_run_keeps_what_makes_it_this_run(run, change):
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"a run keeps it; only train\.epochs"):
        resume_run(run, [change])
    assert (run / "config.yaml").read_bytes() == before


def test_run_is_not_resumed_with_fewer_epochs_than_it_has_done(run):
    before = bits(run)
    with pytest.raises(ConfigError, match="at least the 3 epochs"):
        resume_run(run, ["train.epochs=2"])
    assert bits(run) == before


def test_relative_data_folder_is_found_from_elsewhere(place, lenumba, write_dataset, monkeypatch):
    write_dataset(place / "data")
    changes = ["data.name=mnist", "data.root=data", "data.batch_size=4", "data.validation=4"]
    assert lenumba("train", "tiny.yaml", *changes, "--quiet").exit_code == 0
    run = place / "runs" / "tiny-001"
    assert read_config(run / "config.yaml", "x").config.data.root == str(place / "data")
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert lenumba("evaluate", run).exit_code == 0
    assert lenumba("train", "--resume", run, "train.epochs=4").exit_code == 0
    (place / "data").rename(place / "moved")
    assert lenumba("evaluate", run).exit_code == 3
    assert lenumba("evaluate", run, "data.root=../moved").exit_code == 0
    assert lenumba("train", "--resume", run, "data.root=../moved").exit_code == 0
    assert read_config(run / "config.yaml", "x").config.data.root == str(place / "elsewhere" / ".." / "moved")


def test_second_process_may_not_train_in_the_folder(place, spawn, wait_for_epoch, refused):
    process = spawn("train", "tiny.yaml", "train.epochs=100000")
    wait_for_epoch(process, 1)
    before = (place / "runs" / "tiny-001" / "config.yaml").read_bytes()
    assert "another process is training in it" in refused(3, "train", "--resume", "latest", "train.epochs=5")
    assert (place / "runs" / "tiny-001" / "config.yaml").read_bytes() == before


def test_lock_of_a_folder_is_free_again_after_its_holder(tmp_path):
    for _ in range(2):
        with locked(tmp_path), pytest.raises(DataError), locked(tmp_path):
            pass
    assert names(tmp_path) == []


def test_lock_file_of_a_dead_process_is_no_obstacle(run):
    (run / ".lock").touch()
    resume_run(run)
    assert names(run) == FILES


def test_other_process_that_was_quicker_keeps_its_folder(place, monkeypatch):
    def occupied(*arguments, **options):
        trainer = real(*arguments, **options)
        start_first()
        return trainer

    real = runs.make_trainer

    def start_first():
        monkeypatch.setattr(runs, "make_trainer", real)
        start_run(load_config("tiny.yaml"), out=Path("same"))

    monkeypatch.setattr(runs, "make_trainer", occupied)
    with pytest.raises(ConfigError, match="not empty"):
        start_run(load_config("tiny.yaml", ["train.epochs=1"]), out=Path("same"))
    assert len(bits(Path("same"))["metrics"]) == 3


def test_huge_learning_rate_exits_with_4_and_keeps_a_finite_checkpoint(place, lenumba):
    result = lenumba("train", "tiny.yaml", "optimizer.learning_rate=1e38", "--quiet")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    for part in ("error: training diverged", "epoch 1, step ", "runs/tiny-001/last.safetensors"):
        assert part in result.stderr
    run = place / "runs" / "tiny-001"
    for name in ("last.safetensors", "best.safetensors"):
        tensors = Checkpoint.read(run / name).tensors
        assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    assert json.loads((run / "run.json").read_text())["status"] == "diverged"
    assert lenumba("evaluate", "latest").exit_code == 0
    assert names(run) == FILES


def test_clock_that_is_set_back_changes_no_duration_and_no_order(place, monkeypatch):
    now = itertools.count(2e9, -3600)  # an hour back with each look
    monkeypatch.setattr(time, "time", lambda: next(now))
    monkeypatch.setattr(time, "gmtime", lambda seconds=None: datetime.fromtimestamp(next(now), UTC).timetuple())
    start_run(load_config("tiny.yaml"), out=Path("back"))
    record = json.loads(Path("back/run.json").read_text())
    assert record["wall_s"] > 0
    lines = [json.loads(line) for line in Path("back/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all(line["seconds"] > 0 for line in lines)
