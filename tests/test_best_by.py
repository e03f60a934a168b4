"""What epochs are judged by: balanced accuracy and macro F1 beside accuracy and loss, against scikit-learn's."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn import metrics as peer

import lenumba
from lenumba.cli import main
from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.metrics import Judged, confusion_matrix
from lenumba.engine.common.progress import Progress
from lenumba.engine.config.config import load_config, read_config
from lenumba.engine.data.selection import load_data
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.training.trainer import Trainer

NAMES = ("accuracy", "loss", "balanced_accuracy", "macro_f1")
ROUGH = ["optimizer.learning_rate=2", "train.epochs=25", "data.validation=60"]


def test_figures_are_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, answers = rng.choice(5, 60, p=[0.6, 0.2, 0.1, 0.1, 0]), rng.choice(5, 60, p=[0.6, 0.3, 0.05, 0, 0.05])
        found = Judged(0.5, float((labels == answers).mean()), confusion_matrix(labels, answers, 6)).told(
            list("abcdef")
        )
        present = sorted(set(labels))
        recall = peer.recall_score(labels, answers, labels=present, average=None)
        either = sorted({*labels, *answers})
        f1 = peer.f1_score(labels, answers, labels=either, average=None)
        assert found["balanced_accuracy"] == pytest.approx(np.mean(recall))
        assert found["macro_f1"] == pytest.approx(peer.f1_score(labels, answers, average="macro"))
        assert found["recall"] == pytest.approx(dict(zip(("abcdef"[k] for k in present), recall, strict=True)))
        assert found["f1"] == pytest.approx(dict(zip(("abcdef"[k] for k in either), f1, strict=True)))


@pytest.mark.parametrize("best_by", NAMES)
def test_best_epoch_is_the_best_by_what_is_named(place, best_by):
    result = start_run(load_config("tiny.yaml", [*ROUGH, f"train.best_by={best_by}"]))
    sign = -1 if best_by == "loss" else 1
    scores = [(sign * line[f"val_{best_by}"], -line["val_loss"]) for line in result.history]
    best = result.summary["best_epoch"]
    assert scores[best - 1] == max(scores)
    assert best < 25  # the validation goes up and down, or this would show nothing
    until = start_run(load_config("tiny.yaml", [*ROUGH, f"train.best_by={best_by}", f"train.epochs={best}"]))
    assert until.summary["weights_sha256"] == result.summary["best_weights_sha256"]


def test_figures_choose_different_epochs(place):
    history = start_run(load_config("tiny.yaml", ROUGH)).history
    chosen = {
        name: max(history, key=lambda line, name=name: (-1 if name == "loss" else 1) * line[f"val_{name}"])["epoch"]
        for name in NAMES
    }
    assert len(set(chosen.values())) > 1


@pytest.mark.parametrize("best_by", ["loss", "macro_f1"])
def test_patience_waits_for_what_is_named(place, best_by):
    changes = [*ROUGH, f"train.best_by={best_by}", "train.patience=3"]
    result = start_run(load_config("tiny.yaml", changes))
    sign = -1 if best_by == "loss" else 1
    scores = [sign * line[f"val_{best_by}"] for line in result.history]
    risen = [k for k, score in enumerate(scores, 1) if score > max(scores[: k - 1], default=-np.inf)]
    assert result.summary["epochs"] == min(risen[-1] + 3, 25)
    assert all(late - early <= 3 for early, late in itertools.pairwise(risen))


def test_records_tell_every_class(place):
    result = start_run(load_config("tiny.yaml", ["train.best_by=macro_f1"]))
    record, lines = (Path(result.path, name).read_text() for name in ("run.json", "metrics.jsonl"))
    record, last = json.loads(record), json.loads(lines.splitlines()[-1])
    assert set(last["val_recall"]) == set(record["recall"]) == set("0123456789")
    assert last["val_balanced_accuracy"] == pytest.approx(np.mean(list(last["val_recall"].values())))
    assert record["test_macro_f1"] == pytest.approx(np.mean(list(record["f1"].values())))
    loaded = load_config("tiny.yaml", ["train.best_by=macro_f1"])
    trainer = Trainer(loaded, load_data(loaded))
    for _ in trainer.epochs():
        pass
    test = trainer.test()
    assert (record["test_balanced_accuracy"], record["test_macro_f1"]) == (test.balanced_accuracy, test.macro_f1)


def test_command_line_shows_what_epochs_are_chosen_by(place):
    told = CliRunner().invoke(main, ["train", "tiny.yaml", "train.best_by=macro_f1"]).stdout.splitlines()
    header = next(line for line in told if line.startswith("epoch "))
    assert header.endswith("  macro F1")
    history = [json.loads(line) for line in Path("runs/tiny-001/metrics.jsonl").read_text().splitlines()]
    shown = [line for line in told if line.startswith("    ")]
    assert [line.split()[-1] for line in shown] == [f"{line['val_macro_f1']:.4f}" for line in history]
    assert "   macro F1 0." in next(line for line in told if line.startswith("test accuracy"))
    usual = CliRunner().invoke(main, ["train", "tiny.yaml"]).stdout
    assert "macro F1" not in usual


def test_checkpoint_of_accuracies_alone_goes_on(place):
    """Checkpoints say what the best epoch's score was; older ones call it accuracy."""
    old = {"epoch": 2, "best_epoch": 1, "best_accuracy": 0.5, "best_loss": 1.0, "risen_epoch": 1, "risen_accuracy": 0.5}
    found = Progress.of(old)
    assert (found.epoch, found.best_score, found.risen_score) == (2, 0.5, 0.5)
    assert Progress.of({"epoch": 1, "best_score": 0.25}).best_score == 0.25


