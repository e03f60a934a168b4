"""Going on with a run whose configuration was edited: refused with the difference named, or what the edit means."""

import json
import shlex
from pathlib import Path

import pytest

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import load_config
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.hooks import Hooks
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.runs.verify import verify_run
from lenumba.engine.training.trainer import Trainer

RESULTS = (
    "weights_sha256",
    "best_weights_sha256",
    "test_accuracy",
    "test_loss",
    "best_epoch",
    "epochs",
    "stopped_early",
)
#: Nothing rises by so much after the first epoch.
IMPATIENT = ["train.epochs=12", "train.patience=2", "train.min_delta=0.9"]


def results(run: Path) -> dict:
    record = json.loads((run / "run.json").read_text())
    return {key: record[key] for key in RESULTS}


def edit(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert text.count(old) == 1, text
    (run / "config.yaml").write_text(text.replace(old, new))


@pytest.fixture
def cut(place, monkeypatch) -> Path:
    """A run of 12 epochs in batches of 32 that was interrupted after 9 epochs and 5 batches."""
    real = Trainer.epochs

    def part(self, watch=None, **_):
        yield from real(self, watch, planned=self.config.train.epochs, until=(9, 5))

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "epochs", part)
        patch.setattr(Trainer, "test", lambda self: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            start_run(load_config("tiny.yaml", ["train.epochs=12"]), out=Path("cut"))
    return Path("cut")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("batch_size: 32", "batch_size: 64", "data.batch_size: expected 32, which cut was trained with, found 64"),
        ("seed: 0", "seed: 1", "train.seed: expected 0"),
        ("learning_rate: 0.1", "learning_rate: 0.2", "optimizer.learning_rate: expected 0.1"),
        ("momentum: 0.9", "momentum: 0.5", "optimizer.momentum: expected 0.9"),
        ("validation: 128", "validation: 64", "data.validation: expected 128"),
        ("label_smoothing: 0.0", "label_smoothing: 0.1", "loss.label_smoothing: expected 0.0"),
        ("size: 4", "size: 2", "network.layers.0.size"),
        ("init_from: null", "init_from: elsewhere", "init_from: expected null"),
    ],
)
@pytest.mark.parametrize("go_on", [resume_run, verify_run])
def test_edit_that_makes_it_another_run_is_refused_with_the_difference(cut, old, new, named, go_on):
    edit(cut, old, new)
    before = {path.name: path.read_bytes() for path in cut.iterdir()}
    with pytest.raises(ConfigError) as caught:
        go_on(cut)
    assert named in str(caught.value)
    assert {path.name: path.read_bytes() for path in cut.iterdir()} == before


def test_every_difference_is_named(cut):
    edit(cut, "seed: 0", "seed: 1")
    edit(cut, "batch_size: 32", "batch_size: 16")
    with pytest.raises(ConfigError) as caught:
        resume_run(cut)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["data.batch_size", "train.seed"]


@pytest.mark.parametrize("way", ["edit", "override"])
def test_run_with_a_begun_epoch_does_not_end_before_it(cut, way):
    overrides = ["train.epochs=9"] if way == "override" else []
    if way == "edit":
        edit(cut, "epochs: 12", "epochs: 9")
    with pytest.raises(
        ConfigError, match=r"train\.epochs: expected at least the 10 epochs that cut has begun, found 9"
    ):
        resume_run(cut, overrides)


@pytest.mark.parametrize("epochs", [10, 12, 14])
def test_edited_number_of_epochs_is_what_an_override_is(cut, epochs):
    edit(cut, "epochs: 12", f"epochs: {epochs}")
    record = resume_run(cut).summary
    assert record["epochs"] == epochs
    assert record.get("extended", []) == ([] if epochs == 12 else [{"epoch": 9, "batch": 5, "epochs": 12}])
    assert verify_run(cut).difference is None
    if epochs == 12:
        assert results(cut) == results(start_run(load_config("tiny.yaml", ["train.epochs=12"])).path)


# ------------------------------------------------------------------------------------------------------ early stopping


def test_early_end_is_said_and_recorded(lenumba, place):
    result = lenumba("train", "tiny.yaml", *IMPATIENT)
    assert result.exit_code == 0, result.output
    assert "\nstopped early at epoch 3, as no epoch after 1 raised the validation accuracy; " in result.stdout
    assert json.loads(Path("runs/tiny-001/run.json").read_text())["stopped_early"] is True
    advice = next(line for line in result.stdout.splitlines() if line.startswith("longer: "))
    assert advice == "longer: lenumba train --resume runs/tiny-001 train.patience=4"
    longer = lenumba(*shlex.split(advice.removeprefix("longer: lenumba ")))
    assert (longer.exit_code, "\n    4 " in longer.stdout) == (0, True), longer.output
    assert "stopped early" not in lenumba("train", "tiny.yaml").stdout
    assert json.loads(Path("runs/tiny-002/run.json").read_text())["stopped_early"] is False


def test_resuming_where_nothing_is_left_to_train_says_so(lenumba, place, run):
    whole = results(run)
    assert "\nnothing left to train: all 3 epochs are done; " in lenumba("train", "--resume", run).stdout
    assert results(run) == whole
    assert lenumba("train", "tiny.yaml", *IMPATIENT, "--out", "early").exit_code == 0
    assert "\nnothing left to train: stopped early at epoch 3, " in lenumba("train", "--resume", "early").stdout


def test_patience_may_change_and_gives_the_run_that_had_it_from_the_start(place):
    early = start_run(load_config("tiny.yaml", IMPATIENT), out=Path("early")).path
    resume_run(early, ["train.patience=5"])
    whole = start_run(load_config("tiny.yaml", [*IMPATIENT, "train.patience=5"]), out=Path("whole")).path
    assert results(early) == results(whole)
    assert results(whole)["epochs"] == 6
    assert verify_run(early).difference is None


def test_patience_that_has_ended_already_ends_the_run_after_the_epoch_that_has_begun(cut):
    notes: list[str] = []
    edit(cut, "patience: null", "patience: 1")
    record = resume_run(cut, hooks=Hooks(note=notes.append)).summary
    assert record["epochs"] in (10, 11, 12)
    assert verify_run(cut).difference is None


@pytest.mark.parametrize("normalize", ["mean_std", "none"])
def test_runs_that_drew_other_samples_do_not_go_on(place, lenumba, refused, normalize):
    """Earlier versions took the first ones, and their checkpoints do not tell."""
    changes = ["data.samples=64", "data.validation=16", f"data.normalize={normalize}"]
    assert lenumba("train", "tiny.yaml", *changes, "--out", "run", "-q").exit_code == 0

    def rewrite(**state):
        last = Checkpoint.read(Path("run/last.safetensors"))
        Checkpoint(last.path, last.tensors, {**last.state, **state}).write()

    if normalize == "mean_std":
        mean = Checkpoint.read(Path("run/last.safetensors")).state["mean"]
        rewrite(drawn_sha256=None)
        assert lenumba("train", "--resume", "run", "train.epochs=4", "-q").exit_code == 0
        rewrite(drawn_sha256=None, mean=[mean[0] + 1e-6])
    else:
        rewrite(drawn_sha256=None)
    line = refused(3, "train", "--resume", "run", "train.epochs=5")
    assert "was trained by an earlier version on other images than data.samples = 64 now draws" in line
    assert line.endswith("lenumba train run init_from=run\n")
    assert "data.samples" in refused(3, "verify", "run")
