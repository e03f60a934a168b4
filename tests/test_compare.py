"""Comparing configurations: what is measured, on what, and how it is shown."""

import json
from pathlib import Path

import numpy as np
import pytest

import lenumba as package
from lenumba.engine.common.errors import ConfigError, DivergedError
from lenumba.engine.config.config import load_config
from lenumba.engine.data import sharing
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.runs import compare as comparing
from lenumba.engine.runs.compare import compare
from lenumba.engine.runs.figures import Figure
from lenumba.engine.runs.folders import list_runs
from lenumba.engine.runs.measuring import SHIFTS, shift, shifts

FIGURES = ["seconds", "train_accuracy", "test_accuracy", "gap"]


@pytest.fixture
def two(place):
    """Two configurations of one network: tiny.yaml, and slow.yaml with a lower learning rate."""
    text = (place / "tiny.yaml").read_text()
    (place / "slow.yaml").write_text(text.replace("learning_rate: 0.1", "learning_rate: 0.001"))
    return ["tiny.yaml", "slow.yaml"]


def test_a_run_of_a_comparison_is_the_run_that_training_makes(two):
    found = compare(["tiny.yaml"], ["train.seed=4"], 2)[0]
    assert [run.seed for run in found.runs] == [4, 5]
    for run in found.runs:
        trained = package.train("tiny.yaml", {"train.seed": run.seed})
        assert run.test_accuracy == trained.test_accuracy
        model, dataset = package.load(trained.path), load_dataset("digits")
        for distance in SHIFTS:
            accuracies = [
                model.evaluate(shift(dataset.test_images, dx, dy), dataset.test_labels).accuracy
                for dx, dy in shifts(distance)
            ]
            assert run.shifted_accuracy[distance] == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert len(list_runs()) == 2  # those of package.train alone


def test_configurations_are_measured_alike(two):
    fast, slow = package.compare(two, {"train.epochs": 2}, seeds=3)
    assert (fast.name, slow.name) == ("tiny", "slow")
    assert (fast.parameters, fast.multiply_adds) == (500, 490)
    assert fast.test_accuracy.mean > slow.test_accuracy.mean
    for found in (fast, slow):
        for key in FIGURES:
            values = [getattr(run, key) for run in found.runs]
            assert getattr(found, key).mean == pytest.approx(np.mean(values))
            assert getattr(found, key).error == pytest.approx(np.std(values, ddof=1) / 3**0.5)
        assert all(run.gap == run.train_accuracy - run.test_accuracy for run in found.runs)
        assert list(found.shifted_accuracy) == list(SHIFTS)


def test_data_set_is_loaded_once_where_its_section_agrees(two, monkeypatch):
    loaded = []
    load = sharing.load_data
    monkeypatch.setattr(sharing, "load_data", lambda *arguments: loaded.append(arguments) or load(*arguments))
    compare([*two, "tiny.yaml"], ["train.epochs=1"], 1)
    assert len(loaded) == 1


def test_one_seed_has_no_error():
    assert Figure.of([0.5]) == Figure(0.5, None)
    assert Figure.of([1, 2, 3]) == Figure(2, pytest.approx(1 / 3**0.5))


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-1, 0), (0, 1), (0, -1), (2, -1), (0, 0)])
def test_shifted_pixels_are_where_they_belong_and_the_rest_is_background(dx, dy):
    images = np.random.default_rng(0).integers(1, 256, (2, 4, 5, 3), np.uint8)
    moved = shift(images, dx, dy)
    for y in range(4):
        for x in range(5):
            inside = 0 <= y - dy < 4 and 0 <= x - dx < 5
            expected = images[:, y - dy, x - dx] if inside else np.zeros((2, 3))
            np.testing.assert_array_equal(moved[:, y, x], expected)


def test_shift_by_more_than_the_image_leaves_background():
    assert not shift(np.full((1, 3, 3, 1), 9, np.uint8), 4, 0).any()


def test_command_prints_a_table_and_tells_on_stderr_how_far_it_is(lenumba, two):
    result = lenumba("compare", *two, "train.epochs=1", "--seeds", 2)
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.stdout.splitlines()[:4]]
    assert rows[0] == "configuration"
    assert rows[2:] == ["tiny", "slow"]
    assert "±" in result.stdout
    assert [line.split()[:4] for line in result.stderr.splitlines() if "/" in line.split()[0]] == [
        [f"{number}/4", f"{name},", "seed", f"{seed}:"]
        for number, (name, seed) in enumerate([("tiny", 0), ("tiny", 1), ("slow", 0), ("slow", 1)], 1)
    ]


def test_json_is_all_that_is_printed(lenumba, two):
    result = lenumba("compare", *two, "train.epochs=1", "--seeds", 1, "--json")
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert [item["name"] for item in found] == ["tiny", "slow"]
    assert found[0]["test_accuracy"] == {"mean": found[0]["runs"][0]["test_accuracy"], "error": None}


