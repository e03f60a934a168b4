"""What a run tells of its data and of every class: a network that calls every picture 'ok' says so itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenumba.engine.common.metrics import balanced_accuracy, confusion_matrix, f1_scores, macro_f1
from lenumba.engine.data import nearness
from lenumba.engine.data.arrays import Arrays
from lenumba.engine.data.assemble import assemble
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.data.survey import survey, survey_lines
from lenumba.engine.runs.ending import ending_line

RECIPE = """\
data: {name: npz, root: own.npz, batch_size: 16, validation: 0.2}
network:
  layers: [flatten, {type: dense, units: 3, activation: softmax}]
optimizer: {name: sgd, learning_rate: 1e-6}
train: {epochs: 1}
"""
NAMES = ("ok", "scratch", "dent")


def pictures(counts, seed):
    """Noise, and labels of so many of each class."""
    labels = np.repeat(np.arange(3), counts)
    return np.random.default_rng(seed).integers(0, 256, (len(labels), 20, 20, 3), np.uint8), labels


def made(train=(80, 15, 5), test=(16, 3, 1)):
    return assemble("npz", Arrays(*pictures(train, 0), *pictures(test, 1), NAMES))


def counted(dataset):
    return survey(dataset, np.arange(10, 100), np.arange(10))


def test_classes_are_counted_in_every_part():
    found = counted(made())
    assert found["classes"]["ok"] == {"training": 70, "validation": 10, "test": 16}
    assert found["classes"]["dent"] == {"training": 5, "validation": 0, "test": 1}
    assert (found["largest_class"], found["largest_class_accuracy"]) == ("ok", 0.8)
    assert found["duplicates"] == {"equal": 0, "equal_across": 0, "near": 0, "near_across": 0}
    lines = survey_lines(found)
    assert lines[2].split() == ["ok", "70", "10", "16"]
    assert lines[-1] == "always 'ok' would be right for 80.00 % of the test images"


def test_duplicates_are_found_and_those_across_are_a_warning():
    dataset = made()
    train, test = dataset.train_images, dataset.test_images
    train[3], test[2], test[5] = train[9], train[7], train[7]
    noise = np.random.default_rng(2).integers(-4, 5, train[0].shape)
    test[11] = (train[20] + noise).clip(0, 255)  # as if it were compressed anew
    found = counted(dataset)["duplicates"]
    assert found == {"equal": 3, "equal_across": 2, "near": 1, "near_across": 1}
    lines = survey_lines(counted(dataset))
    assert "warning: 2 test images are equal to training images: the test is too easy" in lines
    assert "warning: 1 test images are nearly equal to training images: the test is too easy" in lines


def test_pictures_of_one_scene_are_no_duplicates():
    dataset = made()
    scene = np.linspace(60, 180, 20).astype(np.uint8)[:, None, None]
    for images in (dataset.train_images, dataset.test_images):
        images[:] = scene + images // 32
    assert counted(dataset)["duplicates"]["near"] == 0


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ([(9, 7), (30, 20), (8, 12), (40, 10)], "pictures from 9×7 to 30×20 pixels, resized to 9×7"),
        ([(9, 7)] * 4, "pictures of 9×7 pixels"),
        ([(8, 8)] * 4, "pictures of 8×8 pixels, resized to 9×7"),
    ],
)
def test_sizes_of_pictures_are_told(tmp_path, sizes, line):
    for number, size in enumerate(sizes):
        for part in ("train", "test"):
            folder = tmp_path / f"root {number % 2}" / part / "ab"[number // 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", size).save(folder / f"{number}.png")
    roots = [str(tmp_path / "root 0"), str(tmp_path / "root 1")]
    dataset = load_dataset("folder", roots, image_size=(7, 9, 1))
    assert line in survey_lines(survey(dataset, np.arange(4), np.arange(0)))


def test_known_data_sets_have_no_table():
    dataset = assemble("digits", Arrays(*pictures((80, 15, 5), 0), *pictures((16, 3, 1), 1), NAMES))
    assert survey_lines(counted(dataset)) == []


@pytest.mark.parametrize(("end", "told"), [(0.9, True), (0.41, False)])
def test_overfitting_is_told_with_its_epoch(end, told):
    history = [
        {"epoch": 1, "train_loss": 0.5, "val_loss": 0.6},
        {"epoch": 2, "train_loss": 0.3, "val_loss": 0.4},
        {"epoch": 3, "train_loss": 0.1, "val_loss": end},
    ]
    line = ending_line({"ended": "all 3 epochs are done", "best_by": "loss", "best_epoch": 2}, history)
    assert line.startswith("all 3 epochs are done; best epoch 2 (validation loss 0.4000)")
    assert ("overfitting: " in line) == told
    assert ("lowest at epoch 2 (0.4000) and ended at 0.9000" in line) == told


@pytest.mark.parametrize(
    ("train", "validation", "images", "told"),
    [(1.0, 0.8952, 1000, True), (0.99, 0.985, 5000, False), (1.0, 0.95, 100, False), (0.9, 0.95, 1000, False)],
)
def test_overfitting_is_a_gap_that_is_no_chance(train, validation, images, told):
    history = [{"epoch": 1, "train_loss": 0.1, "train_accuracy": train, "val_loss": 0.2, "val_accuracy": validation}]
    summary = {"ended": "the only epoch is done", "best_by": "accuracy", "best_epoch": 1, "validation_images": images}
    line = ending_line(summary, history)
    said = f"training accuracy {100 * train:.2f} %, validation {100 * validation:.2f} %"
    assert line.endswith(f"; overfitting: {said}") == told
    assert ("overfitting" in line) == told
    assert f"best epoch 1 (validation accuracy {100 * validation:.2f} %)" in line
    again = [*history, history[0] | {"epoch": 2, "val_loss": 0.21}]
    assert f"{100 * validation:.2f} %, the lowest loss of equals)" in ending_line(summary, again)


def test_a_network_that_takes_everything_for_the_largest_class_says_so(place, lenumba):
    train, test = pictures((80, 15, 5), 0), pictures((16, 3, 1), 1)
    arrays = dict(zip(("train_images", "train_labels", "test_images", "test_labels"), (*train, *test), strict=True))
    arrays["train_images"][80:] //= 8  # nothing to be learned at this rate
    np.savez("own.npz", **arrays, class_names=np.array(NAMES))
    Path("own.yaml").write_text(RECIPE)
    result = lenumba("train", "own.yaml", "--out", "run")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("run/run.json").read_text())
    lines = result.stdout.splitlines()
    assert next(line for line in lines if line.startswith("total ")).split() == ["total", "80", "20", "20"]
    never = record["never_predicted"]
    assert set(never) == {name for name, share in record["recall"].items() if name in never and share == 0}
    assert any(line.startswith("always 'ok': 80.00 %   recall: ok ") for line in lines)
    assert (f"warning: never predicted: {', '.join(never)}" in lines) == bool(never)
    assert record["data"]["largest_class_accuracy"] == 0.8
    confusion = json.loads(lenumba("evaluate", "run", "--json").stdout)["confusion"]
    expected = {name: row[k] / sum(row) for k, (name, row) in enumerate(zip(NAMES, confusion, strict=True))}
    assert record["recall"] == pytest.approx(expected)


def test_f1_and_balanced_accuracy_are_those_of_scikit_learn():
    """Also with classes that do not occur, or are never predicted."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for present in (5, 4, 3):
        labels, predicted = rng.integers(0, present, 60), np.minimum(rng.integers(0, 5, 60), present)
        confusion = confusion_matrix(labels, predicted, 6)
        assert macro_f1(confusion) == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
        every = metrics.f1_score(labels, predicted, average=None, labels=range(6), zero_division=0)
        np.testing.assert_allclose(f1_scores(confusion), every)
        recall = metrics.recall_score(labels, predicted, average="macro", labels=np.unique(labels))
        assert balanced_accuracy(confusion) == pytest.approx(recall)


