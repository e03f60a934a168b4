"""Transfer: what a network takes from a trained run, layers that stay frozen, and parts of a data set."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import lenumba as package
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import load_config, read_config
from lenumba.engine.data.dataset import dataset_from_arrays, load_dataset
from lenumba.engine.data.selection import load_data, select
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.training.build import check_network
from lenumba.engine.training.trainer import Trainer

# One convolution that is taken and frozen, one dense layer that is taken and trained, and a head that is drawn.
SMALL = """\
data: {name: digits, classes: [7, 3, 5], samples_per_class: 40, validation: 0, batch_size: 16}
network:
  layers:
    - {type: average_pool, size: 2}
    - {type: conv, channels: 3, kernel_size: 5, stride: 2, activation: relu}
    - flatten
    - {type: dense, units: 9, activation: relu}
    - {type: dense, units: 3, activation: softmax}
optimizer: {name: sgd, learning_rate: 0.05, momentum: 0.9, weight_decay: 0.1}
train: {epochs: 2}
"""
TAKEN = ["conv1.kernel", "conv1.bias", "dense1.kernel", "dense1.bias"]
FROZEN = ["network.layers.1.trainable=false", "network.layers.4.name=head"]


def small(*overrides: str):
    return read_config(SMALL, "small.yaml", overrides)


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """A finished run of SMALL, not to be changed."""
    out = tmp_path_factory.mktemp("source") / "source"
    start_run(small("data.classes=[0, 1, 2]"), out=out)
    return out


def tensors(folder: Path, name: str = "best") -> dict[str, np.ndarray]:
    return Checkpoint.read(folder / f"{name}.safetensors").tensors


# What is taken


def test_what_fits_is_taken_and_the_rest_is_drawn(place, source):
    result = start_run(small(f"init_from={source}", "network.layers.4.name=head", "optimizer.learning_rate=1e-30"))
    record = json.loads((result.path / "run.json").read_text())
    assert record["init_from"] == {"run": str(source), "taken": TAKEN, "drawn": ["head.kernel", "head.bias"]}
    found, before = tensors(result.path), tensors(source)
    for name in TAKEN:
        np.testing.assert_array_equal(found[name], before[name])
    loaded = small("network.layers.4.name=head")
    network = check_network(loaded)
    drawn = network.views(network.initial_parameters(0))["head.kernel"]
    np.testing.assert_array_equal(found["head.kernel"], drawn)


def test_a_layer_of_another_shape_is_drawn_whole(place, source):
    """No layer has an old bias beside a new kernel, as dense2 would, whose bias alone fits."""
    result = start_run(small(f"init_from={source}", "network.layers.3.units=10", "train.epochs=1"))
    drawn = ["dense1.kernel", "dense1.bias", "dense2.kernel", "dense2.bias"]
    assert result.summary["init_from"]["drawn"] == drawn
    assert result.summary["init_from"]["taken"] == ["conv1.kernel", "conv1.bias"]


@pytest.mark.parametrize("orientation", ["convolution", "correlation"])
def test_kernels_are_rotated_for_the_other_orientation(place, source, orientation):
    """So that the network does what the run's did, whichever way its kernels slide."""
    changes = [f"init_from={source}", f"network.layers.1.orientation={orientation}", "optimizer.learning_rate=1e-30"]
    result = start_run(small(*changes, "data.classes=[0, 1, 2]", "train.epochs=1", "optimizer.weight_decay=0"))
    expected = package.load(source).evaluate()
    found = package.load(result.path).evaluate()
    assert found.confusion.tolist() == expected.confusion.tolist()
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    kernel, before = tensors(result.path)["conv1.kernel"], tensors(source)["conv1.kernel"]
    same = load_config(source / "config.yaml").config.network.layers[1].orientation == orientation
    np.testing.assert_array_equal(kernel, before if same else before[..., ::-1, ::-1])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_layers_stay_as_they_are_to_the_bit(place, source, optimizer):
    result = start_run(small(f"init_from={source}", *FROZEN, f"optimizer.name={optimizer}"))
    before = tensors(source)
    for checkpoint in ("best", "last"):
        found = tensors(result.path, checkpoint)
        assert found["conv1.kernel"].tobytes() == before["conv1.kernel"].tobytes()
        assert found["conv1.bias"].tobytes() == before["conv1.bias"].tobytes()
        assert before["conv1.bias"].any()
        assert not np.array_equal(found["dense1.kernel"], before["dense1.kernel"])


