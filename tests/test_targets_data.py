"""Several labels, numbers, or the input as target: from files and arrays through training to answers and records."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.stats import ttest_rel
from sklearn import metrics as sklearn_metrics

import lenumba as package
from lenumba.cli import main
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import load_config
from lenumba.engine.data.selection import load_data

WIDTH, TRAIN, TEST = 12, 300, 90
TARGETS = ("labels", "numbers", "input")
NAMES = ("left", "middle", "right")


def samples(target: str) -> tuple[np.ndarray, np.ndarray]:
    """Signals [N, WIDTH] of three hidden numbers, and what is to be told of them; a third of the last are noise."""
    rng = np.random.default_rng(5)
    hidden = rng.normal(size=(TRAIN + TEST, 3))
    signals = hidden @ rng.normal(size=(3, WIDTH)) + 0.05 * rng.normal(size=(TRAIN + TEST, WIDTH))
    if target == "labels":
        return signals, (hidden > 0).astype(np.uint8)
    if target == "numbers":
        return signals, hidden * [1, 10, 1000] + [0, 5, 2000]
    strange = np.arange(TRAIN + TEST) % 3 == 0
    strange[:TRAIN] = False
    signals[strange] = 2 * rng.normal(size=(strange.sum(), WIDTH))
    return signals, strange.astype(int)


def recipe(target: str, **data: object) -> dict:
    """A configuration; `input` has no other width than its outputs'."""
    units, activation = (WIDTH, "none") if target == "input" else (3, "sigmoid" if target == "labels" else "none")
    layers = ["flatten", {"type": "dense", "units": 3 if target == "input" else 16, "activation": "tanh"}]
    return {
        "data": {"name": "npz", "root": f"{target}.npz", "batch_size": 16, "target": target, **data},
        "network": {"input": [WIDTH], "layers": [*layers, {"type": "dense", "units": units, "activation": activation}]},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "train": {"epochs": 8, "threads": 2},
    }


