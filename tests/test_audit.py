"""Audits: what is found, that it is what a plain loop finds, that it can go on, and what cannot be audited."""

import csv
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from node import run_scripts

from lenumba.engine.audit.audit import run_audit
from lenumba.engine.audit.folds import assign_folds, contents, make_pool
from lenumba.engine.audit.judgement import conflicting_copies, judge, near_copies, overlaps
from lenumba.engine.audit.page import audit_page, page_values
from lenumba.engine.audit.trainings import Hooks, InterruptedTrainingsError
from lenumba.engine.common.errors import DataError
from lenumba.engine.config.config import read_config
from lenumba.engine.data.decisions import FORMAT, apply_decisions, decisions_text, image_key, read_decisions
from lenumba.engine.data.selection import load_data
from lenumba.engine.report.page import web_file
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.judging import Judge
from lenumba.engine.training.trainer import Trainer
from lenumba.kernels.constants import STOP
from lenumba.kernels.digits.digits import draw_digits

SMALL = """\
data: {name: npz, root: drawn.npz, batch_size: 32}
network:
  input: [28, 28, 1]
  layers:
    - {type: average_pool, size: 2}
    - flatten
    - {type: dense, units: 32, activation: relu}
    - {type: dense, units: 10, activation: softmax}
optimizer: {name: adamw, learning_rate: 0.01}
schedule: {name: cosine}
train: {epochs: 8}
"""
PLANTED = 25


@pytest.fixture(scope="session")
def drawn():
    """Drawn digits, of which 25 training labels are wrong: the arrays of an npz file, and which are wrong."""
    images, labels = draw_digits(1600, seed=5)
    wrong = np.random.default_rng(0).permutation(1200)[:PLANTED]
    train_labels = labels[:1200].copy()
    train_labels[wrong] = (train_labels[wrong] + 1 + np.arange(PLANTED) % 9) % 10
    arrays = {"x_train": images[:1200], "y_train": train_labels, "x_test": images[1200:], "y_test": labels[1200:]}
    return arrays, set(wrong.tolist())


@pytest.fixture
def small(place, drawn):
    """The configuration of drawn digits, in small.yaml of the working directory, and its file of images."""
    np.savez("drawn.npz", **drawn[0])
    Path("small.yaml").write_text(SMALL)
    return read_config(SMALL, "small.yaml")


def rows_of(folder):
    with (Path(folder) / "audit.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_planted_wrong_labels_are_found(small, drawn, lenumba):
    before = Path("drawn.npz").read_bytes()
    result = lenumba("audit", "small.yaml")
    assert result.exit_code == 0, result.output
    rows = rows_of("audits/small")
    assert len(rows) == 1600
    first = {int(row["index"]) for row in rows[: 2 * PLANTED] if row["split"] == "train"}
    assert len(first & drawn[1]) >= 20, sorted(first & drawn[1])
    assert "suspicious labels of training images" in result.stdout
    assert Path("drawn.npz").read_bytes() == before


def test_audited_probabilities_are_those_of_a_plain_loop_over_folds(small):
    found = run_audit(small, folds=3, seeds=2, out=Path("found"))
    dataset = load_data(small)
    images = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    for seed in range(2):
        fold_of = assign_folds(found.pool, 3, seed)
        expected = np.zeros((len(labels), 10))
        for fold in range(3):
            seen = fold_of != fold
            parts = {"train_images": images[seen], "train_labels": labels[seen]}
            parts |= {"test_images": images[~seen], "test_labels": labels[~seen]}
            loaded = read_config(SMALL, "small.yaml", {"data.validation": 0, "train.seed": seed, "train.threads": 2})
            trainer = Trainer(loaded, replace(dataset, **parts))
            for _ in trainer.epochs():
                pass
            trainer.executor.theta[:] = trainer.best_theta
            order = np.arange((~seen).sum())
            expected[~seen] = trainer.executor.evaluate(planar(images[~seen]), labels[~seen], order)[1]
        expected /= expected.sum(1, keepdims=True)
        np.testing.assert_array_equal(found.probabilities[seed], expected)


def test_a_signal_while_a_training_answers_leaves_it_to_be_made_again(small, monkeypatch):
    whole = run_audit(small, folds=2, seeds=1, out=Path("whole"))
    answers, sent = Judge.answers, []

    def interrupted(judge, executor, *given):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))
            while not executor.control[STOP]:
                time.sleep(0.001)
        return answers(judge, executor, *given)

    monkeypatch.setattr(Judge, "answers", interrupted)
    with pytest.raises(InterruptedTrainingsError):
        run_audit(small, folds=2, seeds=1, out=Path("again"))
    again = run_audit(small, folds=2, seeds=1, out=Path("again"))
    np.testing.assert_array_equal(again.probabilities, whole.probabilities)


