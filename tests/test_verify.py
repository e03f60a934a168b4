"""Replaying runs: the same bits are found the same, and whatever differs is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from lenumba.engine.common.errors import InterruptedRunError
from lenumba.engine.config.config import load_config
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.folders import locked
from lenumba.engine.runs.run import Hooks, resume_run, start_run
from lenumba.engine.runs.verify import verify_run
from lenumba.engine.training.executor import Executor

COSINE = ["schedule.name=cosine"]


def change(run: Path, name: str, tensor: str, **progress) -> None:
    """Change one bit of one value of a checkpoint, whose checksum is right again, or its progress."""
    checkpoint = Checkpoint.read(run / f"{name}.safetensors")
    if tensor:
        checkpoint.tensors[tensor].view(np.uint32).flat[3] ^= 1
    checkpoint.state["progress"] |= progress
    checkpoint.write()


def contents(folder: Path) -> dict:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_finished_run_is_the_same_and_stays_as_it_is(lenumba, run):
    before = contents(run)
    result = lenumba("verify", run, "--threads", 3)
    assert result.exit_code == 0
    everything = "metrics of 3 epochs, last.safetensors (all), best.safetensors (all), run.json"
    assert result.stdout == f"{run}: 3 epochs replayed, every bit the same: {everything}\n"
    assert contents(run) == before
    found = json.loads(lenumba("verify", run, "--json").stdout)
    assert (found["same"], found["epochs"], found["difference"]) == (True, 3, None)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("last", "dense1.bias"),
        ("last", "optimizer.0.dense1.kernel"),
        ("last", "best.dense1.kernel"),
        ("best", "dense1.kernel"),
    ],
)
def test_one_bit_of_a_tensor_is_named(refused, run, name, tensor):
    change(run, name, tensor)
    line = refused(1, "verify", run, "-q")
    assert f"{name}.safetensors: {tensor} differs in 1 of " in line


def test_first_of_several_differences_is_named(refused, run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[1]["val_loss"] += 1e-12
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    change(run, "last", "dense1.kernel")
    assert "epoch 2: val_loss is " in refused(1, "verify", run, "-q")


def test_progress_and_results_are_compared_too(refused, run):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"test_loss": 0.5}))
    assert "run.json: test_loss is 0.5 in the folder" in refused(1, "verify", run, "-q")
    (run / "run.json").write_text(json.dumps(record | {"versions": {**record["versions"], "numba": "0.1"}}))
    change(run, "last", "", best_score=0.25)
    line = refused(1, "verify", run, "-q")
    assert "last.safetensors: best_score is 0.25" in line
    assert "trained with numba 0.1, now " in line


@pytest.mark.parametrize(("epoch", "also"), [(1, []), (3, ["last.safetensors", "best.safetensors"])])
def test_epoch_compares_what_there_is_of_it(lenumba, run, epoch, also):
    found = json.loads(lenumba("verify", run, "--epoch", epoch, "--json").stdout)
    assert found["same"]
    assert found["epochs"] == epoch
    assert [part.split()[0] for part in found["compared"]][: 1 + len(also)] == ["metrics", *also]


def test_weights_of_the_best_epoch_are_compared_where_that_is_not_the_last(place, refused):
    # With this step the validation gets worse in the end.
    result = start_run(load_config("tiny.yaml", ["optimizer.learning_rate=4.0", "train.epochs=6"]))
    best = result.summary["best_epoch"]
    assert best < 6
    assert "best.safetensors (weights)" in verify_run(result.path, epoch=best).compared
    change(result.path, "best", "dense1.kernel")
    assert "best.safetensors: dense1.kernel differs" in refused(1, "verify", result.path, "--epoch", best, "-q")


def test_run_that_was_made_longer_is_replayed_as_it_was_trained(place):
    run = start_run(load_config("tiny.yaml", COSINE)).path
    resume_run(run, ["train.epochs=5"])
    resume_run(run, ["train.epochs=6"])
    assert json.loads((run / "run.json").read_text())["extended"] == [
        {"epoch": 3, "batch": 0, "epochs": 3},
        {"epoch": 5, "batch": 0, "epochs": 5},
    ]
    assert verify_run(run).difference is None
    assert [verify_run(run, epoch=epoch).difference for epoch in (2, 4)] == [None, None]


@pytest.mark.parametrize("call", [1, 2])
def test_interrupted_run_is_replayed_to_the_batch(place, monkeypatch, call):
    """Interrupted within the second epoch, or in its validation, and made longer there."""
    import signal

    calls = []

    def interrupt(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2 and call == 1:
            signal.raise_signal(signal.SIGINT)
        return train(self, *arguments, **options)

    def validate(self, *arguments):
        if len(calls) == 2 and call == 2:
            signal.raise_signal(signal.SIGINT)
        return evaluate(self, *arguments)

    train, evaluate = Executor.train, Executor.evaluate
    with monkeypatch.context() as patch:
        patch.setattr(Executor, "train", interrupt)
        patch.setattr(Executor, "evaluate", validate)
        with pytest.raises(InterruptedRunError) as caught:
            start_run(load_config("tiny.yaml", COSINE))
    run = caught.value.folder
    verdict = verify_run(run)
    assert (verdict.epochs, verdict.batches, verdict.difference) == (1, {1: 1, 2: 16}[call], None)
    resume_run(run, ["train.epochs=4"])
    assert verify_run(run).difference is None
    resume_run(run)
    assert verify_run(run, ["train.threads=1"]).difference is None


def test_transferred_run_is_replayed_from_its_source(place, run, refused):
    new = start_run(load_config("tiny.yaml", [f"init_from={run}", "train.seed=4"])).path
    assert verify_run(new).difference is None
    change(run, "best", "dense1.kernel")
    assert "the replay is another one: " in refused(1, "verify", new, "-q")


def test_data_that_moved_are_named_by_an_override(place, lenumba, write_dataset, refused):
    write_dataset(place / "data")
    changes = ["data.name=mnist", "data.root=data", "data.batch_size=4", "data.validation=4"]
    assert lenumba("train", "tiny.yaml", *changes, "-q").exit_code == 0
    (place / "data").rename(place / "moved")
    assert "data.root" in refused(3, "verify", "latest")
    assert lenumba("verify", "latest", "data.root=moved").exit_code == 0
    write_dataset(place / "other", train_labels=np.zeros(12, np.uint8))
    assert "other data" in refused(3, "verify", "latest", "data.root=other")


def test_what_cannot_be_verified_is_refused_in_one_line(place, refused, run):
    assert "override train.seed: a run keeps it; only train.threads and data.root" in refused(
        2, "verify", run, "train.seed=3"
    )
    assert "--epoch: expected 1 to 3" in refused(2, "verify", run, "--epoch", 4)
    assert "no run folder" in refused(2, "verify", "nothing")
    with locked(run):
        assert "another process is training in it" in refused(3, "verify", run)
    (run / "best.safetensors").write_bytes(b"")
    assert "best.safetensors: damaged" in refused(3, "verify", run)


def test_imported_run_cannot_be_replayed_even_when_it_was_trained_on(place, lenumba, run, refused):
    weights = run / "best.safetensors"
    assert lenumba("import", weights, "--config", "tiny.yaml", "--out", "imported").exit_code == 0
    assert "imported" in refused(3, "verify", "imported")
    assert lenumba("train", "--resume", "imported", "-q").exit_code == 0
    assert "its first parameters were imported" in refused(3, "verify", "imported")


def test_watcher_sees_the_replayed_epochs(run):
    seen = []
    verify_run(run, hooks=Hooks(epoch=lambda record: seen.append(record.epoch)))
    assert seen == [1, 2, 3]
