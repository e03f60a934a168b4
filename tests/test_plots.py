"""What runs record for people: plots, histograms, TensorBoard's event files."""

import json
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenumba.engine.common.files import read_json
from lenumba.engine.config.config import load_config, read_config
from lenumba.engine.data.selection import load_data
from lenumba.engine.explain.plain import loss_and_gradients
from lenumba.engine.models.model import load
from lenumba.engine.report.findings import feature_maps, kernels, look_into
from lenumba.engine.report.plots import confusion, draw_run, mistakes
from lenumba.engine.runs import extras
from lenumba.engine.runs.histograms import BINS, count, read_histograms, rebin
from lenumba.engine.runs.hooks import Hooks
from lenumba.engine.runs.recording import IMAGES, GradientProbe
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.training.trainer import Trainer
from lenumba.engine.tuning.plots import draw as draw_study
from lenumba.engine.tuning.space import Space

CONV = """
data: {name: bars, samples: 96, batch_size: 16}
network:
  layers:
    - {type: conv, channels: 2, kernel_size: 3, activation: relu, orientation: convolution}
    - flatten
    - {type: dense, units: 1, activation: sigmoid}
train: {epochs: 3}
"""
NAMES = ("conv1.kernel", "conv1.bias", "dense1.kernel", "dense1.bias")


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory) -> Path:
    return start_run(read_config(CONV, "bars.yaml"), out=tmp_path_factory.mktemp("bars") / "plain").path


@pytest.fixture(scope="module")
def rich_run(tmp_path_factory) -> Path:
    """The same training with everything recorded."""
    loaded = read_config(CONV, "bars.yaml", {"plots": True, "log": "tensorboard"})
    out = tmp_path_factory.mktemp("bars") / "rich"
    return start_run(loaded, out=out, hooks=Hooks(finished=draw_run)).path


def test_recording_changes_no_bit_of_the_training(plain_run, rich_run):
    weights = [read_json(run / "run.json")["weights_sha256"] for run in (plain_run, rich_run)]
    assert weights[0] == weights[1]
    assert not (plain_run / "plots").exists()
    assert not (plain_run / "histograms.jsonl").exists()
    assert not (plain_run / "tensorboard").exists()


def test_a_run_with_plots_has_them_all(rich_run):
    found = sorted(path.name for path in (rich_run / "plots").iterdir())
    expected = ["confusion.png", "curves.png", "features.png", "histograms.png", "kernels.png"]
    assert [name for name in found if name != "mistakes.png"] == expected
    for path in (rich_run / "plots").iterdir():
        picture = np.asarray(Image.open(path).convert("L"))
        assert picture.shape[1] >= 400, path
        assert picture.std() > 5, path  # something is on it


def test_plot_draws_what_the_run_has(lenumba, run):
    result = lenumba("plot", run, "--format", "svg", "--out", "drawn")
    assert result.exit_code == 0, result.output
    names = [Path(line.split()[0]).name for line in result.stdout.splitlines()]
    assert names == ["curves.svg", "confusion.svg", "features.svg", "mistakes.svg"]  # no convolution, no histograms
    for name in names:
        assert ElementTree.parse(Path("drawn") / name).getroot().tag.endswith("svg")
    assert lenumba("plot", run, "-q").stdout == ""
    assert (run / "plots" / "curves.png").is_file()


def test_plot_refuses_in_one_line(refused, run, monkeypatch):
    assert "no run folder" in refused(2, "plot", "nowhere")
    assert "absent.png" in refused(3, "plot", run, "--image", "absent.png")
    Path("file").write_text("")
    assert "file" in refused(3, "plot", run, "--out", "file")
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'lenumba[plot]'" in refused(3, "plot", run)
    assert "pip install 'lenumba[tensorboard]'" in refused(3, "train", "tiny.yaml", "log=tensorboard")
    assert "pip install 'lenumba[plot]'" in refused(3, "train", "tiny.yaml", "plots=true")