def test_an_interrupted_audit_ends_as_an_undisturbed_one_for_any_number_of_threads(small, place):
    options = {"folds": 3, "seeds": 2}
    whole = run_audit(small, out=Path("whole"), **options)
    Path("whole.html").write_text(audit_page(whole))

    sent = []

    def interrupt(fraction: float, done: int, total: int) -> None:
        if done >= 2 and not sent:
            sent.append(done)
            os.kill(os.getpid(), signal.SIGINT)

    one = read_config(SMALL, "small.yaml", {"train.threads": 1})
    with pytest.raises(
        InterruptedTrainingsError, match=r"of 6 trainings; go on with: lenumba audit small.yaml"
    ) as stop:
        run_audit(one, out=Path("again"), hooks=Hooks(watch=interrupt), **options)
    assert stop.value.exit_code == 130
    assert not Path("again/audit.csv").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in Path("again/trainings").iterdir()}
    assert 2 <= len(kept) < 6
    damaged = sorted(Path("again/trainings").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    again = run_audit(read_config(SMALL, "small.yaml", {"train.threads": 3}), out=Path("again"), **options)
    assert Path("again/audit.csv").read_bytes() == Path("whole/audit.csv").read_bytes()
    assert page_values(again) == page_values(whole)
    unchanged = {path.name: path.stat().st_mtime_ns for path in Path("again/trainings").iterdir()}
    assert [name for name in kept if name != damaged.name and unchanged[name] != kept[name]] == []
    assert threading.active_count() < 20
    more = run_audit(small, folds=3, seeds=3, out=Path("again"))
    np.testing.assert_array_equal(more.probabilities[:2], whole.probabilities)


def test_folds_hold_out_each_image_once_and_duplicates_together(small, drawn):
    dataset = load_data(small)
    images = dataset.train_images.copy()
    images[100:150] = images[:50]
    pool = make_pool(small, replace(dataset, train_images=images))
    assert pool.train_count == 1200
    assert [pool.split_of(number) for number in (0, 1199, 1200)] == ["train", "train", "test"]
    for seed in range(3):
        fold_of = assign_folds(pool, 4, seed)
        np.testing.assert_array_equal(fold_of[100:150], fold_of[:50])
        counts = np.array([np.bincount(pool.labels[fold_of == fold], minlength=10) for fold in range(4)])
        assert counts.sum() == 1600
        assert (counts.max(0) - counts.min(0)).max() <= 1 + 50
        assert (np.ptp(np.bincount(fold_of[pool.content.argsort()], minlength=4))) <= 1 + 50
    assert (assign_folds(pool, 4, 0) != assign_folds(pool, 4, 1)).any()


def test_judgement_is_what_plain_loops_say():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.full(4, 0.3), (3, 50))
    labels = rng.integers(0, 4, 50)
    found = judge(probabilities, labels)
    costs = []
    for n, label in enumerate(labels.tolist()):
        own = [probabilities[s, n, label] for s in range(3)]
        mean = [sum(probabilities[s, n, k] for s in range(3)) / 3 for k in range(4)]
        guess = max(range(4), key=mean.__getitem__)
        assert found.guess[n] == guess
        np.testing.assert_allclose(found.given[n], mean[label], rtol=1e-12)
        np.testing.assert_allclose(found.guessed[n], mean[guess], rtol=1e-12)
        spread = sum((value - mean[label]) ** 2 for value in own) / 2
        np.testing.assert_allclose(found.given_error[n], (spread / 3) ** 0.5, rtol=1e-9)
        assert found.votes[n] == sum(probabilities[s, n].argmax() != label for s in range(3))
        costs.append(-sum(np.log(max(value, 1e-6)) for value in own))
    assert (np.diff(np.array(costs)[found.order]) <= 1e-9).all()
    for pair in overlaps(probabilities, labels, found):
        both = [n for n in range(50) if labels[n] in (pair.first, pair.second) and not found.suspicious[n]]
        other = [pair.first + pair.second - labels[n] for n in both]
        shares = [probabilities[:, n, k].mean() for n, k in zip(both, other, strict=True)]
        np.testing.assert_allclose(pair.probability, np.mean(shares), rtol=1e-9)
    assert np.isnan(judge(probabilities[:1], labels).given_error).all()


