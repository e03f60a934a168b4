"""Trained networks side by side: seeds of one configuration, two runs on the same test images."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import f1_score

import lenumba as package
from lenumba.engine.common.bootstrap import drawn_scores, paired_intervals
from lenumba.engine.common.statistics import mcnemar, t_interval
from lenumba.engine.config.config import read_config
from lenumba.engine.runs.run import start_run
from lenumba.engine.runs.seeds import train_seeds

RECIPE = """\
data: {{name: folder, root: "{root}", image_size: [6, 9, 3], batch_size: 8, validation: 0.25}}
network:
  layers: [flatten, {{type: dense, units: {units}, activation: softmax}}]
optimizer: {{name: adamw, learning_rate: {rate}}}
train: {{epochs: 4}}
"""
COLOURS = {"ant": 122, "bee": 128, "cat": 134}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with the runs `one` and `two`, and the folders of seeds `three` and `four`; not to be changed."""
    folder, rng = tmp_path_factory.mktemp("side"), np.random.default_rng(5)
    for name, level in COLOURS.items():
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(70):
            pixels = level + rng.normal(0, 5) + rng.normal(0, 3, (12, 18, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "pictures" / name / f"{number}.png")
    slow, fast = (recipe(folder / "pictures", rate) for rate in (0.0005, 0.02))
    start_run(slow, out=folder / "one")
    start_run(fast, out=folder / "two")
    train_seeds(slow, 3, out=folder / "three")
    train_seeds(fast, 4, out=folder / "four")
    return folder


def recipe(root: Path, rate: float, *overrides: str, units: int = 3):
    return read_config(RECIPE.format(root=root, rate=rate, units=units), "side.yaml", overrides)


def test_mcnemars_exact_test_is_the_binomial_one():
    for first in range(8):
        for second in range(15):
            expected = stats.binomtest(first, first + second).pvalue if first + second else 1
            assert mcnemar(first, second) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(1000, 1200) == pytest.approx(stats.binomtest(1000, 2200).pvalue, rel=1e-9)


def test_students_interval_is_scipys():
    for count in (2, 3, 10, 60):
        values = np.random.default_rng(count).normal(3, 2, count).tolist()
        expected = stats.t.interval(0.95, count - 1, np.mean(values), stats.sem(values))
        assert t_interval(values) == pytest.approx(expected, rel=1e-9)
    assert t_interval([0.5, 0.5]) == (0.5, 0.5)


def answers(seed: int, count: int = 300, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and the answers of two classifiers that are right in 80 and 90 of 100 cases."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - 1, count)  # the last class only occurs among answers
    given = [np.where(rng.random(count) < right, labels, rng.integers(0, classes, count)) for right in (0.8, 0.9)]
    return labels, *given


def test_the_bootstraps_scores_are_those_of_the_drawn_images():
    labels, first, second = answers(0)
    kinds, numbers, counts = np.unique([labels, first, second], axis=1, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(1)
    for _ in range(5):
        drawn = rng.integers(0, len(labels), len(labels))
        sums = np.bincount(numbers.ravel()[drawn], minlength=len(counts))[None]
        for row, given in ((1, first), (2, second)):
            accuracy, f1 = drawn_scores(sums, kinds[0], kinds[row], 4)[:, 0]
            assert accuracy == pytest.approx((labels[drawn] == given[drawn]).mean())
            there = np.union1d(labels[drawn], given[drawn])
            assert f1 == pytest.approx(f1_score(labels[drawn], given[drawn], labels=there, average="macro"))


def test_the_bootstraps_interval_is_that_of_scipy():
    labels, first, second = answers(2)
    gain = (second == labels).astype(float) - (first == labels)
    expected = stats.bootstrap((gain,), np.mean, n_resamples=10_000, method="percentile", random_state=3)
    low, high = paired_intervals(labels, first, second, 4)["accuracy"]
    # Percentiles of 10 000 draws of a mean of 300 images, which has steps of 1/300.
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=2 / 300)
    assert paired_intervals(labels, first, first, 4) == {"accuracy": (0, 0), "macro_f1": (0, 0)}


def test_two_runs_are_compared_image_by_image(trained, lenumba):
    found = json.loads(lenumba("compare", trained / "one", trained / "two", "--json").stdout)
    models = [package.load(trained / name) for name in ("one", "two")]
    data = models[0].test_data()
    given = [model.predict(data.test_images) for model in models]
    labels = data.test_labels
    right = [row == labels for row in given]
    assert found["images"] == len(labels)
    for key, row in (("first", 0), ("second", 1)):
        assert found["accuracy"][key] == right[row].mean()
        assert found["macro_f1"][key] == pytest.approx(f1_score(labels, given[row], average="macro"))
    for key, row in (("only_first", 0), ("only_second", 1)):
        images = np.flatnonzero(right[row] & ~right[1 - row])
        assert [item["image"] for item in found[key]] == [data.files[1][k] for k in images]
        assert [item["predicted"] for item in found[key]] == [data.class_names[given[1 - row][k]] for k in images]
    assert found["p_value"] == pytest.approx(
        stats.binomtest(len(found["only_first"]), len(found["only_first"]) + len(found["only_second"])).pvalue
    )
    low, high = found["accuracy"]["interval"]
    assert low <= found["accuracy"]["difference"] <= high
    text = lenumba("compare", trained / "one", trained / "two").stdout
    assert f"right only in the second: {len(found['only_second'])}: {found['only_second'][0]['image']} (" in text
    assert "McNemar's exact test" in text


def test_folders_of_seeds_are_compared_seed_by_seed(trained, lenumba):
    result = lenumba("compare", trained / "three", trained / "four", "--json")
    found = json.loads(result.stdout)
    assert f"note: {trained / 'four'}: 1 seeds are left out" in result.stderr
    assert [*found["seeds"]] == ["0", "1", "2"]
    accuracies = [
        [package.load(trained / name / f"seed-{seed}").evaluate().accuracy for seed in range(3)]
        for name in ("three", "four")
    ]
    assert [pair[0] for pair in found["seeds"].values()] == accuracies[0]
    assert [pair[1] for pair in found["seeds"].values()] == accuracies[1]
    test = stats.ttest_rel(accuracies[1], accuracies[0])
    assert found["p_value"] == pytest.approx(test.pvalue)
    assert found["accuracy"]["interval"] == pytest.approx(tuple(test.confidence_interval()))
    assert "Student's paired t-test" in lenumba("compare", trained / "three", trained / "four").stdout


def test_the_seeds_of_a_folder_are_evaluated_together(trained, lenumba):
    found = json.loads(lenumba("evaluate", trained / "three", "--json").stdout)
    each = [package.load(trained / "three" / f"seed-{seed}").evaluate() for seed in range(3)]
    accuracies = [item.accuracy for item in each]
    assert found["figures"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert found["figures"]["accuracy"]["error"] == pytest.approx(stats.sem(accuracies))
    assert found["seeds"]["2"]["accuracy"] == accuracies[2]
    recall = [item.recall[1] for item in each]
    assert found["classes"]["bee"]["recall"]["mean"] == pytest.approx(np.mean(recall))
    assert found["classes"]["bee"]["recall"]["error"] == pytest.approx(stats.sem(recall))
    text = lenumba("evaluate", trained / "three").stdout
    assert "mean ± standard error over 3 seeds" in text


def test_seeds_are_drawn_as_a_mean_with_its_band_and_go_on_afterwards(trained, lenumba, tmp_path, monkeypatch):
    from lenumba.engine.report import curves

    drawn = []
    monkeypatch.setattr(curves, "save", lambda figure, path, kind: drawn.append(figure) or path.write_text(kind))
    folder = Path(shutil.copytree(trained / "three", tmp_path / "three"))
    assert lenumba("plot", folder).exit_code == 0
    assert (folder / "plots" / "curves.png").exists()
    lines = [
        [json.loads(line)["train_loss"] for line in path.open()] for path in sorted(folder.glob("*/metrics.jsonl"))
    ]
    axes = drawn[0].axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.mean(lines, axis=0))
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((np.mean(lines, axis=0) + stats.sem(lines)).max())
    assert len(train_seeds(recipe(trained / "pictures", 0.0005), 3, out=folder).runs) == 3


def test_what_cannot_be_compared_is_refused_in_one_line(trained, refused, lenumba, place):
    one, two, three, four = (trained / name for name in ("one", "two", "three", "four"))
    assert "expected two runs or two folders of seeds" in refused(2, "compare", three, one)
    assert f"found tiny.yaml and the run {one}" in refused(2, "compare", "tiny.yaml", one)
    assert "nothing to train" in refused(2, "compare", one, two, "--seeds", "3")
    assert "nothing to train" in refused(2, "compare", one, two, three)
    assert "found 1" in refused(2, "compare", one)
    assert "such as" in refused(2, "predict", three, "picture.png")
    assert "give one seed's run" in refused(2, "evaluate", three, "--html", "page.html")
    assert "curves alone" in refused(2, "plot", three, "data.root=elsewhere")
    shutil.copytree(four / "seed-3", "lonely/seed-3")
    assert "expected at least 2 seeds" in refused(2, "compare", three, "lonely")
    assert "expected at least 2 configurations, found 1; or 2 runs" in refused(
        2, "compare", "tiny.yaml", "x" * 300 + "=1"
    )


def test_other_classes_and_other_images_are_refused_in_one_line(trained, refused, place):
    pictures = trained / "pictures"
    start_run(recipe(pictures, 0.01, "data.classes=[0, 1]", units=2), out=place / "fewer")
    assert "expected the classes of" in refused(3, "compare", trained / "one", "fewer")
    shutil.copytree(pictures / "ant", "other/ant")
    for name in ("bee", "cat"):
        shutil.copytree(pictures / "bee", f"other/{name}")
    start_run(recipe(place / "other", 0.01), out=place / "elsewhere")
    assert "test images of" in refused(3, "compare", trained / "one", "elsewhere")


def test_networks_of_other_sizes_are_compared_by_the_files(trained, lenumba, place):
    start_run(recipe(trained / "pictures", 0.01, "data.image_size=[4, 4, 1]"), out=place / "small")
    found = json.loads(lenumba("compare", trained / "one", "small", "--json").stdout)
    assert not math.isnan(found["p_value"])