def test_findings_are_those_of_the_test_set(plain_run):
    found = look_into(str(plain_run))
    model, labels = load(plain_run), found.dataset.test_labels
    probabilities = model.predict_proba(found.dataset.test_images)[:, 0]
    wrong = np.flatnonzero((probabilities >= 0.5) != labels)
    assert sorted(found.test.mistakes) == wrong.tolist()
    certainty = np.where(labels == 1, probabilities, 1 - probabilities)[found.test.mistakes]
    assert (np.diff(certainty) >= 0).all()
    assert found.test.confusion[0, 1] + found.test.confusion[1, 0] == len(wrong)
    assert found.test.accuracy == pytest.approx(model.evaluate().accuracy)
    assert labels[found.samples(2)].tolist() == [0, 0, 1, 1]


def test_feature_maps_end_in_the_networks_outputs(plain_run):
    found = look_into(str(plain_run))
    image = found.dataset.test_images[0]
    maps = dict(feature_maps(found.model, image))
    assert [map_.shape for map_ in maps.values()] == [(2, 4, 4), (2, 4, 4), (32, 1, 1), (1, 1, 1), (1, 1, 1)]
    assert maps["outputs"].item() == pytest.approx(found.test.outputs[0, 0], abs=1e-5)
    [(_, slid)] = kernels(found.model)
    x = (image[:, :, 0] * found.model.executor.scale[0] + found.model.executor.shift[0]).astype(float)
    bias = found.model.network.views(found.model.executor.theta)["conv1.bias"]
    by_hand = sum(slid[1, 0, u, v] * x[1 + u, 2 + v] for u in range(3) for v in range(3)) + bias[1]
    assert maps["conv1"][1, 1, 2] == pytest.approx(by_hand)


def test_class_names_are_no_mathematics(rich_run, tmp_path):
    found = look_into(str(rich_run))
    found = replace(found, test=replace(found.test, labels=1 - found.test.predicted))  # all are mistakes
    names = found.model.class_names = ("$\\bad{$", "100 $")
    for draw in (confusion, mistakes):
        draw(found).savefig(tmp_path / "some.png")
    labels = [label.get_text() for label in confusion(found).axes[0].get_xticklabels()]
    assert labels == [name.replace("$", "\\$") for name in names]


@pytest.mark.parametrize(("optimizer", "max_norm"), [("sgd", None), ("adamw", None), ("sgd", 1e-3)])
def test_the_probe_finds_the_gradient(optimizer, max_norm, place):
    changes = {
        "optimizer.name": optimizer,
        "optimizer.max_norm": max_norm,
        "optimizer.weight_decay": 0.1,
        "loss.label_smoothing": 0.1,
    }
    loaded = read_config(CONV, "bars.yaml", changes)
    trainer = Trainer(loaded, load_data(loaded))
    before = trainer.executor.theta.copy()
    found = GradientProbe(trainer).gradients()
    chosen = trainer.train_indices[:IMAGES]
    scale, shift = trainer.executor.scale[:, None, None], trainer.executor.shift[:, None, None]
    x = trainer.images[chosen] * scale.astype(float) + shift
    labels = trainer.dataset.train_labels[chosen]
    _, _, expected = loss_and_gradients(trainer.network, trainer.network.views(before), x, labels, 0.1)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-6)
    assert (trainer.executor.theta == before).all()


def test_histograms_are_of_every_epoch(rich_run):
    histograms = read_histograms(rich_run)
    assert [item.name for item in histograms] == [text for name in NAMES for text in (name, f"∂L/∂{name}")]
    sizes = [18, 18, 2, 2, 32, 32, 1, 1]
    for item, size in zip(histograms, sizes, strict=True):
        assert item.epochs == [1, 2, 3]
        np.testing.assert_allclose(item.counts.sum(axis=1), size)
    last = load(rich_run, "last")
    views = last.network.views(last.executor.theta)
    line = json.loads((rich_run / "histograms.jsonl").read_text("utf-8").splitlines()[-1])
    assert line["tensors"]["dense1.kernel"] == count(views["dense1.kernel"])