def test_copies_with_different_labels_are_found_also_where_they_only_look_alike():
    rng = np.random.default_rng(4)
    images, labels = rng.integers(0, 256, (60, 20, 30, 3), np.uint8), rng.integers(0, 3, 60)
    images[7], labels[7] = images[3], labels[3]  # a copy, and it agrees
    images[20], labels[20] = images[4], (labels[4] + 1) % 3
    images[30], labels[30] = np.clip(images[5] * 0.8 + rng.normal(9, 4, images[5].shape), 0, 255), (labels[5] + 1) % 3
    images[31], labels[31] = np.clip(images[6] + rng.normal(0, 3, images[6].shape), 0, 255), labels[6]
    images[40] = 9  # flat: it correlates with nothing
    content = contents(images)
    assert conflicting_copies(content, labels) == [[4, 20]]
    assert near_copies(images, labels, content, range(60)) == [(5, 30)]
    assert near_copies(images, labels, content, [30, 31, 40]) == [(5, 30)]
    assert near_copies(images, labels, content, []) == []


# -------------------------------------------------------------------------------------------------- decisions


def choose(page, choices, earlier=None):
    """Return the file that the page saves."""
    body = web_file("decisions.js") + "answer(decisionsText(given.format, given.earlier, given.items, given.choices));"
    given = {"format": page["format"], "items": page["items"], "choices": choices}
    return run_scripts(body, earlier=page["earlier"] if earlier is None else earlier, **given)


def test_the_pages_decisions_come_back_in_training(small, place, lenumba):
    found = run_audit(small, folds=2, seeds=1, out=Path("first"))
    page = page_values(found)
    items = page["items"]
    choices = {0: {"action": "relabel", "to": items[0]["guess"]}, 1: {"action": "drop"}, 2: {"action": "keep"}}
    Path("d.json").write_text(choose(page, choices))
    decisions = read_decisions(Path("d.json"))
    assert {key: decision.action for key, decision in decisions.items()} == {
        (items[k]["image"], items[k]["label"]): action for k, action in enumerate(["relabel", "drop", "keep"])
    }
    result = lenumba("train", "small.yaml", "data.decisions=d.json", "train.epochs=1")
    assert result.exit_code == 0, result.output
    splits = [item["split"] for item in items[:2]]
    recorded = json.loads(Path("runs/small-001/run.json").read_text())["decisions"]
    assert "decisions of d.json" in result.stdout
    assert sum(recorded[split]["relabelled"] for split in ("train", "test")) == 1
    assert recorded[splits[0]]["relabelled"] == 1
    assert recorded[splits[1]]["dropped"] == 1
    plain, decided = load_data(small), load_data(read_config(SMALL, "small.yaml", {"data.decisions": "d.json"}))
    assert len(decided.train_labels) + len(decided.test_labels) == len(plain.train_labels) + len(plain.test_labels) - 1
    labels = {image_key(image): label for image, label in zip(decided.train_images, decided.train_labels, strict=True)}
    labels |= {image_key(image): label for image, label in zip(decided.test_images, decided.test_labels, strict=True)}
    assert decided.class_names[labels[items[0]["image"]]] == items[0]["guess"]
    assert decided.class_names[labels[items[2]["image"]]] == items[2]["label"]
    assert items[1]["image"] not in labels
    assert lenumba("evaluate", "latest").exit_code == 0

    # A second audit does not ask again about what was confirmed, and its file holds what the first one decided.
    second = run_audit(read_config(SMALL, "s.yaml", {"data.decisions": "d.json"}), folds=2, seeds=1, out=Path("next"))
    assert second.summary["kept"] == 2
    page = page_values(second)
    again = {item["image"]: item for item in page["items"]}
    assert not any(again[items[k]["image"]]["suspicious"] for k in (0, 2) if items[k]["image"] in again)
    item = {**again.get(items[0]["image"], items[0]), "label": items[0]["guess"], "was": items[0]["label"]}
    kept = json.loads(choose(page | {"items": [item]}, {0: {"action": "keep"}}))["decisions"]
    assert {row["action"] for row in kept if row["image"] == item["image"]} == {"relabel"}
    undone = json.loads(choose(page | {"items": [item]}, {0: {"action": "relabel", "to": item["was"]}}))["decisions"]
    assert [row["action"] for row in undone if row["image"] == item["image"]] == ["keep"]
    assert len(kept) == len(undone) == 3