def lenumba(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def record(folder: str) -> dict:
    return json.loads(Path(folder, "run.json").read_text())


def train_targets(drawn: Callable[[str], tuple[np.ndarray, np.ndarray]], config_of: Callable[[str], dict]) -> None:
    """Leave a file, a recipe and a run for each target in the working folder, by the targets' names."""
    for target in TARGETS:
        values, truth = drawn(target)
        arrays = {"x_train": values[:TRAIN], "x_test": values[TRAIN:], "y_test": truth[TRAIN:]}
        if target != "input":
            arrays |= {"y_train": truth[:TRAIN], "target_names": np.array(NAMES)}
        np.savez(f"{target}.npz", **arrays)
        Path(f"{target}.yaml").write_text(json.dumps(config_of(target)))
        lenumba("train", f"{target}.yaml", "--out", target)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a file, a recipe and a run for each target."""
    folder = tmp_path_factory.mktemp("targets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_targets(samples, recipe)
        yield folder


FIGURES = {"labels": "test_average_precision", "numbers": "test_r2", "input": "test_auc"}


@pytest.mark.parametrize("target", TARGETS)
def test_runs_learn_and_their_answers_are_worth_what_the_record_says(place, target):
    told, model = record(target), package.load(place / target)
    signals, truth = (part[TRAIN:] for part in samples(target))
    answers, expected = model.answers(signals), truth
    score = {
        "labels": lambda: sklearn_metrics.average_precision_score(truth, answers),
        "numbers": lambda: sklearn_metrics.r2_score(truth, answers),
        "input": lambda: sklearn_metrics.roc_auc_score(expected, answers),
    }[target]()
    assert score > 0.9
    assert told[FIGURES[target]] == pytest.approx(score, abs=1e-6)
    assert "test_accuracy" in told if target == "labels" else "test_accuracy" not in told
    found = json.loads(lenumba("evaluate", target, "--json"))
    assert found[FIGURES[target].removeprefix("test_")] == pytest.approx(score, abs=1e-6)
    assert found["loss"] == pytest.approx(told["test_loss"], rel=1e-6)
    direct = model.evaluate(signals, truth)
    assert direct.measured.told(())["loss"] == pytest.approx(told["test_loss"], rel=1e-5)
    lines = [json.loads(line) for line in Path(target, "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["val_loss"] < lines[0]["val_loss"]
    assert ("train_accuracy" in lines[0]) == (target == "labels")
    best = load_config(Path(target, "config.yaml")).config.train.best_by
    assert best == {"labels": "average_precision", "numbers": "r2", "input": "loss"}[target]


def test_numbers_are_learned_standardised_and_answered_in_their_own_units(place):
    told, model = record("numbers"), package.load("numbers")
    _, truth = samples("numbers")
    trained = load_data(load_config("numbers.yaml")).train_targets
    np.testing.assert_array_equal(trained, truth[:TRAIN])
    assert any("targets are learned standardised" in note for note in told["notes"])
    outputs = model.predict_proba(samples("numbers")[0][TRAIN:])
    units = told["target"]
    np.testing.assert_allclose(
        model.predict(samples("numbers")[0][TRAIN:]), outputs * units["deviation"] + units["mean"], rtol=1e-6
    )
    assert np.abs(np.array(units["mean"]) - truth[:TRAIN].mean(0)).max() < 100  # of the 270 that train


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_are_tables_lines_and_json(place, target):
    values = package.load(target).answers(samples(target)[0][TRAIN:]).reshape(TEST, -1)
    lenumba("predict", target, f"{target}.npz", "--csv", f"{target}.csv")
    with open(f"{target}.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["signal", *(("score",) if target == "input" else NAMES), "fault"]
    np.testing.assert_allclose([[float(cell) for cell in row[1:-1]] for row in rows[1:]], values, rtol=1e-6)
    listed = json.loads(lenumba("predict", target, f"{target}.npz", "--json"))
    first = {"score": values[0, 0]} if target == "input" else {target: dict(zip(NAMES, values[0], strict=True))}
    assert listed[0] == {"signal": f"{target}.npz:0"} | {key: pytest.approx(value) for key, value in first.items()}
    line = lenumba("predict", target, f"{target}.npz").splitlines()[0]
    assert {"labels": "%", "numbers": "middle", "input": "anomaly score"}[target] in line


@pytest.mark.parametrize("target", TARGETS)
def test_the_bits_are_the_same_for_any_threads_and_after_an_interruption(place, target, tmp_path):
    whole = record(target)["best_weights_sha256"], record(target)["weights_sha256"]
    for threads in (1, 3):
        alone = package.train(f"{target}.yaml", {"train.threads": threads}, out=tmp_path / f"{threads}").summary
        assert (alone["best_weights_sha256"], alone["weights_sha256"]) == whole
    package.train(f"{target}.yaml", {"train.epochs": 5}, out=tmp_path / "part")
    resumed = package.train(resume=tmp_path / "part", overrides={"train.epochs": 8}).summary
    assert (resumed["best_weights_sha256"], resumed["weights_sha256"]) == whole
    assert resumed[FIGURES[target]] == record(target)[FIGURES[target]]
    assert "every bit the same" in lenumba("verify", target)


@pytest.mark.parametrize("target", TARGETS)
def test_exports_agree_and_explanations_end_in_the_same_outputs(place, target):
    assert "largest difference" in lenumba("export", target, "--out", f"{target}.onnx", "--force")
    signals = samples(target)[0][TRAIN:].astype(np.float32)
    session = onnxruntime.InferenceSession(f"{target}.onnx")
    given = session.run(None, {"images": signals[:, None, None, :]})[-1]
    model = package.load(target)
    answers = model.answers(signals)
    if target == "input":  # the graph normalises and reconstructs
        normal = model.trained.normalization
        answers, given = answers, (((signals - normal.mean) / normal.deviation - given) ** 2).mean(1)
    np.testing.assert_allclose(given, answers, rtol=2e-4, atol=1e-5)
    found = json.loads(lenumba("explain", target, "7", "--json"))
    np.testing.assert_allclose(found["outputs"]["values"], model.predict_proba(signals[7:8])[0], rtol=1e-4, atol=1e-5)
    assert len(found["target"]) == model.network.outputs
    text = lenumba("explain", target, "7")
    assert ("target the input itself" if target == "input" else "target ") in text


@pytest.mark.parametrize("target", TARGETS)
def test_a_batch_s_gradients_are_those_of_its_loss(place, target):
    model, (signals, truth) = package.load(target), (part[TRAIN : TRAIN + 8] for part in samples(target))
    found = model.gradients(signals, None if target == "input" else truth)["dense1.bias"][0]
    bias, losses = model.network.views(model.executor.theta)["dense1.bias"], []
    for step in (0.01, -0.02):
        bias[0] += step
        losses.append(model.evaluate(signals, truth).measured.loss)
    assert found == pytest.approx((losses[0] - losses[1]) / 0.02, rel=0.02, abs=1e-4)


@pytest.mark.parametrize("target", ["labels", "numbers"])
def test_an_audit_finds_wrong_labels_and_numbers_in_training_and_test_samples(place, target):
    signals, truth = samples(target)
    sure = np.flatnonzero(np.abs(samples("numbers")[1][:, 0]) > 1.2)[[0, 1, 2, -1]]  # of the test samples the last
    truth[sure, 0] = 1 - truth[sure, 0] if target == "labels" else -4 * truth[sure, 0]
    np.savez(
        "wrong.npz", x_train=signals[:TRAIN], x_test=signals[TRAIN:], y_train=truth[:TRAIN], y_test=truth[TRAIN:],
        target_names=np.array(NAMES),
    )  # fmt: skip
    command = ("audit", f"{target}.yaml", "data.root=wrong.npz", "train.epochs=20", "--folds", "3", "--seeds", "2")
    told = lenumba(*command, "--out", f"audit-{target}")
    assert f"with suspicious {target}: " in told
    with open(f"audit-{target}/audit.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["split"], int(row["index"])) for row in rows if row["suspicious"]}
    assert {("train", int(k)) if k < TRAIN else ("test", int(k) - TRAIN) for k in sure} <= found
    assert len(rows) == TRAIN + TEST
    assert len(found) < 20
    summary = json.loads(lenumba(*command, "--out", f"audit-{target}", "--json"))
    assert summary["suspicious"]["train"] + summary["suspicious"]["test"] == len(found)
    assert summary[f"suspicious_by_{target[:-1]}"]["left"] >= 4
    assert "Answers to unseen samples" in Path(f"audit-{target}/audit.html").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_whole_numbers_are_compared_sample_by_sample(place, target):
    found = json.loads(lenumba("evaluate", target, "--int8", "--json"))
    assert found["names"] == ["float32", "int8"]
    figure = found["figures"][COMPARED[target]]
    assert figure["first"] == pytest.approx(record(target)[FIGURES[target]])
    assert abs(figure["difference"]) < 0.05
    assert any("calibrated on" in note for note in found["notes"])


COMPARED = {"labels": "average_precision", "numbers": "r2", "input": "auc"}


@pytest.mark.parametrize("target", TARGETS)
def test_configurations_are_compared_by_the_target_s_figure_seed_by_seed(place, target):
    Path(f"{target}-slow.yaml").write_text(json.dumps(recipe(target) | {"optimizer": {"learning_rate": 1e-3}}))
    table = package.compare([f"{target}.yaml", f"{target}-slow.yaml"], seeds=2, out=f"of-{target}")
    first, second = table
    assert first.judged_by == second.judged_by == COMPARED[target]
    assert first.runs[0].figures[COMPARED[target]] == pytest.approx(record(target)[FIGURES[target]], abs=1e-9)
    scores = [[run.figures[COMPARED[target]] for run in item.runs] for item in table]
    assert second.p_value == pytest.approx(ttest_rel(*scores).pvalue)
    assert first.p_value is None
    assert {"labels": "train average precision", "numbers": "train R²", "input": "test AUC"}[target] in str(table)
    found = json.loads(lenumba("compare", f"of-{target}/{target}", f"of-{target}/{target}-slow", "--json"))
    assert found["p_value"] == pytest.approx(ttest_rel(*scores).pvalue)
    assert found["seeds"]["1"] == pytest.approx([scores[0][1], scores[1][1]])


@pytest.mark.parametrize("target", TARGETS)
def test_two_runs_are_compared_sample_by_sample(place, target):
    Path(f"{target}-slow.yaml").write_text(json.dumps(recipe(target) | {"optimizer": {"learning_rate": 1e-3}}))
    lenumba("train", f"{target}-slow.yaml", "--out", f"{target}-slow")
    found = json.loads(lenumba("compare", target, f"{target}-slow", "--json"))
    figure = found["figures"][COMPARED[target]]
    both = [record(folder)[FIGURES[target]] for folder in (target, f"{target}-slow")]
    assert [figure["first"], figure["second"]] == pytest.approx(both)
    low, high = figure["interval"]
    assert low <= figure["difference"] <= high
    assert found["p_value"] < 0.05
    assert all(row["first"] < row["second"] for row in found["better_first"])
    same = json.loads(lenumba("compare", target, target, "--json"))
    assert (same["p_value"], same["better_first"], same["better_second"]) == (1, [], [])
    assert "paired bootstrap over samples" in lenumba("compare", target, f"{target}-slow")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("compare", "numbers", "labels"), "numbers, as of numbers"),
        (("compare", "numbers.yaml", "labels.yaml"), "numbers, as of numbers"),
        (("audit", "input.yaml"), "class or labels or numbers for an audit, as the input itself has no labels"),
        (("why", "input", "3"), "class for 'why'"),
        (("evaluate", "numbers", "--thresholds"), "class or labels for --thresholds"),
        (("predict", "input", "input.npz", "--thresholds"), "class or labels for thresholds"),
        (("explain", "labels", "0", "--label", "1"), "class for --label"),
    ],
)
def test_what_has_no_meaning_for_a_target_says_so_in_one_line(place, command, what):
    result = CliRunner().invoke(main, list(command))
    assert result.exit_code == 2
    assert f"data.target: expected {what}" in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_trained_and_judged_together(place, target):
    said = lenumba("train", f"{target}.yaml", "--seeds", "2", "--out", f"{target}-seeds")
    figure = FIGURES[target].removeprefix("test_")
    found = json.loads(lenumba("train", f"{target}.yaml", "--seeds", "3", "--out", f"{target}-seeds", "--json"))
    single = [record(f"{target}-seeds/seed-{seed}")[FIGURES[target]] for seed in range(3)]
    assert single[0] == record(target)[FIGURES[target]]
    assert found["figures"][figure]["mean"] == pytest.approx(np.mean(single))
    assert f"{single[1]:.4f}" in said
    judged = json.loads(lenumba("evaluate", f"{target}-seeds", "--json"))
    assert judged["figures"][figure]["mean"] == pytest.approx(np.mean(single), abs=1e-6)
    assert set(judged["classes"]) == (set() if target == "input" else set(NAMES))
    assert "over 3 seeds" in lenumba("evaluate", f"{target}-seeds")


def test_text_files_name_the_columns_of_their_targets(place):
    signals, truth = samples("numbers")
    with open("numbers.rows.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["middle", *(f"t{k}" for k in range(WIDTH)), "left", "right"])
        for signal, (left, middle, right) in zip(signals.tolist(), truth.tolist(), strict=True):
            writer.writerow([middle, *signal, left, right])
    changes = {"data.name": "csv", "data.root": "numbers.rows.csv", "data.target_columns": list(NAMES)}
    data = load_data(load_config("numbers.yaml", changes))
    every = np.concatenate([data.train_targets, data.test_targets])
    np.testing.assert_array_equal(np.sort(every[:, 1]), np.sort(truth[:, 1]))
    assert data.class_names == NAMES
    assert len(data.test_targets) == round((TRAIN + TEST) / 6)
    result = package.train("numbers.yaml", changes, out="of-text")
    assert result.summary["test_r2"] > 0.9
    answers = package.load("of-text").answers(signals[:3])
    listed = json.loads(lenumba("predict", "of-text", "numbers.rows.csv", "--json"))
    np.testing.assert_allclose([[row["numbers"][name] for name in NAMES] for row in listed[:3]], answers, rtol=1e-5)
    Path("bare.csv").write_text("\n".join(",".join(map(str, signal)) for signal in signals[:3].tolist()))
    assert len(json.loads(lenumba("predict", "of-text", "bare.csv", "--json"))) == 3
    with pytest.raises(DataError, match=r"found none called up; correct one"):
        load_data(load_config("numbers.yaml", changes | {"data.target_columns": ["left", "up"]}))


def test_arrays_in_memory_are_trained_like_files(place):
    signals, truth = samples("labels")
    given = {"images": signals[:TRAIN], "labels": truth[:TRAIN], "test": (signals[TRAIN:], truth[TRAIN:])}
    result = package.train("labels.yaml", out="in-memory", class_names=NAMES, **given)
    assert result.summary["weights_sha256"] == record("labels")["weights_sha256"]
    signals, strange = samples("input")
    result = package.train("input.yaml", out="normal", images=signals[:TRAIN], test=(signals[TRAIN:], strange[TRAIN:]))
    assert result.summary["test_auc"] == record("input")["test_auc"]


@pytest.mark.parametrize(
    ("target", "wrong", "message"),
    [
        ("labels", {"y_train": np.full((TRAIN, 3), 2)}, "training: expected 0 or 1, found 2 in row 0, column 0"),
        ("labels", {"y_train": np.full((TRAIN, 2), 1)}, "training: expected 3 labels for each sample"),
        (
            "numbers",
            {"y_test": np.full((TEST, 3), np.nan)},
            "test: expected a finite float32 number, found nan in row 0",
        ),
        ("numbers", {"y_test": np.full((TEST, 3), 1e200)}, "found 1e.200 in row 0, column 0"),
        (
            "numbers",
            {"y_train": np.zeros((TRAIN - 1, 3))},
            "expected as many images as labels, found 300 images and 299",
        ),
        (
            "input",
            {"x_test": np.zeros((TEST, WIDTH - 1))},
            "expected float32 images of 1×12×1, found float32 of 1×11×1",
        ),
    ],
)
def test_targets_that_cannot_be_learned_are_told_in_one_line(place, tmp_path, target, wrong, message):
    with np.load(f"{target}.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "target_names"}
    np.savez(tmp_path / "wrong.npz", **(arrays | wrong))
    with pytest.raises(DataError, match=message) as failure:
        load_data(load_config(f"{target}.yaml", {"data.root": str(tmp_path / "wrong.npz")}))
    assert "\n" not in str(failure.value)


def test_all_misfits_of_a_target_are_told_at_once(place):
    changes = {
        "data.classes": [0, 1], "data.sampling": "balanced", "loss.class_weight": "balanced",
        "train.best_by": "accuracy", "network.layers.2.activation": "softmax", "data.target_columns": ["left"],
    }  # fmt: skip
    with pytest.raises(ConfigError) as failure:
        load_config("numbers.yaml", changes)
    lines = str(failure.value).splitlines()
    assert len(lines) == 6
    for key in changes:
        assert any(key.removesuffix(".activation") in line for line in lines), key


def test_labels_are_as_many_as_the_network_s_outputs(place):
    wide, four = np.eye(WIDTH), np.eye(WIDTH)[:, :4]
    np.savez("wide.npz", x_train=wide, y_train=four, x_test=wide, y_test=four)
    with pytest.raises(ConfigError, match="expected 4 outputs, one for each of the labels, found 3"):
        package.train("labels.yaml", {"data.root": "wide.npz", "data.batch_size": 2}, out="wide")


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_weights_that_are_passed_on_bring_the_units_of_their_numbers(place, kind):
    lenumba("export", "numbers", "--out", f"passed.{kind}")
    lenumba("import", f"passed.{kind}", "--config", "numbers.yaml", "--out", f"from-{kind}")
    signals = samples("numbers")[0][TRAIN:]
    np.testing.assert_array_equal(
        package.load(f"from-{kind}").answers(signals), package.load("numbers").answers(signals)
    )


def test_images_of_floating_point_numbers_are_taken_as_they_are(place, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    maps = (rng.normal(-40, 20, (200, 9, 5)) + 30 * labels[:, None, None] * (np.arange(5) == 2)).astype(np.float32)
    np.savez("maps.npz", x_train=maps[:150], y_train=labels[:150], x_test=maps[150:], y_test=labels[150:])
    layers = [
        {"type": "conv", "channels": 4, "kernel_size": [3, 1], "activation": "relu"},
        "flatten",
        {"type": "dense", "units": 2, "activation": "softmax"},
    ]
    config = {
        "data": {"name": "npz", "root": "maps.npz", "batch_size": 16, "dtype": "float32"},
        "network": {"layers": layers},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "train": {"epochs": 15},
    }
    result = package.train(config, out="of-maps")
    assert result.test_accuracy > 0.9
    model = package.load("of-maps")
    assert model.trained.normalization.mean == pytest.approx(maps[:150].mean(), abs=1)
    assert model.evaluate().accuracy == result.test_accuracy
    np.save("one.npy", maps[151])
    np.testing.assert_array_equal(model.predict_proba(maps[151]), model.predict_proba(maps[150:])[1:2])
    assert json.loads(lenumba("predict", "of-maps", "one.npy", "--json"))[0]["image"] == "one.npy:0"
    assert "largest difference" in lenumba("export", "of-maps")
    assert json.loads(lenumba("explain", "of-maps", "one.npy", "--json"))["class"] == str(model.predict(maps[151])[0])
    same = package.train(config, images=maps[:150], labels=labels[:150], test=(maps[150:], labels[150:]), out="again")
    assert same.summary["weights_sha256"] == result.summary["weights_sha256"]
    with pytest.raises(DataError, match=r"say data\.dtype: float32 for features"):
        load_data(load_config(config, {"data.dtype": "uint8"}))
    maps[3, 4, 1] = np.inf
    np.savez(tmp_path / "wrong.npz", x_train=maps, y_train=labels, x_test=maps, y_test=labels)
    with pytest.raises(DataError, match="found inf in row 3, column 4, 1"):
        load_data(load_config(config, {"data.root": str(tmp_path / "wrong.npz")}))
    with pytest.raises(ConfigError, match="augment: expected every distortion off for float32 images"):
        load_config(config, {"augment.rotation": 5.0})


def test_a_study_goes_by_the_target_s_figure(place):
    tune = {
        "sampler": "random", "pruner": "none", "trials": 3, "finalists": 1,
        "space": {"optimizer.learning_rate": {"low": 1e-4, "high": 0.03, "log": True}},
    }  # fmt: skip
    changes = {"train.epochs": 2, "train.threads": 1, "tune": tune}
    found = package.tune("numbers.yaml", changes, name="of-numbers")
    assert found.summary["metric"] == "val_r2"
    finals = found.summary["finals"]
    assert set(finals) >= {"values", "test_r2"}
    assert all(-5 < value < 1 for values in finals["test_r2"].values() for value in values)
    best = max(found.trials, key=lambda row: row["values"][0])
    assert found.summary["best"] in (best["trial"], 0)
    report = "".join(path.read_text() for path in Path("studies/of-numbers").glob("best.yaml"))
    assert "Test R², read once per seed" in report
    with pytest.raises(ConfigError, match=r"tune\.metric: expected val_r2 or .* found val_auc"):
        load_config("numbers.yaml", changes | {"tune": tune | {"metric": "val_auc"}})


def test_pictures_of_a_class_that_no_training_picture_has_are_anomalies(place):
    rng = np.random.default_rng(0)
    for part, kind, count in (("train", "good", 60), ("test", "good", 20), ("test", "scratched", 20)):
        folder = Path("parts", part, kind)
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = 120 + 40 * (np.arange(12).reshape(3, 4) % 2) + rng.normal(0, 3, (3, 4))
            if kind == "scratched":
                pixels[rng.integers(3)] = 20
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    changes = {"data.name": "folder", "data.root": "parts", "data.image_size": [3, 4, 1], "network.input": None}
    result = package.train("input.yaml", changes, out="of-parts")
    assert result.summary["test_auc"] > 0.95
    assert result.summary["target"] == {"name": "input", "normal": ["good"]}
    found = json.loads(lenumba("evaluate", "of-parts", "--json"))
    assert found["worst"][0]["class"] == "scratched"
    assert found["worst"][0]["image"].startswith("test/scratched/")
    scores = json.loads(lenumba("predict", "of-parts", "parts/test/good/0.png", "parts/test/scratched/0.png", "--json"))
    assert scores[0]["score"] < scores[1]["score"]