def test_rebinning_keeps_counts_where_they_were():
    values = np.random.default_rng(0).normal(size=1000)
    wide = rebin(count(values), -8, 8)
    assert wide.sum() == pytest.approx(1000)
    exact = np.histogram(values, BINS, (-8, 8))[0]
    moved = np.abs(np.cumsum(wide) - np.cumsum(exact)).max()
    assert moved <= count(values)["counts"][BINS // 2] + 40  # not more than lies within one bin
    np.testing.assert_allclose(rebin(count(values), values.min(), values.max()), count(values)["counts"], atol=1e-9)


def test_a_resumed_run_records_every_epoch_once(tmp_path):
    loaded = read_config(CONV, "bars.yaml", {"plots": True, "log": "tensorboard", "train.epochs": 2})
    run = start_run(loaded, out=tmp_path / "run", hooks=Hooks(finished=draw_run)).path
    with (run / "histograms.jsonl").open("a") as file:  # as after a crash: an epoch too many, and half a line
        file.write('{"epoch": 3, "tensors": {}}\n{"epo')
    resume_run(run, ["train.epochs=4"])
    assert {tuple(item.epochs) for item in read_histograms(run)} == {(1, 2, 3, 4)}
    steps = [step for _, step in scalars(run)["loss/training"]]
    assert steps == [1, 2, 3, 4]


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX has them")
def test_a_run_killed_before_its_first_checkpoint_records_every_epoch_once(place, spawn, wait_for_epoch):
    patch = "import lenumba.engine.runs.run as runs\nruns.CHECKPOINT_SECONDS = 1e9"
    process = spawn("train", "tiny.yaml", "train.epochs=100000", "log=tensorboard", "--out", "run", patch=patch)
    wait_for_epoch(process, 4)
    process.kill()
    process.wait()
    assert len(scalars(Path("run"))["loss/training"]) >= 3  # they are not lost while TensorBoard looks on
    text = Path("run/config.yaml").read_text()
    Path("run/config.yaml").write_text(text.replace("epochs: 100000", "epochs: 5"))
    resume_run(Path("run"))
    assert [step for _, step in scalars(Path("run"))["loss/training"]] == [1, 2, 3, 4, 5]


def scalars(run: Path) -> dict[str, list[tuple[float, int]]]:
    """Read a run's event files as TensorBoard stores them: records of length, checksum, message, checksum.

    What a kill has cut short is no record.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found: dict[str, list[tuple[float, int]]] = {}
    for path in sorted((run / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            if len(data) < 16 + size:
                break
            event = Event.FromString(data[12 : 12 + size])
            if event.session_log.status == SessionLog.START:  # TensorBoard drops what this step and later ones were
                found = {tag: [item for item in items if item[1] < event.step] for tag, items in found.items()}
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((value.simple_value, event.step))
            data = data[16 + size :]
    return found


def test_event_files_hold_the_history(rich_run):
    history = [json.loads(line) for line in (rich_run / "metrics.jsonl").read_text().splitlines()]
    found = scalars(rich_run)
    assert found["loss/training"] == [(pytest.approx(line["train_loss"]), line["epoch"]) for line in history]
    assert found["accuracy/training"][-1] == (pytest.approx(history[-1]["train_accuracy"]), 3)
    assert {f"weights/{name}" for name in NAMES} | {f"gradients/{name}" for name in NAMES} <= set(found)


def test_recipes_record_nothing_unless_asked():
    config = load_config("lenet").config
    assert (config.plots, config.log) == (False, None)


@pytest.mark.parametrize("value", [1.0, 0.9])
def test_studies_are_drawn_without_a_warning_where_trials_have_no_errors(recwarn, tmp_path, value):
    space = Space(
        read_config(f"{CONV}tune: {{space: {{optimizer.learning_rate: {{low: 0.001, high: 0.1}}}}}}", "x.yaml")
    )
    rows = [
        {
            "trial": trial,
            "state": "finished",
            "value": v,
            "curves": [[v, v]],
            "params": {"optimizer.learning_rate": 0.01 + trial / 100},
        }
        for trial, v in enumerate((1.0, value))
    ]
    list(draw_study(tmp_path, space, None, rows))
    assert {path.stem for path in tmp_path.glob("*.png")} == {"history", "curves", "setting"}
    assert not [str(warning.message) for warning in recwarn]
