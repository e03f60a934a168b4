"""A run folder that was moved, without the data that it was trained on, serves for all that needs none of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lenumba as package

RECIPE = """\
data: {name: npz, root: own.npz, batch_size: 16, validation: 0.2}
network:
  layers:
    - {type: conv, channels: 3, kernel_size: 5, activation: relu}
    - flatten
    - {type: dense, units: 2, activation: softmax}
train: {epochs: 2}
"""


def parts():
    rng = np.random.default_rng(0)
    for part, count in (("train", 80), ("test", 20)):
        labels = np.arange(count) % 2
        images = (100 * labels[:, None, None] + rng.integers(0, 60, (count, 8, 8))).astype(np.uint8)
        yield part, images, labels


@pytest.fixture
def moved(place, lenumba) -> Path:
    """A run that is elsewhere now, and its data nowhere; picture.png is one of them."""
    arrays = {}
    for part, images, labels in parts():
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    Image.fromarray(images[1]).save("picture.png")
    np.savez("own.npz", **arrays, class_names=np.array(["dark", "light"]))
    Path("own.yaml").write_text(RECIPE)
    assert lenumba("train", "own.yaml", "--out", "runs/own", "-q").exit_code == 0
    Path("elsewhere").mkdir()
    Path("own.npz").unlink()
    return Path("runs/own").rename("elsewhere/old run")


def succeeds(lenumba, *arguments) -> str:
    result = lenumba(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_what_needs_no_data_works(moved, lenumba):
    assert "light" in succeeds(lenumba, "predict", moved, "picture.png")
    assert json.loads(succeeds(lenumba, "explain", moved, "picture.png", "--json"))
    assert "conv1" in succeeds(lenumba, "summary", moved)
    moved.rename("runs/again")
    assert re.search(r"again +.*100\.00 %", succeeds(lenumba, "runs"))
    for kind in ("npz", "safetensors"):
        succeeds(lenumba, "export", "again", "--out", f"w.{kind}")
    pytest.importorskip("onnxruntime")
    assert "random images, as the run's data are not at hand" in succeeds(lenumba, "export", "again", "--out", "w.onnx")


def test_the_report_shows_what_the_run_tells(moved, lenumba):
    told = succeeds(lenumba, "report", moved)
    assert "own.npz, so that nothing is shown of test images; data.root=PATH says where they are now" in told
    page = (moved / "report.html").read_text()
    values = json.loads(re.search(r'<script type="application/json" id="run">(.*?)</script>', page, re.DOTALL)[1])
    assert len(values["history"]) == 2
    assert values["samples"]["labels"] == values["mistakes"]["labels"] == []
    assert values["absent"] in told.replace("\n", " ")
    assert "100.00 % when it was trained" in page


def test_plots_are_those_that_need_no_data(moved, lenumba):
    pytest.importorskip("matplotlib")
    told = succeeds(lenumba, "plot", moved)
    assert {path.stem for path in (moved / "plots").iterdir()} == {"curves", "kernels"}
    assert "nothing is shown of test images" in told
    succeeds(lenumba, "plot", moved, "--image", "picture.png", "--out", "more")
    assert {path.stem for path in Path("more").iterdir()} == {"curves", "kernels", "features"}


def test_what_needs_data_says_what_is_missing(moved, refused):
    for command in (
        ["evaluate", moved],
        ["verify", moved],
        ["train", "--resume", moved],
        ["why", moved, "picture.png"],
    ):
        assert "own.npz: expected a readable npz file, found: No such file" in refused(3, *command)
    assert "other.npz" in refused(3, "report", moved, "data.root=other.npz")


def test_a_run_on_arrays_has_a_report(place, lenumba):
    (_, images, labels), test = parts()
    config = {
        "data": {"batch_size": 16},
        "network": {"layers": ["flatten", {"type": "dense", "units": 2, "activation": "softmax"}]},
    }
    run = package.train(config, {"train.epochs": 1}, images=images, labels=labels, test=test[1:]).path
    assert "the images were in memory, and are in no file" in succeeds(lenumba, "report", run)
    assert "dense1" in succeeds(lenumba, "summary", run)