def test_pixels_are_normalised_by_the_new_images(place, source):
    loaded = small(f"init_from={source}", "train.epochs=1")
    result = start_run(loaded)
    trainer = Trainer(loaded, load_data(loaded))
    found, before = (Checkpoint.read(path / "best.safetensors").state for path in (result.path, source))
    assert found["mean"] == trainer.normalization.mean.tolist() != before["mean"]


def test_path_is_stored_absolute_and_resuming_does_not_need_the_source(place, source):
    os.symlink(source, place / "elsewhere")
    whole = start_run(small("init_from=elsewhere", *FROZEN, "train.epochs=3"), out=place / "whole")
    part = start_run(small("init_from=elsewhere", *FROZEN, "train.epochs=1"), out=place / "part")
    assert load_config(part.path / "config.yaml").config.init_from == str(place / "elsewhere")
    (place / "elsewhere").unlink()
    resumed = resume_run(part.path, ["train.epochs=3"])
    assert resumed.summary["init_from"] == whole.summary["init_from"]
    model = package.load(part.path)
    assert model.class_names == ("7", "3", "5")
    assert model.shows_digits  # so that 'predict' prepares pictures as for all ten
    assert model.evaluate().accuracy == resumed.test_accuracy
    for name in ("conv1.kernel", "conv1.bias"):
        np.testing.assert_array_equal(tensors(part.path)[name], tensors(source)[name])


