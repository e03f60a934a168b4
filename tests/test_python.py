"""What Python users look at: configurations, summaries, activations, gradients, pictures, pages, errors."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tiny import TINY

import lenumba as package
from lenumba.engine.common.errors import ConfigError, DataError, in_python, on_command_line
from lenumba.engine.common.html import chart_svg, ticks
from lenumba.engine.config.config import dump_config, load_config
from lenumba.engine.explain import plain
from lenumba.engine.report import live
from lenumba.engine.runs.figures import Figure
from lenumba.engine.tuning.results import Study


@pytest.fixture
def model(run):
    return package.load(run)


@pytest.fixture
def batch(model):
    data = model.test_data()
    return data.test_images[:5], data.test_labels[:5]


def test_activations_end_in_what_the_kernels_answer(model, batch):
    images, _ = batch
    found = model.activations(images)
    assert [*found] == [*(unit.name for unit in model.network.units), "outputs"]
    assert [found[unit.name].shape[1:] for unit in model.network.units] == [unit.output for unit in model.network.units]
    np.testing.assert_allclose(found["outputs"], model.predict_proba(images), atol=1e-5)
    pooled = found["pool1"][:, 0]
    pixels = images[..., 0] * float(model.executor.scale[0]) + float(model.executor.shift[0])
    np.testing.assert_allclose(pooled, pixels.reshape(5, 7, 4, 7, 4).mean(axis=(2, 4)), atol=1e-6)


def test_a_model_for_single_images_answers_what_any_does(run, model, batch):
    single = package.load(run, threads=1, spin_seconds=0, batch_size=1)
    found = np.concatenate([single.predict_proba(image[None]) for image in batch[0][:3]])
    np.testing.assert_allclose(found, model.predict_proba(batch[0][:3]), atol=1e-6)
    with pytest.raises(ConfigError, match="batch_size: expected at least 1"):
        package.load(run, batch_size=0)


def test_gradients_are_those_of_the_mean_loss_and_change_nothing(model, batch):
    images, labels = batch
    before = model.executor.theta.copy()
    found = model.gradients(images, labels)
    x = model.executor.scale[0] * images.transpose(0, 3, 1, 2).astype(float) + model.executor.shift[0]
    _, _, expected = plain.loss_and_gradients(model.network, model.trained.parameters, x, labels)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-6)
    assert (model.executor.theta == before).all()
    with pytest.raises(DataError, match="expected 5 whole numbers"):
        model.gradients(images, labels[:2])


def test_a_configuration_is_one_whatever_it_is_made_of(place):
    config = package.config("quickstart", {"train.epochs": 2})
    assert config.train.epochs == 2
    assert config == package.config(config)
    assert config.model_dump() == load_config("quickstart", {"train.epochs": 2}).config.model_dump()
    assert "epochs" in dir(config.train)  # what a notebook completes
    (place / "again.yaml").write_text(str(config))
    assert package.config("again.yaml").model_dump() == config.model_dump()
    assert package.summary(config)["name"] == "quickstart"
    with pytest.raises(ConfigError, match=r"config: train\.epochs: expected an integer"):
        package.config({"train": {"epochs": "x"}})


def test_a_summary_is_the_commands(lenumba, run):
    for given, name in (("lenet", "lenet"), (str(run), "tiny")):
        found = package.summary(given)
        assert found["name"] == name
        assert str(found).splitlines()[2:] == str(package.summary(given)).splitlines()[2:]
    assert lenumba("summary", "lenet").stdout.strip() == str(package.summary("lenet"))
    assert package.summary(package.load(run))["parameters"] == 490 + 10


def test_an_explanation_is_the_commands(lenumba, run):
    told = package.explain(run, 3)
    said = lenumba("explain", run, "3", "--json")
    assert told.as_dict()["layers"] == json.loads(said.stdout)["layers"]
    assert "FORWARD" in str(told)
    assert "FORWARD" in told._repr_html_()
    with pytest.raises(ConfigError, match="layer=conv9: expected one of"):
        package.explain(run, layer="conv9")


def test_worked_examples_and_cells_are_the_commands(lenumba):
    arguments = ["explain", "correlation", "--cell", "conv1/0,0,0"]
    cell = package.explain("correlation", cell="conv1/0,0,0")
    assert str(cell) == lenumba(*arguments, env={"COLUMNS": "110"}).stdout.rstrip("\n")
    assert cell.as_dict() == json.loads(lenumba(*arguments, "--json").stdout)
    layers = [{"type": "conv", "kernel": [[1, 0], [0, 1]], "bias": False}]
    for image in ([[1, 2], [3, 4]], np.array([[[1, 2], [3, 4]]])):
        told = package.explain(layers=layers, image=image, delta=[[2]])
        assert told.as_dict()["layers"][0]["y"] == [[[5]]]
        assert told.as_dict()["image_delta"] == [[[2, 0], [0, 2]]]
    exact = package.explain("tiny15", np.arange(36.0).reshape(6, 6), cell="image/0,5,5")
    assert exact.as_dict()["value"] == 35


def test_pictures_are_shown_and_saved(run, place):
    for what in ("curves", "confusion", "features", "mistakes"):
        picture = package.plot(run, what=what)
        assert picture._repr_png_().startswith(b"\x89PNG")
        assert "data:image/png;base64" in picture._repr_html_()
    assert picture.save("a.svg") == Path("a.svg")
    assert ElementTree.parse("a.svg").getroot().tag.endswith("svg")
    for wrong in ({"what": "nothing"}, {"what": "kernels"}, {"what": "histograms"}):
        with pytest.raises(ConfigError, match=r"^what: "):
            package.plot(run, **wrong)
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        picture.save("a.gif")


def test_a_report_is_a_file_and_a_frame(run):
    page = package.report(run)
    assert page.path == run / "report.html"
    frame = page._repr_html_()
    assert frame.count("<") == 2  # a frame: all that is in it is escaped
    assert package.report(package.load(run), "other.html").path == Path("other.html")


def shown(text: str) -> ElementTree.Element:
    """Read what a notebook is given as XML, which every tag must be closed for."""
    return ElementTree.fromstring(f"<div>{text.replace('&nbsp;', ' ')}</div>")


def test_results_are_shown_as_html(run, model):
    result = package.train("tiny.yaml", {"train.epochs": 2})
    charts = shown(result._repr_html_()).findall(".//svg")
    assert [chart.get("aria-label") for chart in charts] == ["loss over the epochs", "accuracy in % over the epochs"]
    for item in (model, model.network, model.evaluate(), package.summary(run)):
        rows = shown(item._repr_html_()).findall(".//tr")
        assert len(rows) >= 5
    assert str(model.loaded.config.train.epochs) in shown(model.loaded.config._repr_html_()).findtext("pre")
    rows = [{"trial": k, "state": "finished", "value": 0.5, "params": {"a.b": 0.1 * k}} for k in (0, 1)]
    study = Study(Path("s"), {"best": 1, "metric": "val_loss"}, rows)
    cells = [cell.text for cell in shown(study._repr_html_()).findall(".//tr")[1]]
    assert cells == ["1", "finished", "0.5000", "0.1"]


def test_a_comparison_is_a_list_and_a_table():
    from lenumba.engine.runs.comparison_table import Comparisons
    from lenumba.engine.runs.measuring import Comparison, SeedResult

    one = SeedResult(0, 1.0, 0.9, 0.95, 0.05, {2: 0.8, 4: 0.7}, 0.9)
    figure = Figure(0.9, 0.01)
    item = Comparison("a<b", 10, 20, figure, figure, figure, figure, {2: figure, 4: figure}, "accuracy", figure, (one,))
    found = Comparisons([item])
    assert found[0] is item
    assert "90.00 ± 1.00" in str(found)
    assert shown(found._repr_html_()).findall(".//td")[0].text == "a<b"


def test_a_class_name_is_no_html(run, model):
    model.class_names = ("<b>&", *model.class_names[1:])
    cells = shown(model.evaluate()._repr_html_()).findall(".//th")
    assert "<b>&" in [cell.text for cell in cells]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (97.1, 99.8), (1e-6, 3e-6), (-3, 4000), (1, 2)])
def test_ticks_are_round_and_within(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert low <= found[0] < found[-1] <= high + 1e-9


@pytest.mark.parametrize("values", [[None], [0.5], [0.5, None, 0.5], [1e-9, 1e9]])
def test_charts_of_anything_are_whole(values):
    epochs = list(range(1, len(values) + 1))
    text = chart_svg("loss", epochs, {"training": values, "validation": [None] * len(values)}, best=1)
    assert "nan" not in text
    if text:
        assert len(ElementTree.fromstring(text).findall("polyline")) == 1


ADVICE = {
    "--out runs/a: the folder is not empty": "out=runs/a: the folder is not empty",
    "choose another with --out": "choose another with out=…",
    "or replace it with --force": "or replace it with force=True",
    "data.root=PATH says where": """overrides={"data.root": 'PATH'} says where""",
    "such as train.epochs=20": 'such as overrides={"train.epochs": 20}',
    "go on with: lenumba train --resume runs/a-001": "go on with: lenumba.train(resume='runs/a-001')",
    "start one with 'lenumba train'": "start one with lenumba.train(…)",
    "'lenumba runs' lists them": "'lenumba runs' in a terminal lists them",
    "a -- b --- c": "a -- b --- c",
}


@pytest.mark.parametrize(("said", "meant"), ADVICE.items())
def test_errors_advise_what_python_has(said, meant):
    assert in_python(said) == meant


def test_a_model_s_methods_advise_what_python_has(model, place, monkeypatch):
    def fault(*given):
        raise ConfigError("choose another with --out; data.root=PATH says where")

    monkeypatch.setattr(type(model.trained), "test_data", fault)
    meant = """choose another with out=…; overrides={"data.root": 'PATH'} says where"""
    for call in (model.test_data, model.evaluate):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == meant
    token = on_command_line.set(True)
    try:
        with pytest.raises(ConfigError, match="--out"):
            model.evaluate()
    finally:
        on_command_line.reset(token)


def test_a_picture_without_a_folder_is_refused_with_advice(run):
    pytest.importorskip("matplotlib")
    with pytest.raises(DataError, match="make the folder nowhere, or choose another path"):
        package.plot(run).save("nowhere/curves.png")


def test_functions_raise_what_python_users_understand(place, run):
    with pytest.raises(ConfigError, match=r"^out=runs/tiny-001: ") as caught:
        package.train("tiny.yaml", out=run)
    assert caught.value.exit_code == 2
    assert caught.value._render_traceback_() == [f"ConfigError: {caught.value}"]  # in a notebook, one line


class Notebook:
    """Stands for IPython where a notebook's kernel runs: keeps what is displayed."""

    def __init__(self, monkeypatch):
        self.shown = []
        monkeypatch.setattr(live, "in_notebook", lambda: True)
        display = pytest.importorskip("IPython.display")
        monkeypatch.setattr(display, "display", self.display)

    def display(self, item, display_id=None):
        self.shown.append(getattr(item, "data", ""))  # a bar has none
        return self

    def update(self, item):
        self.shown.append(item.data)


def test_a_notebook_sees_the_curves_grow(place, monkeypatch, capsys):
    notebook = Notebook(monkeypatch)
    result = package.train("tiny.yaml", {"train.epochs": 3})
    points = [
        len(shown(text).find(".//polyline").get("points").split()) for text in notebook.shown if "<polyline" in text
    ]
    assert points == [1, 2, 3]
    assert str(result.path) in "".join(notebook.shown)


def test_python_outside_of_notebooks_shows_nothing(place, capsys):
    package.train("tiny.yaml", {"train.epochs": 1})
    assert capsys.readouterr() == ("", "")


def test_looking_at_things_imports_nothing_at_start():
    text = "import sys, lenumba; lenumba.plot, lenumba.config, lenumba.summary; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "numpy", "matplotlib", "IPython", "tqdm"} & set(found)


def test_what_a_configuration_prints_is_what_a_file_has(place):
    Path("tiny.yaml").write_text(TINY)
    assert str(package.config("tiny.yaml")) == dump_config(load_config("tiny.yaml").config)