def connected(points, limit):
    """Groups by comparing every pair."""
    near = np.sqrt(np.square(points[:, None] - points[None]).sum(-1)) <= limit
    while (more := near @ near).sum() > near.sum():
        near = more
    groups = {tuple(np.flatnonzero(row).tolist()) for row in near}
    return sorted(list(group) for group in groups if len(group) > 1)


@pytest.mark.parametrize("size", [1, 2, 3, 20])
@pytest.mark.parametrize("limit", [0.01, 0.2, 0.7, 3.0])
def test_neighbours_are_those_that_comparing_every_pair_finds(size, limit, monkeypatch):
    monkeypatch.setattr(nearness, "CHUNK", 50)
    rng = np.random.default_rng(size)
    points = rng.normal(size=(300, size)) * rng.uniform(0.1, 3, size)
    points[200:] = points[:100] + rng.normal(size=(100, size)) * limit / 2 / size**0.5
    found = nearness.neighbours(points.astype(np.float32), limit)
    assert sorted(found) == connected(points.astype(np.float32).astype(float), limit)


def test_too_many_neighbours_are_not_searched_and_that_is_told(monkeypatch):
    monkeypatch.setattr(nearness, "MOST_PAIRS", 3)
    found = counted(made())
    assert set(found["duplicates"]) == {"equal", "equal_across"}
    assert survey_lines(found)[-1] == "note: not searched for nearly equal images, as too many are alike"
