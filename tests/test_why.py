"""Influence: planted near-duplicates are the first helpers, and the estimate is that of its definition."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from lenumba.engine.audit.influence import draw_halves, effects, log_odds, noise_line
from lenumba.engine.audit.why import make_parts, run_why
from lenumba.engine.config.config import read_config
from lenumba.engine.runs.run import start_run
from lenumba.kernels.digits.digits import draw_digits

SMALL = """\
data: {name: npz, root: planted.npz, batch_size: 32, validation: 0}
network:
  input: [28, 28, 1]
  layers:
    - {type: average_pool, size: 2}
    - flatten
    - {type: dense, units: 32, activation: relu}
    - {type: dense, units: 10, activation: softmax}
optimizer: {name: adamw, learning_rate: 0.01}
train: {epochs: 6}
"""
PLANTED = 7


@pytest.fixture
def planted(place):
    """A run whose test image 0 is like nothing but training image 7, and the file of its images."""
    rng = np.random.default_rng(2)
    images, labels = draw_digits(340, seed=8)
    images, labels = images.copy(), labels.copy()
    images[300] = np.kron(rng.integers(0, 2, (7, 7)), np.ones((4, 4))) * 255
    images[PLANTED] = np.clip(images[300] + rng.normal(0, 8, images[300].shape), 0, 255)
    labels[PLANTED] = labels[300] = 3
    np.savez("planted.npz", x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    start_run(read_config(SMALL, "small.yaml"), out=Path("run"))
    return Path("run")


def test_a_planted_near_duplicate_is_the_first_helper(planted, lenumba):
    result = lenumba("why", "run", "0", "--trainings", 40)
    assert result.exit_code == 0, result.output
    assert "helped most" in result.stdout
    summary = json.loads(Path("run/why/test-image-0.json").read_text())
    assert summary["answer"] == "3"
    assert summary["helped"][0]["index"] == PLANTED
    first = summary["helped"][0]
    assert first["influence"] > summary["noise_line"] * first["error"]
    kept = {path.name: path.stat().st_mtime_ns for path in Path("run/why").glob("pair-*")}
    assert len(kept) == 40
    found = run_why(Path("run"), "1", trainings=40)  # of the same networks
    assert kept == {path.name: path.stat().st_mtime_ns for path in Path("run/why").glob("pair-*")}
    assert len(found.indices) == 300
    assert lenumba("why", "run", "0", "--trainings", 40, "--json").exit_code == 0
    assert json.loads(Path("run/why/test-image-0.json").read_text())["helped"] == summary["helped"]
    assert len(Path("run/why/memorisation.csv").read_text().splitlines()) == 301


def test_the_page_shows_the_pictures_with_their_figures(planted, lenumba, refused):
    result = lenumba("why", "run", "0", "--trainings", 40, "--count", 3, "--html", "why.html")
    assert result.exit_code == 0, result.output
    page, summary = Path("why.html").read_text(), json.loads(Path("run/why/test-image-0.json").read_text())
    values = json.loads(re.search(r'<script type="application/json" id="run">(.*?)</script>', page, re.DOTALL)[1])
    rows = [*summary["helped"], *summary["hurt"]]
    assert page.count('<figure class="card">') == len(rows)
    arrays = np.load("planted.npz")
    expected = [arrays["x_test"][0], *(arrays["x_train"][row["index"]] for row in rows)]
    assert base64.b64decode(values["pixels"]) == b"".join(np.ascontiguousarray(image).tobytes() for image in expected)
    for row in rows:
        assert f"log-odds {row['influence']:+.3f} ± {row['error']:.3f}" in page
    assert "--force" in refused(2, "why", "run", "0", "--trainings", 40, "--html", "why.html")


def test_what_has_no_why_is_refused_in_one_line(planted, refused):
    assert "expected an even number" in refused(2, "why", "run", "0", "--trainings", 5)
    assert "expected an index into the 40 test images" in refused(3, "why", "run", "40")
    assert "nowhere.png" in refused(3, "why", "run", "nowhere.png")
    assert "a run keeps it" in refused(2, "why", "run", "0", "train.epochs=3")
    assert "no run folder" in refused(2, "why", "nowhere", "0")
    arrays = dict(np.load("planted.npz"))
    np.savez("planted.npz", **(arrays | {"y_train": (arrays["y_train"] + 1) % 10}))
    assert "found others; correct data.root" in refused(3, "why", "run", "0")


def test_effects_are_the_difference_of_means_with_and_without_an_image():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 41)
    pairs = [draw_halves(labels, seed) for seed in range(12)]
    values = rng.normal(size=(12, 2))
    own = rng.normal(size=(12, 2, 41))
    one = effects([first for first, _ in pairs], (values[:, 0] - values[:, 1]).tolist(), 41)
    each = effects([first for first, _ in pairs], list(own[:, 0] - own[:, 1]), 41)
    for image in range(41):
        inside = [int(image in second) for _, second in pairs]  # the half that holds it
        difference = [values[t, k] - values[t, 1 - k] for t, k in enumerate(inside)]
        np.testing.assert_allclose(one.mean[image], np.mean(difference), rtol=1e-9)
        np.testing.assert_allclose(one.error[image], np.std(difference, ddof=1) / 12**0.5, rtol=1e-9)
        difference = [own[t, k, image] - own[t, 1 - k, image] for t, k in enumerate(inside)]
        np.testing.assert_allclose(each.mean[image], np.mean(difference), rtol=1e-9)


def test_halves_divide_every_class():
    labels = np.arange(101) % 4
    for seed in range(5):
        first, second = draw_halves(labels, seed)
        np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(101))
        assert np.abs(np.bincount(labels[first]) - np.bincount(labels[second])).max() <= 1
    parts, halves = make_parts(labels, np.arange(101) + 1000, 2, 5)
    assert [part.name for part in parts] == ["pair-0-0", "pair-0-1", "pair-1-0", "pair-1-1"]
    assert [part.seed for part in parts] == [5, 5, 6, 6]
    np.testing.assert_array_equal(parts[2].indices, halves[1] + 1000)


def test_log_odds_keep_the_digits_of_what_is_nearly_sure():
    shares = np.array([[1.0, 1e-20, 1e-21], [0.25, 0.5, 0.25]])
    np.testing.assert_allclose(log_odds(shares, 0), [np.log(1 / 1.1e-20), np.log(1 / 3)])
    assert np.isfinite(log_odds(np.array([[1.0, 0.0]]), 1)).all()
    assert 4.5 < noise_line(60_000) < 5.2
