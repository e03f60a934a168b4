"""Training on arrays in memory: layouts, types and labels as people have them, nothing guessed in silence."""

import json
from pathlib import Path

import numpy as np
import pytest

import lenumba as package
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import load_config
from lenumba.engine.data.drawn import draw_shapes
from lenumba.engine.data.in_memory import dataset_in_memory

LAYERS = [{"type": "average_pool", "size": 4}, "flatten", {"type": "dense", "units": 6, "activation": "softmax"}]
CONFIG = {"data": {"name": "arrays", "batch_size": 16}, "network": {"layers": LAYERS}, "train": {"epochs": 2}}
NAMES = ["red disc", "red square", "green disc", "green square", "blue disc", "blue square"]


@pytest.fixture(scope="module")
def shapes():
    """Images uint8 [240, 16, 16, 3], and the names of what they show."""
    images, labels = draw_shapes(240, 0)
    return images, np.array(NAMES)[labels]


# Layouts and types


def test_every_layout_and_type_gives_the_same_images(shapes):
    images, labels = shapes
    expected = dataset_in_memory(images, labels)
    first = np.moveaxis(images, -1, 1)
    real = (images / 255, (first / 255).astype(np.float32), images * 1.0)
    for given in (first, images.tolist(), images.astype(np.int64), *real):
        found = dataset_in_memory(given, list(labels))
        assert found.sha256 == expected.sha256
    assert dataset_in_memory(first, labels, channels="first").sha256 == expected.sha256
    grey = images[..., 0]
    same = [dataset_in_memory(given, labels).sha256 for given in (grey, grey[..., None], grey[:, None])]
    assert len(set(same)) == 1


def test_labels_are_numbers_or_names(shapes):
    images, labels = shapes
    by_name = dataset_in_memory(images, labels.astype(object), class_names=NAMES)
    numbers = np.array([NAMES.index(name) for name in labels])
    by_number = dataset_in_memory(images, numbers, class_names=NAMES)
    one_hot = dataset_in_memory(images, np.eye(6)[numbers], class_names=NAMES)
    assert by_name.sha256 == by_number.sha256 == one_hot.sha256
    assert by_name.class_names == tuple(NAMES)
    assert dataset_in_memory(images, labels).class_names == tuple(sorted(NAMES))
    assert dataset_in_memory(images, numbers).class_names == tuple("012345")


def test_what_is_converted_and_divided_is_told(shapes):
    images, labels = shapes
    dataset = dataset_in_memory(np.moveaxis(images, -1, 1) / 255, labels)
    assert dataset.notes == (
        f"arrays: in memory, 200 images for training and 40 for the test; SHA-256 {dataset.sha256}",
        "images: [N, C, H, W], 3 channels of 16×16",
        "images: numbers from 0 to 1, rounded to 255 levels",
        "arrays: 40 of 240 images are for the test, drawn, of each class its share",
    )
    counts = np.array([np.bincount(part, minlength=6) for part in (dataset.train_labels, dataset.test_labels)])
    assert np.abs(counts[1] - counts.sum(0) / 6).max() < 1
    together = np.concatenate([dataset.train_images, dataset.test_images])
    assert {image.tobytes() for image in together} == {image.tobytes() for image in images}


def test_given_parts_are_kept(shapes):
    images, labels = shapes
    parts = {"validation": (images[100:150], labels[100:150]), "test": (images[150:] / 255, labels[150:])}
    with pytest.raises(DataError, match=r"test images: expected whole numbers from 0 to 255, found float64"):
        dataset_in_memory(images, labels, **parts)
    parts["test"] = (images[150:], labels[150:])
    dataset = dataset_in_memory(images[:100], labels[:100], **parts)
    assert dataset.validation.tolist() == list(range(100, 150))
    np.testing.assert_array_equal(dataset.train_images, images[:150])
    np.testing.assert_array_equal(dataset.test_images, images[150:])
    drawn = dataset_in_memory(images[:100], labels[:100], validation=parts["validation"], test=0.25)
    np.testing.assert_array_equal(drawn.train_images[drawn.validation], images[100:150])
    assert len(drawn.test_labels) == 25


