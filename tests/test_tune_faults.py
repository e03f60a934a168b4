"""Studies on a machine that fails them: what is no fault of a trial is no result of it, and nothing is lost."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from test_tune_kills import TIMEOUT, attempts, children, results, wait_for
from tune_studies import STUDY, InstantPool, summary, trials, write_study

import lenumba as package
from lenumba.engine.config.config import load_config
from lenumba.engine.data.selection import load_data, split
from lenumba.engine.runs.run import start_run
from lenumba.engine.tuning import search
from lenumba.engine.tuning.storage import open_storage
from lenumba.engine.tuning.worker import keep_weights

pytest.importorskip("optuna", reason="studies need Optuna")
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in Linux's /proc")

HEAD = STUDY.partition("tune:")[0]


def contents(name: str = "tiny") -> tuple:
    """What a study has found, and all that it leaves."""
    folder = Path("studies", name)
    values = [(row["trial"], row["state"], row["value"], row["data.batch_size"]) for row in trials(name)]
    return values, (folder / "best.yaml").read_bytes(), sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------- nothing is lost


@pytest.mark.parametrize("trial", [0, 1])
def test_trial_whose_beginning_was_cut_short_is_tried_again(lenumba, place, monkeypatch, trial):
    from optuna.storages.journal import JournalFileBackend

    write_study(trials=2)
    assert lenumba("tune", "tiny.yaml", "-q", "--name", "whole").exit_code == 0
    real, begun = JournalFileBackend.append_logs, []

    def append(self, logs):
        real(self, logs)
        begun.extend(log for log in logs if log["op_code"] == 4)  # a trial is created
        if len(begun) == trial + 1:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(JournalFileBackend, "append_logs", append)
    stopped = lenumba("tune", "tiny.yaml", "-q")
    assert stopped.exit_code == 3
    assert "No space left on device" in stopped.stderr
    monkeypatch.setattr(JournalFileBackend, "append_logs", real)
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    assert contents() == contents("whole")


def test_half_a_line_in_the_journal_goes_before_the_next_is_written(place):
    import optuna

    study = optuna.create_study(storage=open_storage(place, None), study_name="x")
    with Path("journal.log").open("ab") as file:
        file.write(b'{"op_code": 2, "study_i')  # as no space leaves it
    study.set_user_attr("a", 1)
    assert optuna.load_study(storage=open_storage(place, None), study_name="x").user_attrs == {"a": 1}


def test_pruned_trial_is_no_failed_one_where_its_last_write_is_missing(lenumba, place, monkeypatch):
    from lenumba.engine.tuning.ledger import Ledger

    Path("tiny.yaml").write_text(
        f"{HEAD}tune:\n  sampler: grid\n  pruner: none\n  space:\n    optimizer.learning_rate: [0.1, 1e38]\n"
    )
    real = Ledger._finish

    def finish(self, attempt, state, value=None):
        if state == "PRUNED":
            raise OSError(28, os.strerror(28))
        return real(self, attempt, state, value)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_finish", finish)
        assert lenumba("tune", "tiny.yaml", "-q").exit_code == 3
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    assert [row["state"] for row in trials()] == ["finished", "pruned"]
    assert "training diverged" in trials()[1]["reason"]


# ------------------------------------------------------------------------------------------- parent and workers

FULL_PIPE = """
from lenumba.engine.tuning import pool
class Full:
    def __init__(self, file): self.file, self.writes = file, 0
    def __getattr__(self, name): return getattr(self.file, name)
    def write(self, text):
        self.writes += 1
        if self.writes == 2:
            raise OSError(28, "No space left on device")
        return self.file.write(text)
real, started = pool.subprocess.Popen, []
def start(*arguments, **options):
    process = real(*arguments, **options)
    started.append(process)
    if len(started) == 1:
        process.stdin = Full(process.stdin)
    return process
pool.subprocess.Popen = start
"""


def test_worker_that_cannot_be_told_its_task_is_replaced(place, spawn):
    write_study(trials=2)
    process = spawn("tune", "tiny.yaml", "-q", patch=FULL_PIPE)
    assert process.communicate(timeout=TIMEOUT) == ("", "")
    assert [row["state"] for row in trials()] == ["finished"] * 2
    lost = [attempt.user_attrs["lost"] for attempt in attempts(Path("studies/tiny")) if "lost" in attempt.user_attrs]
    assert lost == ["cannot be told its task: No space left on device"]


def test_worker_that_falls_silent_is_replaced(place, spawn):
    write_study(trials=2)
    patch = """
from lenumba.engine.tuning import pool
pool.SILENCE_SECONDS, real = 5.0, pool.Worker.end
def end(self, why):
    pool.SILENCE_SECONDS = 600.0
    real(self, why)
