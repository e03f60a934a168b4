"""Plots, pages and thresholds where the target is no class: charts of the engine's answers, pages that compute them."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from browser import in_browser
from node import run_scripts
from sklearn import metrics as sklearn_metrics
from test_targets_data import NAMES, TARGETS, TEST, TRAIN, lenumba, recipe, train_targets
from test_targets_data import samples as signals_of

import lenumba as package
from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.measures import MEASURES
from lenumba.engine.models.target_evaluation import TargetEvaluation
from lenumba.engine.report.charts import charts_of
from lenumba.engine.report.report import describe_network, flat_weights

SIDE = 4


def samples(target: str) -> tuple[np.ndarray, np.ndarray]:
    """Signals, and what is to be told of them; where the target is the input, images float32 [N, 4, 4]."""
    if target != "input":
        return signals_of(target)
    rng = np.random.default_rng(2)
    strange = (np.arange(TRAIN + TEST) % 3 == 0) & (np.arange(TRAIN + TEST) >= TRAIN)
    images = 120 + 25 * rng.normal(size=(TRAIN + TEST, 2)) @ rng.normal(size=(2, SIDE * SIDE))
    images[strange] = rng.uniform(0, 255, (strange.sum(), SIDE * SIDE))
    return images.astype(np.float32).reshape(-1, SIDE, SIDE), strange.astype(int)


def config_of(target: str) -> dict:
    """A configuration that records and draws everything; those of signals are networks that other tests compile."""
    config = recipe(target) | {"plots": True}
    if target == "input":
        layers = [*config["network"]["layers"][:-1], {"type": "dense", "units": SIDE * SIDE}]
        config["network"], config["data"]["dtype"] = {"layers": layers}, "float32"
    return config


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run for each target, drawn at its end, and its page."""
    folder = tmp_path_factory.mktemp("targets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_targets(samples, config_of)
        for target in TARGETS:
            lenumba("report", target)
        yield folder


def page_values(target: str) -> dict:
    return json.loads(Path(target, "report.html").read_text().split('id="run">')[1].split("</script>")[0])


OWN = {"labels": ["precision_recall", "thresholds"], "numbers": ["predicted", "residuals"], "input": ["roc", "scores"]}


@pytest.mark.parametrize("target", TARGETS)
def test_a_run_with_plots_has_its_target_s(place, target):
    found = sorted(path.stem for path in (place / target / "plots").iterdir())
    assert found == sorted(["curves", "features", "histograms", "mistakes", *OWN[target]])
    model = package.load(target)
    assert model.activations(samples(target)[0][:2])["outputs"].shape == (2, model.network.outputs)


def test_images_of_numbers_are_drawn_as_such_and_no_picture_is_asked_for(place, tmp_path):
    values = page_values("input")
    assert (values["pad"], values["prepare"]) == (None, None)
    script = 'answer([...document.querySelectorAll("#samples canvas")].map(({ width, height }) => [width, height]))'
    drawn = in_browser(Path("input/report.html"), script, tmp_path)
    assert set(map(tuple, drawn)) == {(SIDE, SIDE)}


@pytest.mark.parametrize("target", TARGETS)
def test_python_shows_the_same_pictures_and_names_them(place, target):
    shown = package.plot(target, what=OWN[target][0])
    assert shown._repr_html_().startswith("<img")
    with pytest.raises(ConfigError, match=OWN[target][1]):
        package.plot(target, what="confusion")
    assert "evaluation" in package.load(target).evaluate()._repr_html_()


@pytest.mark.parametrize("target", TARGETS)
def test_charts_are_of_the_answers_to_the_test_samples(place, target):
    values, model = page_values(target), package.load(target)
    images, truth = (part[TRAIN:] for part in samples(target))
    answers = model.answers(images)
    charts = [chart for group in values["groups"] for chart in group["charts"]]
    points = [np.array(series["points"]) for chart in charts for series in chart["series"]]
    if target == "numbers":
        np.testing.assert_allclose(points[0], np.stack([truth[:, 0], answers[:, 0]], 1), rtol=1e-5)
        np.testing.assert_allclose(points[3][:, 1], answers[:, 0] - truth[:, 0], rtol=1e-4, atol=1e-5)
        assert points[4][:, 1].sum() == TEST
    elif target == "labels":
        precision, recall, limits = sklearn_metrics.precision_recall_curve(truth[:, 0], answers[:, 0])
        np.testing.assert_allclose(points[0][::-1], np.stack([limits, precision[:-1]], 1), atol=1e-5)
        np.testing.assert_allclose(points[1][::-1], np.stack([limits, recall[:-1]], 1), atol=1e-5)
    else:
        assert [series[:, 1].sum() for series in points[:2]] == [(truth == 0).sum(), (truth == 1).sum()]
        area = sklearn_metrics.auc(*points[2].T)
        assert area == pytest.approx(sklearn_metrics.roc_auc_score(truth, answers), abs=1e-4)
    assert {panel["figure"] for panel in values["panels"]} == {
        "labels": {"loss", "average_precision", "accuracy"}, "numbers": {"loss", "r2", "mae"}, "input": {"loss"}
    }[target]  # fmt: skip
    assert all(
        panel["figure"] == "loss" or f"val_{panel['figure']}" in values["history"][0] for panel in values["panels"]
    )


@pytest.mark.parametrize("target", TARGETS)
def test_the_page_s_loss_and_gradients_are_the_kernels(place, target):
    model, (values, truth) = package.load(target), samples(target)
    values, truth = values[TRAIN : TRAIN + 1], truth[TRAIN : TRAIN + 1]
    found = run_scripts(
        """
        const trace = network.forward(Float32Array.from(given.x)), truth = given.truth ?? trace.x;
        const { loss, dz } = network.judge(trace.outputs.at(-1), truth);
        network.update(network.backward(trace, dz).gradients, 0.001);
        answer([loss, network.judge(network.forward(Float32Array.from(given.x)).outputs.at(-1), truth).loss]);
        """,
        network=describe_network(model),
        weights=base64.b64encode(flat_weights(model)).decode(),
        x=values.ravel().tolist(),
        truth=None if target == "input" else model.trained.judge.learned(truth.astype(float)).tolist()[0],
    )
    assert found[0] == pytest.approx(model.evaluate(values, truth).measured.loss, rel=1e-4)
    assert found[1] < found[0]


STEPS = """
const told = () => at("story").textContent, said = at("answer").textContent;
at("step").click();
const first = told();
at("all").click();
answer({ said, first, last: told(), cells: document.querySelectorAll("#groups svg").length,
  wide: document.documentElement.scrollWidth - innerWidth });
"""


@pytest.mark.parametrize("target", TARGETS)
def test_the_page_answers_and_steps_in_a_browser(place, target, tmp_path):
    model, (images, truth) = package.load(target), samples(target)
    found = in_browser(Path(target, "report.html"), STEPS, tmp_path, width=360)
    first = int(np.flatnonzero(truth[TRAIN:] == 0)[0]) if target == "input" else 0
    values = model.answers(images[TRAIN + first : TRAIN + first + 1])[0]
    expected = {
        "labels": lambda: ", ".join(np.array(NAMES)[values >= 0.5]) or "none of the labels",
        "numbers": lambda: f"{NAMES[0]} {float(f'{values[0]:.4g}'):g}".replace("-", "−"),
        "input": lambda: f"anomaly score {float(f'{values:.4g}'):g}",
    }[target]()
    assert found["said"].startswith(expected)
    assert "the loss is" in found["first"]
    assert "the loss went from" in found["last"]
    assert found["wide"] <= 0


@pytest.mark.parametrize("target", TARGETS)
def test_an_evaluation_s_page_shows_them_and_what_is_gone_is_said(place, target, tmp_path):
    lenumba("evaluate", target, "--html", f"{target}.html", "--force")
    script = 'answer(["#groups svg", "#mistakes figure"].map((what) => document.querySelectorAll(what).length))'
    charts, worst = in_browser(Path(f"{target}.html"), script, tmp_path)
    assert charts >= 2
    assert worst > 20
    Path(f"{target}.npz").rename("elsewhere.npz")
    try:
        lenumba("report", target, "--out", "gone.html", "--force")
        assert "no such file" in Path("gone.html").read_text()
        in_browser(Path("gone.html"), "answer(1)", tmp_path)
    finally:
        Path("elsewhere.npz").rename(f"{target}.npz")


def test_thresholds_of_labels_are_fitted_on_validation_samples_and_decide_predictions(place):
    assert "left" in lenumba("evaluate", "labels", "--thresholds")
    limits = json.loads(Path("labels/thresholds.json").read_text())["thresholds"]
    assert set(limits) == set(NAMES)
    plain = [row["labels"] for row in json.loads(lenumba("predict", "labels", "labels.npz", "--json"))]
    found = json.loads(lenumba("predict", "labels", "labels.npz", "--thresholds", "--json"))
    for values, row in zip(plain, found, strict=True):
        assert row["yes"] == sorted((name for name in NAMES if values[name] >= limits[name]), key=lambda n: -values[n])
    given = [part for limit in ("left=0", "middle=1", "right=1") for part in ("--threshold", limit)]
    line = lenumba("predict", "labels", "labels.npz", *given).splitlines()[0]
    assert line.split()[1:] == ["left", f"{100 * plain[0]['left']:.1f}", "%"]


def test_answers_that_are_not_finite_are_left_out_of_charts_and_said():
    truth = np.arange(12.0).reshape(6, 2)
    outputs = truth + 0.5
    outputs[2, 1] = np.inf
    names = NAMES[:2]
    with np.errstate(invalid="ignore"):
        measured = MEASURES["numbers"](1.0, outputs, truth)
    found = charts_of(TargetEvaluation("numbers", measured, outputs, truth, names))
    assert all("1 samples are left out, whose answers are not finite" in group.note for group in found.values())
    assert len(found["predicted"].charts[0].series[""]) == 5