def test_another_figure_is_another_run(place):
    run = start_run(load_config("tiny.yaml")).path
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("best_by: accuracy", "best_by: macro_f1"))
    with pytest.raises(ConfigError, match=r'train\.best_by: expected "accuracy", which .* was trained with'):
        resume_run(run, ["train.epochs=5"])


def test_without_validation_there_is_nothing_to_choose_by():
    text = "data: {name: bars, validation: 0}\nnetwork: {layers: [flatten, {type: dense, units: 2}]}\n"
    with pytest.raises(ConfigError, match=r"train\.best_by: expected accuracy without validation images"):
        read_config(text, "x", ["train.best_by=loss"])


@pytest.mark.long("compiles for long")
def test_study_decides_by_macro_f1_over_weights_and_flips(place):
    pytest.importorskip("optuna", reason="studies need Optuna")
    tune = {
        "metric": "val_macro_f1",
        "sampler": "grid",
        "pruner": "asha",
        "trials": 8,
        "finalists": 1,
        "space": {
            "loss.class_weight": [None, "balanced"],
            "augment.flip": [None, "horizontal"],
            "data.sampling": ["shuffle", "balanced"],
        },
    }
    with pytest.raises(ConfigError, match=r"train\.best_by: expected macro_f1, as tune\.metric is val_macro_f1"):
        lenumba.tune("tiny.yaml", {"tune": tune})
    found = lenumba.tune("tiny.yaml", {"train.epochs": 2, "train.best_by": "macro_f1", "tune": tune})
    states = {json.dumps(list(row["params"].values())): row["state"] for row in found.trials}
    refused = {key for key, state in states.items() if state == "failed"}
    assert len(states) == 8
    assert refused == {json.dumps(["balanced", flip, "balanced"]) for flip in (None, "horizontal")}
    finals, best = found.summary["finals"], found.best_config.read_text()
    assert set(finals["test_macro_f1"]) >= {str(found.summary["best"])}
    assert "test_accuracy" not in finals
    assert "# Validation macro F1 of its best epoch: " in best
    assert "# Test macro F1, read once per seed: 0." in best
    run = lenumba.train(str(found.best_config))
    assert max(line["val_macro_f1"] for line in run.history) == found.best["values"][0]
    seed = finals["seeds"][0]
    again = lenumba.train(str(found.best_config), {"train.seed": seed})
    assert again.summary["test_macro_f1"] == finals["test_macro_f1"][str(found.summary["best"])][0]


def test_comparisons_judge_by_what_all_configurations_name(place):
    Path("other.yaml").write_text(Path("tiny.yaml").read_text().replace("0.1}", "0.02}"))
    changes = {"train.epochs": 1, "train.best_by": "macro_f1"}
    found = lenumba.compare(["tiny.yaml", "other.yaml"], changes, seeds=3)
    for item in found:
        alone = [
            start_run(load_config(f"{item.name}.yaml", {**changes, "train.seed": run.seed})).summary
            for run in item.runs
        ]
        assert [run.score for run in item.runs] == [record["test_macro_f1"] for record in alone]
    expected = stats.ttest_rel(*([run.score for run in item.runs] for item in found)).pvalue
    assert found[1].p_value == pytest.approx(expected)
    command = ["compare", "tiny.yaml", "other.yaml", "train.epochs=1", "--seeds", "2"]
    told = CliRunner().invoke(main, [*command, "train.best_by=macro_f1"]).stdout
    assert "test macro F1" in told.splitlines()[0]
    assert "that the test macro F1 is the first one's" in told
    Path("other.yaml").write_text(Path("tiny.yaml").read_text().replace("epochs: 3", "epochs: 3, best_by: macro_f1"))
    assert "that the test accuracy is the first one's" in CliRunner().invoke(main, command).stdout