def test_decisions_written_in_python_read_back(tmp_path, drawn):
    path = tmp_path / "d.json"
    path.write_text(decisions_text([{"image": "a" * 32, "label": "3", "action": "relabel", "to": "5"}]))
    ((key, decision),) = read_decisions(path).items()
    assert (key, decision.action, decision.to) == (("a" * 32, "3"), "relabel", "5")


ROW = {"image": "a", "label": "3", "action": "drop"}
BAD = {
    "not JSON": ("{", "expected a decisions file"),
    "a list": ("[]", "expected the format"),
    "another format": ('{"format": "x"}', "expected the format"),
    "no rows": (json.dumps({"format": FORMAT}), "decision 1: expected image"),
    "a number": (json.dumps({"format": FORMAT, "decisions": [{**ROW, "label": 3}]}), "decision 1: expected image"),
    "an action": (decisions_text([{**ROW, "action": "burn"}]), "decision 1: expected keep, drop, or relabel"),
    "no class": (decisions_text([{**ROW, "action": "relabel"}]), "decision 1: expected keep, drop, or relabel"),
    "twice": (decisions_text([ROW, {**ROW, "action": "keep"}]), "decision 2: the image has another decision"),
    "a class": (decisions_text([{**ROW, "label": "cat"}]), "expected classes of npz"),
    "no image": (decisions_text([ROW]), "found none that fits"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_decisions_are_refused_in_one_line(case, small, refused):
    text, message = BAD[case]
    Path("d.json").write_text(text)
    for command in ("train", "audit"):
        assert message in refused(3, command, "small.yaml", "data.decisions=d.json")
    assert not Path("audits").exists()


def test_dropping_every_test_image_is_refused(small, tmp_path):
    dataset = load_data(small)
    rows = [
        {"image": image_key(image), "label": str(label), "action": "drop"}
        for image, label in zip(dataset.test_images, dataset.test_labels, strict=True)
    ]
    (tmp_path / "d.json").write_text(decisions_text(rows))
    with pytest.raises(DataError, match="expected test images to be left"):
        apply_decisions(dataset, read_decisions(tmp_path / "d.json"), tmp_path / "d.json")


# ----------------------------------------------------------------------------------------------- wrong inputs


def test_what_cannot_be_audited_is_refused_in_one_line(small, refused, lenumba):
    assert "init_from: expected null" in refused(2, "audit", "small.yaml", "init_from=somewhere")
    assert "expected softmax or sigmoid" in refused(2, "audit", "small.yaml", "network.layers.3.activation=none")
    assert "no such file" in refused(3, "audit", "small.yaml", "data.decisions=nowhere.json")
    assert "--folds" in refused(2, "audit", "small.yaml", "--folds", 1)
    assert "at least one batch" in refused(2, "audit", "small.yaml", "data.batch_size=1200", "--folds", 2)
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    assert "expected a new folder" in refused(2, "audit", "small.yaml", "--out", "full")
    assert Path("full/mine.txt").read_text() == "mine"
    quick = ("train.epochs=1", "--folds", 2, "--seeds", 1)
    assert lenumba("audit", "small.yaml", *quick, "-q").output == ""
    assert "another train.epochs" in refused(2, "audit", "small.yaml", "train.epochs=2", *quick[1:])
    assert "another number of folds" in refused(2, "audit", "small.yaml", "train.epochs=1", "--folds", 3)
    arrays = dict(np.load("drawn.npz"))
    np.savez("drawn.npz", **(arrays | {"y_train": (arrays["y_train"] + 1) % 10}))
    assert "another set of images" in refused(2, "audit", "small.yaml", *quick)


def test_an_audit_as_json_holds_its_figures(small, lenumba):
    result = lenumba("audit", "small.yaml", "train.epochs=1", "--folds", 2, "--seeds", 1, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["images"] == {"train": 1200, "test": 400}
    assert found == {"path": "audits/small"} | json.loads(Path("audits/small/audit.json").read_text())
    assert result.stderr == ""
    page = Path("audits/small/audit.html").read_text()
    assert "https://" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