FLAT = np.zeros((4, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("images", "options", "match"),
    [
        (np.zeros((4, 3, 8, 3), np.uint8), {}, r"found \[4, 3, 8, 3\], which may be both; say channels='last'"),
        (np.zeros((4, 8, 8, 4), np.uint8), {}, r"may be neither; say channels='last' or channels='first'"),
        (FLAT - 1.0, {}, "expected numbers from 0 to 1, or whole numbers from 0 to 255, found float64 from -1 to -1"),
        (FLAT + 1.5, {}, "found float64 from 1.5 to 1.5"),
        (FLAT + np.nan, {}, "found float64 from nan to nan"),
        (FLAT + np.int64(256), {}, "expected whole numbers from 0 to 255, found int64 from 256 to 256"),
        (FLAT > 0, {}, "found bool"),
        (FLAT[0], {}, r"expected numbers \[N, H, W\].*found uint8 \[8, 8\]"),
        (FLAT[:3], {}, "expected a label for each image, found 3 images and 4 labels"),
        (FLAT, {"class_names": ["a", "c"]}, "labels: expected a, c, found also 'b'"),
        (FLAT, {"class_names": ["a", "a"]}, "expected different names"),
        (FLAT, {"test": (FLAT, list("abcd"))}, "test labels: expected a, b, found also 'c'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(images, options, match):
    with pytest.raises(DataError, match=match) as caught:
        dataset_in_memory(images, ["a", "b", "a", "b"], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"test": 1.5}, {"test": FLAT}, {"validation": (FLAT,)}, {"channels": "middle"}])
def test_wrong_arguments_are_refused(options):
    with pytest.raises(ConfigError):
        dataset_in_memory(FLAT, ["a", "b", "a", "b"], **options)


# Runs


def test_a_run_on_arrays(place, shapes, lenumba, refused):
    """Trained without any file of data, recorded, judged, resumed with the arrays, refused without them."""
    images, labels = shapes
    before = json.dumps(CONFIG)
    whole = package.train(CONFIG, {"train.epochs": 3}, images=images, labels=labels, validation=0.1, out="whole")
    part = package.train(CONFIG, images=images, labels=labels, validation=0.1)
    assert json.dumps(CONFIG) == before
    assert part.path == Path("runs/config-001")
    assert part.summary["notes"][0].endswith(f"SHA-256 {part.summary['data_sha256']}")
    assert "duplicates" in part.summary["data"]
    assert load_config(part.path / "config.yaml").config.data.name == "arrays"

    model = package.load(part.path)
    assert model.class_names == tuple(sorted(NAMES))
    expected = model.predict(images)
    for given in (np.moveaxis(images, -1, 1), images / 255, images.astype(float)):
        np.testing.assert_array_equal(model.predict(given), expected)
    assert model.predict(np.moveaxis(images[0], -1, 0)) == expected[:1]
    right = (np.array(model.class_names)[expected] == labels).mean()
    assert model.evaluate(images, labels).accuracy == pytest.approx(right)
    assert model.evaluate(images / 255, [*labels]).accuracy == pytest.approx(right)

    for command in (["evaluate", part.path], ["train", "--resume", part.path, "train.epochs=3"], ["verify", part.path]):
        line = refused(3, *command)
        assert "lenumba.load(RUN).evaluate(images, labels), or lenumba.train(resume=RUN, images=…, labels=…)" in line
    with pytest.raises(DataError, match="was trained on other data than arrays now is"):
        package.train(resume=part.path, images=images[:-1], labels=labels[:-1], overrides={"train.epochs": 3})
    with pytest.raises(ConfigError, match=r"validation: expected 0\.1, as .* was trained with, found 0\.2"):
        package.train(resume=part.path, images=images, labels=labels, validation=0.2)
    same = {"images": images, "labels": labels, "validation": 0.1}
    resumed = package.train(resume=part.path, overrides={"train.epochs": 3}, **same)
    for key in ("weights_sha256", "test_accuracy"):
        assert resumed.summary[key] == whole.summary[key]


def test_arrays_replace_the_data_of_a_recipe(place, shapes):
    images, labels = shapes
    changes = {"data.samples": None, "train.epochs": 1}
    with pytest.raises(ConfigError, match=r"network.layers.2: arrays: expected 6 outputs for 6 classes"):
        package.train("tiny.yaml", changes, images=images, labels=labels, validation=20)
    changes["network.layers.2.units"] = 6
    result = package.train("tiny.yaml", changes, images=images, labels=labels, validation=20)
    assert (result.summary["train_images"], result.summary["validation_images"]) == (180, 20)


def test_arguments_that_exclude_each_other(place, run, shapes):
    for options in ({"labels": [1]}, {"test": 0.5}, {"resume": run, "out": "x"}, {"resume": run, "config": "lenet"}):
        with pytest.raises(ConfigError):
            package.train(**options)
    with pytest.raises(ConfigError, match="expected no images, as its data are digits"):
        package.train(resume=run, images=shapes[0], labels=shapes[1])


def test_configurations_name_arrays_but_have_none(place, refused):
    Path("own.yaml").write_text(json.dumps(CONFIG))
    for command in ("train", "check"):
        assert "pass them in Python" in refused(3, command, "own.yaml")