pool.Worker.end = end
"""
    process = spawn("tune", "tiny.yaml", "-q", patch=patch)
    wait_for(lambda: children(process), process)
    os.kill(children(process)[0], signal.SIGSTOP)
    assert process.communicate(timeout=2 * TIMEOUT) == ("", "")
    assert [row["state"] for row in trials()] == ["finished"] * 2


def test_attempt_that_nobody_works_on_is_not_waited_for(place, spawn):
    """As where the storage refuses a result."""
    write_study(trials=2)
    patch = """
from lenumba.engine.tuning import ledger
ledger.BEAT_SECONDS = 0.2
real, refused = ledger.Ledger._finish, []
def finish(self, attempt, state, value=None):
    if state == "COMPLETE" and not refused:
        refused.append(attempt)
        return False
    return real(self, attempt, state, value)
ledger.Ledger._finish = finish
"""
    process = spawn("tune", "tiny.yaml", "-q", patch=patch)
    assert process.communicate(timeout=TIMEOUT) == ("", "")
    assert results(Path("studies/tiny")) == [0, 1]


# -------------------------------------------------------------------------------------------- faults of the machine


@pytest.fixture
def own_data(write_dataset, place) -> Path:
    """A study of files that can go away."""
    rng = np.random.default_rng(0)
    write_dataset(place / "data", train_images=rng.integers(0, 256, (64, 28, 28), np.uint8),
                  train_labels=rng.integers(0, 10, 64, np.uint8))  # fmt: skip
    text = STUDY.replace("{name: digits, samples: 640, validation: 128", "{name: mnist, root: data, validation: 16")
    Path("tiny.yaml").write_text(text.replace("trials: 6", "trials: 3").replace("[16, 32, 64]", "[16, 32]"))
    return place / "data"


def test_machine_that_allows_no_training_ends_the_study_and_fails_no_trial(lenumba, own_data, monkeypatch):
    real = search.Pool.give

    def give(self, worker, task, job):
        if own_data.exists():
            own_data.rename("away")
        real(self, worker, task, job)

    with monkeypatch.context() as patch:
        patch.setattr(search.Pool, "give", give)
        stopped = lenumba("tune", "tiny.yaml")
    assert stopped.exit_code == 3, stopped.output
    assert stopped.stderr.startswith("error: study tiny, trial ")
    assert "data: expected " in stopped.stderr
    assert stopped.stderr.count("\n") == 1
    assert "5 trainings failed in a row; mend that and go on with --resume" in stopped.stderr
    assert summary()["status"] == "stopped"
    assert results(Path("studies/tiny")) == []
    Path("away").rename(own_data)
    assert lenumba("tune", "--resume", "-q").exit_code == 0
    assert [row["state"] for row in trials()] == ["finished"] * 3


def test_recipe_as_written_is_never_given_up(lenumba, place, monkeypatch):
    real = search.Pool.give

    def give(self, worker, task, job):
        if job["slot"] == 0:
            worker.process.kill()
        real(self, worker, task, job)

    monkeypatch.setattr(search.Pool, "give", give)
    monkeypatch.setattr(search, "MAX_LOSSES", 2)
    write_study(trials=3)
    for _ in range(2):
        stopped = lenumba("tune", "tiny.yaml", "-q")
        assert stopped.exit_code == 3, stopped.output
        assert "trial 0: its worker died of signal 9; 2 trainings failed in a row" in stopped.stderr
    assert results(Path("studies/tiny")) == [1, 2]


def test_without_the_recipe_as_written_there_is_no_verdict(lenumba, place):
    Path("tiny.yaml").write_text(
        HEAD.replace("batch_size: 32", "batch_size: 600")
        + "tune:\n  sampler: grid\n  pruner: none\n  space:\n    data.batch_size: [600, 32]\n"
    )
    result = lenumba("tune", "tiny.yaml")
    assert result.exit_code == 0, result.output
    assert [row["state"] for row in trials()] == ["failed", "finished"]
    assert (summary()["confirmed"], summary()["best"]) == (False, 1)
    assert "Not confirmed with fresh seeds: trial 0, the recipe as written, failed" in result.stdout
    assert "Test accuracy" not in result.stdout


def test_recipe_as_written_that_diverges_is_told_in_the_verdict(lenumba, place):
    Path("tiny.yaml").write_text(
        HEAD.replace("learning_rate: 0.1", "learning_rate: 1e38")
        + "tune:\n  sampler: grid\n  pruner: none\n  space:\n    optimizer.learning_rate: [0.1, 1e38]\n"
    )
    result = lenumba("tune", "tiny.yaml")
    assert result.exit_code == 0, result.output
    assert "Trial 0 is out of the finals: training diverged" in result.stdout


# ------------------------------------------------------------------------------------------------- what is judged


def test_training_that_stops_early_is_finished(lenumba, place):
    text = HEAD.replace("train: {epochs: 2}", "train: {epochs: 40, patience: 1}")
    Path("tiny.yaml").write_text(
        f"{text}tune:\n  sampler: grid\n  pruner: none\n  finalists: 1\n  space:\n    data.batch_size: [32, 64]\n"
    )
    result = lenumba("tune", "tiny.yaml")
    assert result.exit_code == 0, result.output
    assert [row["state"] for row in trials()] == ["finished"] * 2
    assert any(int(row["epochs"]) < 40 for row in trials())
    assert summary()["confirmed"]


def test_validation_losses_are_judged_without_label_smoothing(lenumba, place):
    Path("tiny.yaml").write_text(
        f"{HEAD}tune:\n  metric: val_loss\n  sampler: grid\n  pruner: none\n  finalists: 1\n  space:\n"
        "    loss.label_smoothing: [0, 0.3]\n"
    )
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    found = {row["loss.label_smoothing"]: float(row["value"]) for row in trials()}
    for smoothing, value in found.items():
        loaded = load_config("tiny.yaml", [f"loss.label_smoothing={smoothing}"])
        losses = []
        for epochs in (1, 2):
            run = start_run(load_config("tiny.yaml", [f"loss.label_smoothing={smoothing}", f"train.epochs={epochs}"]))
            dataset = load_data(loaded)
            _, indices = split(loaded, dataset)
            shown = package.load(run.path, checkpoint="last").predict_proba(dataset.train_images[indices])
            losses.append(-np.log(shown[np.arange(len(indices)), dataset.train_labels[indices]].astype(float)).mean())
        assert value == pytest.approx(min(losses), rel=1e-5)
    recorded = json.loads(Path("studies/tiny/study.json").read_text())
    assert recorded["metric"] == "val_loss"
    assert recorded["confirmed"]


@pytest.mark.parametrize(
    ("entry", "losses"),
    [
        ("loss.name: [auto, mean_squared_error]", "softmax cross entropy and squared error"),
        ("network.layers.2.activation: [softmax, sigmoid]", "sigmoid cross entropy and softmax cross entropy"),
    ],
)
def test_validation_losses_of_several_losses_are_not_compared(refused, place, entry, losses):
    Path("tiny.yaml").write_text(f"{HEAD}tune:\n  metric: val_loss\n  space:\n    {entry}\n")
    line = refused(2, "tune", "tiny.yaml")
    assert f"found values that lead to {losses}; set tune.metric to val_accuracy" in line


def test_configurations_that_a_sampler_repeats_meet_once_in_the_finals(lenumba, place):
    Path("tiny.yaml").write_text(
        f"{HEAD}tune:\n  sampler: tpe\n  pruner: none\n  trials: 7\n  finalists: 5\n  space:\n"
        "    data.batch_size: [32, 64]\n"
    )
    result = lenumba("tune", "tiny.yaml")
    assert result.exit_code == 0, result.output
    assert len(summary()["finals"]["values"]) == 2
    assert len(summary()["finals"]["p_values"]) == 1
    assert len(summary()["repeated"]) == 5
    assert "5 had the configuration of an earlier trial, which stands for both" in result.stdout


@pytest.mark.long("compiles for long")
def test_distortions_can_be_tuned(lenumba, place):
    Path("tiny.yaml").write_text(
        f"{HEAD}tune:\n  sampler: grid\n  pruner: none\n  finalists: 1\n  space:\n    augment.shift: [0, 2]\n"
    )
    result = lenumba("tune", "tiny.yaml", "-q")
    assert result.exit_code == 0, result.output
    assert len({row["value"] for row in trials()}) == 2


def test_weights_that_a_full_disk_cuts_short_are_an_error(tmp_path):
    """numpy.save says nothing of it where an array is small."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            keep_weights(tmp_path / "weights", np.zeros(100, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    keep_weights(tmp_path / "weights", np.arange(3, dtype=np.float32))
    assert np.fromfile(tmp_path / "weights", np.float32).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("end", "code", "told"), [(None, 3, "No space left on device"), (signal.SIGINT, 130, "go on")])
def test_finals_end_their_workers_before_the_folder_of_weights_goes(lenumba, place, monkeypatch, end, code, told):
    """They may be about to write there; and what ended the finals is what the user is told."""
    dismissed = []

    class Busy(InstantPool):
        def answers(self):
            if not any("weights" in worker.job for worker in self.workers if worker.task is not None):
                yield from super().answers()
            elif end is None:
                raise OSError(28, os.strerror(28))
            else:
                signal.raise_signal(end)

        def dismiss(self, worker):
            dismissed.append(Path(worker.job["weights"]).parent.is_dir())
            super().dismiss(worker)

    write_study(trials=2)
    with monkeypatch.context() as patch:
        patch.setattr(search, "Pool", Busy)
        result = lenumba("tune", "tiny.yaml", "-q")
    assert (result.exit_code, dismissed) == (code, [True]), result.output
    assert told in result.stderr
    assert not list(Path("studies/tiny").glob(".*"))
