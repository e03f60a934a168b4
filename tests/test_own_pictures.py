"""docs/own-pictures.md: its script, recipe and commands, run as they stand there, and what the page says of them."""

import csv
import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from pages import blocks, run_line, run_page
from PIL import Image

import lenumba

pytestmark = pytest.mark.long("trains for long")
REFUSED = "lenumba train --resume runs/tuned data.root=december"  # on purpose: its line says what to do


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> dict[str, Result]:
    """Run the page's commands in an empty folder; return what came of each."""
    pytest.importorskip("optuna")
    pytest.importorskip("onnxruntime")
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("own"))
    try:
        yield run_page("own-pictures.md", {REFUSED: 3})
    finally:
        os.chdir(before)


def macro_f1(run: str) -> float:
    found = json.loads(run_line(f"lenumba evaluate {run} data.root=december --json").stdout)
    assert found["images"] == 600
    return found["macro_f1"]


def test_weighted_classes_are_found_and_unweighted_are_not(story):
    plain, weighted = macro_f1("runs/plain"), macro_f1("runs/weighted")
    assert plain < 0.75
    assert weighted > plain + 0.05


def test_predictions_are_a_table_of_all_pictures(story):
    with Path("answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"incoming/{number:04}.png" for number in range(2000)]
    model = lenumba.load("runs/tuned")
    images = np.stack([np.asarray(Image.open(row["image"])) for row in rows])
    assert [model.class_names[k] for k in model.predict(images)] == [row["class"] for row in rows]
    assert {row["fault"] for row in rows} == {""}
    np.testing.assert_allclose([sum(float(row[name]) for name in model.class_names) for row in rows], 1, rtol=1e-5)


def test_the_onnx_file_gives_the_same_classes(story):
    import onnxruntime

    assert "0 classes differ" in story["lenumba export runs/tuned --out parts.onnx"].stdout
    with Path("answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    session = onnxruntime.InferenceSession("parts.onnx", providers=["CPUExecutionProvider"])
    images = np.stack([np.asarray(Image.open(row["image"])) for row in rows]).transpose(0, 3, 1, 2).astype(np.float32)
    answers = session.run(["probabilities"], {"images": images})[0].argmax(axis=1)
    names = lenumba.load("runs/tuned").class_names
    assert [names[k] for k in answers] == [row["class"] for row in rows]


def test_next_months_pictures_are_trained_on_as_the_line_says(story):
    told = shlex.split(story[REFUSED].stderr.rpartition("with both: ")[2])
    used = next(shlex.split(line) for line in story if "init_from" in line)
    assert [told[0:3], told[-1]] == [used[0:3], used[4]]
    assert told[3] == f"data.root=[{Path('november').absolute()}, december]"
    record = json.loads(Path("runs/next/run.json").read_text())
    assert sum(count for part in record["data"]["classes"].values() for count in part.values()) == 1800
    assert record["init_from"]["drawn"] == []


def test_the_audit_finds_the_planted_labels(story):
    planted = set(Path("planted.txt").read_text().split())
    with Path("audits/parts/audit.csv").open(newline="") as file:
        ranking = [row["file"] for row in csv.DictReader(file)]
    assert len(planted) == 25
    assert len(ranking) == 1200
    assert len(planted & set(ranking[:40])) >= 20


def test_the_page_quotes_what_is_printed(story):
    """Lines of the tables of data, which no machine changes."""
    printed = "\n".join(result.stdout for result in story.values())
    table = "".join(blocks("own-pictures.md", "text")).splitlines()
    assert [line for line in table if line not in printed] == []
