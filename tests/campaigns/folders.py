"""What campaigns on run folders share: comparing two of them, and looking for what must not be left."""

import json
from pathlib import Path

from lenumba.engine.runs.checkpoint import Checkpoint

FILES = ["best.safetensors", "config.yaml", "last.safetensors", "metrics.jsonl", "run.json"]
TIMES = ("seconds", "images_per_second")
RESULTS = ("status", "weights_sha256", "best_weights_sha256", "test_accuracy", "test_loss", "best_epoch", "epochs")


def epochs_of(folder: Path) -> list[dict]:
    """Return the whole lines of metrics.jsonl without what depends on time."""
    lines = (folder / "metrics.jsonl").read_text().split("\n")[:-1]
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def contents(folder: Path) -> dict:
    """Return all of a finished run that training decides: weights, optimiser, progress, metrics and results."""
    found = {}
    for name in ("last", "best"):
        checkpoint = Checkpoint.read(folder / f"{name}.safetensors")
        found[name] = {key: tensor.tobytes() for key, tensor in checkpoint.tensors.items()}, checkpoint.state
    record = json.loads((folder / "run.json").read_text())
    return {**found, "metrics": epochs_of(folder), "results": {key: record[key] for key in RESULTS}}


def assert_same_run(folder: Path, whole: Path) -> None:
    """Compare two finished runs bit for bit; the first folder has no leftovers."""
    assert contents(folder) == contents(whole)
    names = sorted(path.name for path in folder.iterdir())
    assert names == FILES, names


def assert_sound(folder: Path, interval: float = 1) -> int:
    """Check a run that was killed: both checkpoints load, and what is lost is at most `interval` epochs; return it."""
    done = {}
    for name in ("last", "best"):
        done[name] = Checkpoint.read(folder / f"{name}.safetensors").progress.epoch
    assert 0 <= done["best"] - done["last"] <= interval  # the best is written first
    lost = 0
    if (folder / "metrics.jsonl").exists():
        lost = len(epochs_of(folder)) - done["last"]
    assert 0 <= lost <= interval, f"{lost} epochs lost"
    return lost
