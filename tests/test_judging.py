"""Judging trained networks: curves, calibration, thresholds, the page of an evaluation."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize_scalar
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

import lenumba as package
from lenumba.engine.common.calibration import BINS, Reliability, at_temperature, fit_temperature, log_likelihood
from lenumba.engine.common.curves import Curve
from lenumba.engine.config.config import read_config
from lenumba.engine.data.selection import load_data, split
from lenumba.engine.models.assessment import assess
from lenumba.engine.models.thresholds import choose
from lenumba.engine.runs.run import start_run

RECIPE = """\
data: {{name: folder, root: "{root}", image_size: [6, 9, 3], batch_size: 8, validation: 0.25}}
network:
  layers: [flatten, {{type: dense, units: {units}, activation: {activation}}}]
optimizer: {{name: adamw, learning_rate: 0.01}}
train: {{epochs: 6}}
"""
COLOURS = {"ant": 120, "bee": 128, "cat": 136}


def paint(folder: Path, count: int = 60, classes=tuple(COLOURS)) -> Path:
    """Write pictures that are hard to tell apart: grey of three levels, under noise that is alike in every pixel."""
    rng = np.random.default_rng(5)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = COLOURS[name] + rng.normal(0, 7) + rng.normal(0, 3, (12, 18, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{name[0]}{number}.png")
    return folder


@pytest.fixture(scope="module")
def hard(tmp_path_factory) -> Path:
    """A finished run that makes mistakes, not to be changed."""
    folder = tmp_path_factory.mktemp("hard")
    text = RECIPE.format(root=paint(folder / "pictures"), units=3, activation="softmax")
    return start_run(read_config(text, "hard.yaml"), out=folder / "run").path


@pytest.fixture
def ranked():
    """Scores with ties and the images of the class, which are few."""
    rng = np.random.default_rng(1)
    positive = rng.random(400) < 0.15
    return np.round(rng.normal(positive, 0.8), 1).astype(np.float32), positive


@pytest.fixture
def probabilities():
    """Probabilities of a network that is too sure, and labels."""
    rng = np.random.default_rng(2)
    logits = 3 * rng.normal(size=(500, 4))
    labels = np.array([rng.choice(4, p=np.exp(row / 2) / np.exp(row / 2).sum()) for row in logits])
    return at_temperature(np.exp(logits), 1).astype(np.float32), labels


def whole(values: np.ndarray) -> np.ndarray:
    """Return probabilities whose sums are 1 in double precision, too."""
    return values / values.sum(1, dtype=float, keepdims=True)


def test_curves_are_those_of_scikit_learn(ranked):
    scores, positive = ranked
    curve = Curve.of(scores, positive)
    fall_out, recall, thresholds = sk.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.thresholds, thresholds[1:])
    np.testing.assert_allclose(curve.fall_out, fall_out[1:])
    np.testing.assert_allclose(curve.recall, recall[1:])
    assert curve.auc == pytest.approx(sk.roc_auc_score(positive, scores), abs=1e-12)
    assert curve.average_precision == pytest.approx(sk.average_precision_score(positive, scores), abs=1e-12)
    precision, recall, _ = sk.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(curve.precision[::-1], precision[:-1])
    np.testing.assert_allclose(curve.recall[::-1], recall[:-1])


def test_the_threshold_has_the_best_f1_of_all_and_lies_between_scores(ranked):
    scores, positive = ranked
    curve = Curve.of(scores, positive)
    found = curve.best_threshold
    tried = {value: sk.f1_score(positive, scores >= value) for value in np.unique(scores)}
    assert sk.f1_score(positive, scores >= found) == pytest.approx(max(tried.values()))
    assert found not in scores
    assert curve.at(found) == pytest.approx(
        (sk.precision_score(positive, scores >= found), sk.recall_score(positive, scores >= found))
    )


def test_a_class_without_images_has_no_figures():
    curve = Curve.of(np.array([0.3, 0.2]), np.array([False, False]))
    assert (curve.auc, curve.average_precision, curve.best_threshold) == (None, None, None)
    assert curve.at(0.9) == (None, None)
    assert Curve.of(np.array([0.3, 0.2]), np.array([True, True])).auc is None


def test_a_long_curve_keeps_its_ends_and_its_shape():
    rng = np.random.default_rng(3)
    positive = rng.random(20_000) < 0.5
    curve = Curve.of(rng.normal(positive), positive)
    points = np.array(curve.points(200)["roc"])
    assert len(points) <= 202
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    area = (np.diff(points[:, 0]) * (points[1:, 1] + points[:-1, 1]) / 2).sum()
    assert area == pytest.approx(curve.auc, abs=1e-3)


def test_reliability_is_that_of_scikit_learn(probabilities):
    values, labels = probabilities
    found = Reliability.of(values, labels)
    right, sure = values.argmax(1) == labels, values.max(1)
    accuracy, confidence = calibration_curve(right, sure, n_bins=BINS)
    np.testing.assert_allclose(found.accuracy, accuracy)
    np.testing.assert_allclose(found.confidence, confidence, rtol=1e-6)
    error = 0.0
    for low in range(BINS):
        inside = (sure > low / BINS) & (sure <= (low + 1) / BINS)
        if inside.any():
            error += abs(right[inside].mean() - sure[inside].mean()) * inside.mean()
    assert found.error == pytest.approx(error, abs=1e-6)
    assert log_likelihood(values, labels) == pytest.approx(sk.log_loss(labels, whole(values)), rel=1e-6)


def test_the_temperature_minimises_the_likelihood_and_changes_no_answer(probabilities):
    values, labels = probabilities
    found = fit_temperature(values, labels)
    best = minimize_scalar(
        lambda log_t: log_likelihood(at_temperature(values, np.exp(log_t)), labels),
        bounds=(-3, 3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found == pytest.approx(np.exp(best.x), rel=1e-5)
    assert 1.5 < found < 2.5  # the labels were drawn at 2
    scaled = at_temperature(values, found)
    assert (scaled.argmax(1) == values.argmax(1)).all()
    assert Reliability.of(scaled, labels).error < Reliability.of(values, labels).error


def test_probabilities_of_0_and_1_have_a_temperature():
    sure = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    assert np.isfinite(fit_temperature(sure, np.array([0, 1, 1])))
    assert fit_temperature(sure, np.array([0, 1, 0])) == pytest.approx(0.01)


# A run's evaluation


def test_the_figures_of_a_run_are_those_of_its_probabilities(hard, lenumba):
    found = json.loads(lenumba("evaluate", hard, "--json").stdout)
    model = package.load(hard)
    data = model.test_data()
    scores, labels = model.predict_proba(data.test_images), data.test_labels
    for k in range(3):
        assert found["roc_auc"][k] == pytest.approx(sk.roc_auc_score(labels == k, scores[:, k]), abs=1e-12)
        assert found["average_precision"][k] == pytest.approx(sk.average_precision_score(labels == k, scores[:, k]))
    loaded = model.loaded
    own = load_data(loaded)
    chosen = split(loaded, own)[1]
    values, truth = model.predict_proba(own.train_images[chosen]), own.train_labels[chosen]
    calibration = found["calibration"]
    assert calibration["fitted_on"] == f"{len(chosen)} validation images"
    assert calibration["temperature"] == pytest.approx(fit_temperature(values, truth))
    assert calibration["validation_nll_after"] <= calibration["validation_nll_before"]
    assert calibration["validation_nll_before"] == pytest.approx(sk.log_loss(truth, whole(values)), rel=1e-6)
    for k, row in enumerate(found["thresholds"]):
        assert row["class"] == model.class_names[k]
        said, truly = values[:, k] >= row["threshold"], truth == k
        best = max(sk.f1_score(truly, values[:, k] >= value) for value in values[:, k])
        assert sk.f1_score(truly, said) == pytest.approx(best)
        assert row["recall"] == pytest.approx(sk.recall_score(labels == k, scores[:, k] >= row["threshold"]))


def test_mistakes_have_their_files_names(hard, lenumba):
    found = json.loads(lenumba("evaluate", hard, "--json").stdout)
    assert 5 < len(found["mistakes"]) < found["images"]
    pictures = hard.parent / "pictures"
    paths = [pictures / mistake["image"] for mistake in found["mistakes"]]
    answers = json.loads(lenumba("predict", hard, *paths, "--json").stdout)
    for mistake, answer in zip(found["mistakes"], answers, strict=True):
        assert mistake["image"].startswith(mistake["label"])
        assert answer["top"][0] == [mistake["predicted"], pytest.approx(mistake["probability"])]
    text = lenumba("evaluate", hard).stdout.splitlines()[-1]
    assert text.startswith("most often taken, files in brackets: ")
    assert found["mistakes"][0]["image"] in text or len(assess(package.load(hard)).test.cells) > 3


def test_other_data_are_judged_with_the_thresholds_of_the_runs_own(hard, lenumba, place):
    paint(place / "new", 10)
    found = json.loads(lenumba("evaluate", hard, f"data.root={place / 'new'}", "--json").stdout)
    own = json.loads(lenumba("evaluate", hard, "--json").stdout)
    assert found["images"] == 30
    assert [row["threshold"] for row in found["thresholds"]] == [row["threshold"] for row in own["thresholds"]]
    assert found["calibration"]["temperature"] == own["calibration"]["temperature"]


def test_the_page_needs_nothing_from_elsewhere_and_names_files(hard, lenumba, place):
    result = lenumba("evaluate", hard, "--html", "page.html")
    assert result.exit_code == 0, result.output
    page = Path("page.html").read_text()
    page = page.replace("http://www.w3.org/2000/svg", "")
    for word in ("http", "src=", "href", "url(", "@import", "<link"):
        assert word not in page
    values = json.loads(re.search(r'<script type="application/json" id="run">(.*?)</script>', page, re.S)[1])
    found = json.loads(lenumba("evaluate", hard, "--json").stdout)
    assert values["calibration"] == found["calibration"]
    assert values["mistakes"]["items"] == found["mistakes"][:48]
    counted = {(i, j): len(names) for i, j, names in values["cells"]}
    assert counted == {(i, j): n for (i, j), n in np.ndenumerate(np.array(found["confusion"])) if n}
    assert "validation images" in page
    again = lenumba("evaluate", hard, "--html", "page.html")
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert again.stderr.startswith("error: --html page.html: the file exists")


@pytest.fixture
def own(hard, place):
    """A copy of the run."""
    return Path(shutil.copytree(hard, place / "own"))


def test_thresholds_are_kept_and_used_when_asked(own, lenumba):
    assert not (own / "thresholds.json").exists()
    result = lenumba("evaluate", own, "--thresholds")
    assert "'lenumba predict RUN --thresholds' uses them" in result.stdout
    kept = json.loads((own / "thresholds.json").read_text())["thresholds"]
    found = json.loads(lenumba("evaluate", own, "--json").stdout)
    assert kept == {row["class"]: row["threshold"] for row in found["thresholds"]}
    pictures = package.load(own).loaded.config.data.root
    plain = json.loads(lenumba("predict", own, pictures, "--json").stdout)
    result = lenumba("predict", own, pictures, "--json", "--thresholds")
    assert result.stderr.startswith("note: thresholds (")
    for before, after in zip(plain, json.loads(result.stdout), strict=True):
        assert "class" not in before
        probabilities = dict(before["top"])
        ratios = {name: p / kept[name] for name, p in probabilities.items() if p >= kept[name]}
        assert after["class"] == (max(ratios, key=ratios.get) if ratios else None)
        if after["class"]:
            assert after["top"][0][0] == after["class"]


def test_a_threshold_on_the_command_line_goes_before_the_file(own, lenumba):
    lenumba("evaluate", own, "--thresholds")
    root = package.load(own).loaded.config.data.root
    given = ["--threshold", "ant=0", "--threshold", "bee=1", "--threshold", "cat=1"]
    lenumba("predict", own, root, *given, "--thresholds", "--csv", "out.csv")
    rows = Path("out.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows[1:]} == {"ant"}
    given = ["--threshold", "ant=1", "--threshold", "bee=1", "--threshold", "cat=1"]
    lenumba("predict", own, root, *given, "--csv", "none.csv")
    assert {row.split(",")[1] for row in Path("none.csv").read_text().splitlines()[1:]} == {""}
    picture = next(Path(root).glob("*/*.png"))
    assert "  none   " in lenumba("predict", own, picture, *given).stdout


def test_the_class_is_the_one_that_exceeds_its_threshold_most():
    shares, nan = np.array([0.7, 0.25, 0.05]), np.nan
    assert choose(shares, np.array([nan, nan, nan])) == 0
    assert choose(shares, np.array([nan, 0.2, nan])) == 1
    assert choose(shares, np.array([0.6, 0.2, nan])) == 1  # 1.25 times its own, the other 1.17 times
    assert choose(shares, np.array([0.9, nan, nan])) == 1
    assert choose(shares, np.array([0.9, 0.9, 0.9])) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--threshold", "dog=0.5"], "--threshold dog=0.5: expected CLASS=P with a class (ant, bee, cat)"),
        (["--threshold", "ant=2"], "a probability from 0 to 1"),
        (["--threshold", "ant"], "expected CLASS=P"),
    ],
)
def test_a_wrong_threshold_is_one_line(hard, refused, given, words):
    assert words in refused(2, "predict", hard, "picture.png", *given)


def test_thresholds_that_do_not_fit_are_one_line(own, refused, lenumba):
    assert "expected thresholds, found no such file" in refused(3, "predict", own, "picture.png", "--thresholds")
    (own / "thresholds.json").write_text('{"checkpoint": "best", "thresholds": {"ant": "x"}}')
    assert "expected a valid number" in refused(3, "predict", own, "picture.png", "--thresholds")
    (own / "thresholds.json").write_text('{"checkpoint": "best", "thresholds": {"dog": 0.5}}')
    assert "expected the network's classes, found 'dog'" in refused(3, "predict", own, "p.png", "--thresholds")
    lenumba("evaluate", own, "--thresholds", "--checkpoint", "last")
    assert "expected thresholds of checkpoint best" in refused(3, "predict", own, "p.png", "--thresholds")


def test_without_validation_images_there_is_neither_temperature_nor_threshold(place, lenumba, hard):
    root = package.load(hard).loaded.config.data.root
    text = RECIPE.format(root=root, units=3, activation="softmax")
    start_run(read_config(text, "none.yaml", ["data.validation=0", "train.epochs=1"]), out=place / "none")
    result = lenumba("evaluate", "none", "--json", "--html", "page.html")
    found = json.loads(result.stdout)
    assert "temperature" not in found["calibration"]
    assert {row["threshold"] for row in found["thresholds"]} == {None}
    assert "note: no validation images: the training set none aside" in result.stderr
    result = lenumba("evaluate", "none", "--thresholds")
    assert result.exit_code == 3
    assert "expected validation images to fit thresholds on" in result.stderr
    assert not Path("none/thresholds.json").exists()


@pytest.mark.parametrize(("units", "activation", "calibrated"), [(1, "sigmoid", True), (2, "sigmoid", False)])
def test_networks_of_other_outputs_are_judged(tmp_path, lenumba, units, activation, calibrated):
    text = RECIPE.format(root=paint(tmp_path / "pictures", 30, ["ant", "cat"]), units=units, activation=activation)
    run = start_run(read_config(text, "two.yaml"), out=tmp_path / "run").path
    result = lenumba("evaluate", run, "--json", "--html", "page.html")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["calibration"] is not None) == calibrated
    assert all(row["threshold"] is not None for row in found["thresholds"])