def test_latest_is_the_run_before_this_one(place, source, lenumba):
    (place / "small.yaml").write_text(SMALL)
    first = start_run(load_config("small.yaml", ["train.epochs=1"]))
    result = lenumba("train", "small.yaml", "init_from=latest", "train.epochs=1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert f"taken from {first.path.absolute()}: {', '.join([*TAKEN, 'dense2.kernel', 'dense2.bias'])}" in lines
    assert "drawn: none" in lines
    assert load_config("runs/small-002/config.yaml").config.init_from == str(first.path.absolute())


# What is refused


def test_unknown_run_is_an_error_before_training(refused, place):
    line = refused(2, "train", "tiny.yaml", "init_from=nowhere")
    assert line.startswith("error: override init_from: nowhere: no run folder")


def test_damaged_checkpoint_is_an_error_before_training(refused, run, place):
    path = place / run / "best.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert "damaged" in refused(3, "train", "tiny.yaml", f"init_from={run}")
    path.unlink()
    assert "no such checkpoint" in refused(3, "train", "tiny.yaml", f"init_from={run}")


def test_a_run_that_fits_nowhere_is_an_error_before_training(refused, run):
    line = refused(2, "train", "tiny15", f"init_from={run}")
    assert "conv1.kernel 1×1×3×3" in line
    assert "found dense1.kernel 10×49" in line or "found dense1.bias 10" in line


def test_a_resumed_run_keeps_its_source(refused, run):
    assert "override init_from: a run keeps it" in refused(2, "train", "--resume", run, "init_from=other")


# Parts of a data set


def test_classes_are_relabelled_in_the_given_order():
    whole, part = load_dataset("digits"), load_data(small("data.samples_per_class=null"))
    assert (part.classes, part.class_names) == (3, ("7", "3", "5"))
    for images, labels, kept, found in (
        (whole.train_images, whole.train_labels, part.train_images, part.train_labels),
        (whole.test_images, whole.test_labels, part.test_images, part.test_labels),
    ):
        chosen = np.isin(labels, [7, 3, 5])
        np.testing.assert_array_equal(kept, images[chosen])
        np.testing.assert_array_equal(np.array([7, 3, 5])[found], labels[chosen])
    assert part.sha256 != whole.sha256


def test_samples_are_the_first_of_each_class():
    whole, part = load_dataset("digits"), load_data(small("data.samples_per_class=2"))
    indices = np.sort(np.concatenate([np.flatnonzero(whole.train_labels == digit)[:2] for digit in (7, 3, 5)]))
    np.testing.assert_array_equal(part.train_images, whole.train_images[indices])
    assert len(part.test_labels) == np.isin(whole.test_labels, [7, 3, 5]).sum()
    every = load_data(small("data.classes=null", "data.samples_per_class=2"))
    assert np.bincount(every.train_labels).tolist() == [2] * 10


def test_nothing_chosen_is_the_data_set_itself():
    dataset = load_dataset("bars")
    assert select(load_config("tiny15"), dataset) is dataset


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.classes=[5]", "override data.classes: expected a list of 2 to 1000 items"),
        ("data.classes=[5, 6, 5]", "override data.classes: data.classes.2: class 5 is already item 0; list each class"),
        ("data.classes=[5, -1]", "data.classes.1: expected an integer from 0 to 999, found -1"),
        ("data.classes=5", "override data.classes: expected a list"),
        ("data.samples_per_class=0", "expected an integer >= 1"),
        ("data.samples=100", "data.samples_per_class: expected null beside data.samples = 100; set only one"),
    ],
)
def test_configuration_of_a_part_is_checked(override, message):
    with pytest.raises(ConfigError) as caught:
        small(override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_class_is_an_error(refused, place):
    (place / "small.yaml").write_text(SMALL)
    line = refused(2, "train", "small.yaml", "data.classes=[1, 2, 10]")
    assert "data.classes.2: expected a class of digits, 0 to 9, found 10" in line
    rng = np.random.default_rng(0)
    own = dataset_from_arrays(rng.integers(0, 256, (8, 4, 4), np.uint8), np.arange(8) % 4, *two_images())
    with pytest.raises(ConfigError, match=r"0 to 3, found 7"):
        select(small(), own)


def test_fewer_images_than_asked_for_is_an_error(refused, place):
    (place / "small.yaml").write_text(SMALL)
    line = refused(3, "train", "small.yaml", "data.samples_per_class=5000")
    assert "digits: expected 5000 training images of class 7 (7), found 1" in line
    assert line.endswith("lower data.samples_per_class\n")


def test_classes_without_a_test_image_are_an_error():
    own = dataset_from_arrays(np.zeros((8, 4, 4), np.uint8), np.arange(8) % 4, *two_images())
    with pytest.raises(DataError, match=r"at least one test image of the classes \[2, 3\], found none"):
        select(small("data.classes=[2, 3]"), own)


def two_images():
    return np.zeros((2, 4, 4), np.uint8), np.arange(2)


def test_outputs_must_fit_the_chosen_classes():
    with pytest.raises(ConfigError, match="expected 2 outputs for 2 classes"):
        check_network(small("data.classes=[0, 1]"))


# The recipe


@pytest.mark.long("compiles for long")
def test_recipe_takes_all_but_its_head_from_lenet(place, mnist_root):
    changes = {"data.root": str(mnist_root), "train.epochs": 1}
    only = {"data.samples": 2000, "data.validation": 0}
    first = package.train("lenet", {**changes, **only, "data.classes": [0, 1, 2, 3, 4], "network.layers.6.units": 5})
    result = package.train("lenet-transfer", {**changes, "init_from": str(first.path)})
    found = result.summary["init_from"]
    assert found["drawn"] == ["head.kernel", "head.bias"]
    assert [name.partition(".")[0] for name in found["taken"][::2]] == ["conv1", "conv2", "dense1"]
    assert result.summary["train_images"] == 250
    assert package.load(result.path).class_names == tuple("56789")
