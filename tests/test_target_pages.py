"""Plots, pages and thresholds where the target is no class: charts of the engine's answers, pages that compute them."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from browser import in_browser
from click.testing import CliRunner
from node import run_scripts
from PIL import Image
from sklearn import metrics as sklearn_metrics

import lenumba as package
from lenumba.cli import main
from lenumba.engine.common.measures import MEASURES
from lenumba.engine.models.target_evaluation import TargetEvaluation
from lenumba.engine.report.charts import charts_of
from lenumba.engine.report.report import describe_network, flat_weights

TARGETS, NAMES, SIDE = ("labels", "numbers", "input"), ("wide", "tall / mm"), 4
TRAIN, TEST = 200, 70


def samples(target: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 4, 4] of two hidden numbers, and what is to be told of them; a third of the last are noise."""
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=(TRAIN + TEST, 2))
    images = 120 + 25 * hidden @ rng.normal(size=(2, SIDE * SIDE)) + rng.normal(size=(TRAIN + TEST, SIDE * SIDE))
    strange = (np.arange(TRAIN + TEST) % 3 == 0) & (np.arange(TRAIN + TEST) >= TRAIN)
    if target == "input":
        images[strange] = rng.uniform(0, 255, (strange.sum(), SIDE * SIDE))
    truth = {"labels": (hidden > 0).astype(int), "numbers": hidden * [1, 100], "input": strange.astype(int)}[target]
    return np.clip(images, 0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE), truth


def lenumba(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run for each target, drawn at its end, and its page."""
    folder = tmp_path_factory.mktemp("targets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for target in TARGETS:
            images, truth = samples(target)
            arrays = {"x_train": images[:TRAIN], "x_test": images[TRAIN:], "y_test": truth[TRAIN:]}
            if target != "input":
                arrays |= {"y_train": truth[:TRAIN], "target_names": np.array(NAMES)}
            np.savez(f"{target}.npz", **arrays)
            units, activation = (16, "none") if target == "input" else (2, "sigmoid" if target == "labels" else "none")
            layers = ["flatten", {"type": "dense", "units": 2, "activation": "tanh"}]
            config = {
                "data": {"name": "npz", "root": f"{target}.npz", "batch_size": 16, "target": target},
                "network": {"layers": [*layers, {"type": "dense", "units": units, "activation": activation}]},
                "optimizer": {"name": "adamw", "learning_rate": 0.02},
                "train": {"epochs": 6},
                "plots": True,
            }
            Path(f"{target}.yaml").write_text(json.dumps(config))
            lenumba("train", f"{target}.yaml", "--out", target)
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


@pytest.mark.parametrize("target", TARGETS)
def test_python_shows_the_same_pictures_and_names_them(place, target):
    shown = package.plot(target, what=OWN[target][0])
    assert shown._repr_html_().startswith("<img")
    with pytest.raises(package.ConfigError, match=OWN[target][1]):
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
        np.testing.assert_allclose(points[2][:, 1], answers[:, 0] - truth[:, 0], rtol=1e-4, atol=1e-5)
        assert points[3][:, 1].sum() == TEST
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
    model, (images, truth) = package.load(target), samples(target)
    loss = model.evaluate(images[TRAIN : TRAIN + 1], truth[TRAIN : TRAIN + 1]).measured.loss
    planes = images[TRAIN : TRAIN + 1, None].tobytes()
    learned = (
        model.trained.judge.learned(truth[TRAIN : TRAIN + 1].astype(float)).tolist()[0] if target != "input" else 0
    )
    found = run_scripts(
        """
        const trace = network.forward(image(0)), truth = given.truth || trace.x;
        const { loss, dz } = network.judge(trace.outputs.at(-1), truth);
        network.update(network.backward(trace, dz).gradients, 0.001);
        answer([loss, network.judge(network.forward(image(0)).outputs.at(-1), truth).loss]);
        """,
        network=describe_network(model),
        weights=base64.b64encode(flat_weights(model)).decode(),
        pixels=base64.b64encode(planes).decode(),
        truth=learned,
    )
    assert found[0] == pytest.approx(loss, rel=1e-4)
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


def test_thresholds_of_labels_are_fitted_on_validation_images_and_decide_predictions(place):
    assert "wide" in lenumba("evaluate", "labels", "--thresholds")
    limits = json.loads(Path("labels/thresholds.json").read_text())["thresholds"]
    assert set(limits) == set(NAMES)
    images, _ = samples("labels")
    Image.fromarray(images[TRAIN]).save("one.png")
    values = json.loads(lenumba("predict", "labels", "one.png", "--json"))[0]["labels"]
    found = json.loads(lenumba("predict", "labels", "one.png", "--thresholds", "--json"))[0]
    assert found["yes"] == [
        name for name in sorted(NAMES, key=lambda name: -values[name]) if values[name] >= limits[name]
    ]
    assert (
        lenumba("predict", "labels", "one.png", *("--threshold", "wide=0", "--threshold", "tall / mm=1")).split()[1]
        == "wide"
    )


def test_answers_that_are_not_finite_are_left_out_of_charts_and_said():
    truth = np.arange(12.0).reshape(6, 2)
    outputs = truth + 0.5
    outputs[2, 1] = np.inf
    with np.errstate(invalid="ignore"):
        measured = MEASURES["numbers"](1.0, outputs, truth)
    found = charts_of(TargetEvaluation("numbers", measured, outputs, truth, NAMES))
    assert all("1 samples are left out, whose answers are not finite" in group.note for group in found.values())
    assert len(found["predicted"].charts[0].series[""]) == 5