def test_equal_names_are_told_apart_by_their_paths(two, place):
    (place / "other").mkdir()
    (place / "other" / "tiny.yaml").write_text((place / "tiny.yaml").read_text())
    found = compare(["tiny.yaml", "other/tiny.yaml"], ["train.epochs=1"], 1)
    assert [item.name for item in found] == ["tiny.yaml", "other/tiny.yaml"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["tiny.yaml"], "expected at least 2 configurations, found 1"),
        (["tiny.yaml", "train.epochs=1"], "expected at least 2 configurations, found 1"),
        (["tiny.yaml", "lenett"], "no recipe 'lenett' (did you mean 'lenet'?)"),
        (["tiny.yaml", "slow.yaml", "train.epochs=0"], "override train.epochs: expected"),
        (["tiny.yaml", "tiny15"], None),
        (["tiny.yaml", "slow.yaml", "--seeds", "0"], "--seeds"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(refused, two, arguments, part, monkeypatch):
    if part is None:  # a configuration that does not fit the data that an override gives to all
        arguments, part = [*arguments, "data.name=digits"], "tiny15"
    monkeypatch.setattr(comparing, "train_once", None)
    assert part in refused(2, "compare", *arguments)


@pytest.mark.parametrize("out", [None, Path("kept")])
def test_divergence_names_configuration_and_seed(two, out):
    with pytest.raises(DivergedError, match=r"^slow, seed 7: training diverged"):
        compare(["slow.yaml"], ["optimizer.learning_rate=1e38", "train.seed=7"], 1, out=out)


def test_p_values_are_those_of_paired_t_tests_corrected_by_holms_method(two):
    stats = pytest.importorskip("scipy.stats")
    found = compare([*two, "tiny.yaml"], ["train.epochs=1"], 4)
    assert found[0].p_value is None
    assert found[2].p_value == 1  # nothing differs
    first, second = ([run.test_accuracy for run in item.runs] for item in found[:2])
    assert found[1].p_value == pytest.approx(min(1, 2 * stats.ttest_rel(first, second).pvalue), rel=1e-6)
    assert compare(["tiny.yaml"], ["train.epochs=1"], 1)[0].p_value is None


STOP = """
import os
import lenumba.engine.runs.run as runs
real, calls = runs.carry_on, []
def carry_on(*arguments):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), {number})
    return real(*arguments)
runs.carry_on = carry_on
"""


def figures(found: list[dict]) -> list[dict]:
    """Return what does not depend on time."""
    for item in found:
        del item["seconds"]
        for run in item["runs"]:
            del run["seconds"]
    return found


def test_kept_comparison_goes_on_after_a_kill_to_the_same_figures(lenumba, two, spawn, place):
    command = ["compare", *two, "train.epochs=2", "--seeds", 2]
    spawn(*command, "--out", "kept", patch=STOP.format(number=9)).communicate(timeout=120)
    first = Path("kept/tiny/seed-1/run.json").stat().st_mtime_ns
    result = lenumba(*command, "--out", "kept", "--json")
    assert result.exit_code == 0, result.output
    assert Path("kept/tiny/seed-1/run.json").stat().st_mtime_ns == first
    assert figures(json.loads(result.stdout)) == figures(json.loads(lenumba(*command, "--json").stdout))
    assert figures(json.loads(Path("kept/comparison.json").read_text())) == figures(json.loads(result.stdout))
    assert sorted(path.name for path in Path("kept").iterdir()) == ["comparison.json", "plots", "slow", "tiny"]
    assert not list(Path("kept").rglob(".*"))
    assert lenumba("evaluate", "kept/slow/seed-1").exit_code == 0


def test_interrupted_comparison_says_how_to_go_on(two, spawn):
    process = spawn("compare", *two, "--seeds", 2, "--out", "kept", patch=STOP.format(number=2))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith("go on with: lenumba compare tiny.yaml slow.yaml --seeds 2 --out kept")


def test_kept_comparison_of_others_is_refused(refused, lenumba, two):
    assert lenumba("compare", *two, "train.epochs=1", "--seeds", 1, "--out", "kept").exit_code == 0
    assert "another train.epochs" in refused(2, "compare", *two, "train.epochs=2", "--seeds", 1, "--out", "kept")
    assert "found slow in it" in refused(2, "compare", "tiny.yaml", "tiny15", "--seeds", 1, "--out", "kept")


def test_python_asks_for_seeds_that_are_there(two):
    with pytest.raises(ConfigError, match="at least 1 seed, found 0"):
        package.compare(two, seeds=0)


def test_a_comparison_honours_init_from(run):
    changes = [f"init_from={run}", "optimizer.learning_rate=1e-30", "train.epochs=1"]
    assert load_config("tiny.yaml", changes).config.init_from == str(run)
    found = compare(["tiny.yaml"], changes, 1)[0]
    assert found.test_accuracy.mean == package.load(run).evaluate().accuracy
