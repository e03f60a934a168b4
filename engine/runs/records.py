"""What a run folder's JSON files hold, checked where they are read: they may come from anywhere."""

import json
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import read_json
from lenumba.engine.common.kinds import LOOSE, Count, Finite, checked

Number = float | None


@with_config(LOOSE)
class Extension(TypedDict):
    """Where a run stood when it was made longer, and how many epochs it was to have until then."""

    epoch: Count
    batch: int
    epochs: int


@with_config(LOOSE)
class Record(TypedDict, total=False):
    """``run.json``, as far as anything reads it."""

    status: str
    recipe: str
    started: str
    cpu: str
    data_sha256: str
    seed: int
    epochs: int
    best_epoch: int | None
    threads: int
    parameters: int
    multiply_adds: int
    train_images: int
    test_accuracy: Number
    test_loss: Number
    test_balanced_accuracy: Number
    test_macro_f1: Number
    recall: dict[str, float]
    f1: dict[str, float]
    images_per_second: Number
    wall_s: float
    overrides: list[str]
    versions: dict[str, str]
    extended: list[Extension]
    init_from: dict[str, Any] | None
    class_weights: dict[str, float]


@with_config(LOOSE)
class EpochLine(TypedDict, total=False):
    """A line of ``metrics.jsonl``."""

    epoch: Required[Count]
    seconds: Required[Finite]
    images_per_second: Required[Finite]
    learning_rate: Number
    train_loss: Number
    train_accuracy: Number
    val_loss: Number
    val_accuracy: Number
    val_balanced_accuracy: Number
    val_macro_f1: Number
    val_recall: dict[str, float] | None
    val_f1: dict[str, float] | None


@with_config(LOOSE)
class Counted(TypedDict):
    """One tensor's histogram."""

    low: Finite
    high: Finite
    counts: Annotated[list[Count], Field(min_length=1)]


@with_config(LOOSE)
class HistogramLine(TypedDict):
    """A line of ``histograms.jsonl``."""

    epoch: Count
    tensors: dict[str, Counted]


RECORD, EPOCH, HISTOGRAM = TypeAdapter(Record), TypeAdapter(EpochLine), TypeAdapter(HistogramLine)


def read_run_json(folder: Path) -> dict[str, Any]:
    """Return a run's ``run.json``, an empty one where it is missing or no JSON; DataError where a value is wrong."""
    path = folder / "run.json"
    return checked(RECORD, read_json(path), path, "mend it, or remove the file")


def read_lines(path: Path, adapter: TypeAdapter) -> list[dict[str, Any]]:
    """Return the lines of a JSON-lines file; only whole ones count, as the last may be half-written.

    Raises
    ------
    DataError
        Where a line is no JSON, or not of the adapter's kind.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{path}:{number}: expected an epoch as JSON, found damage; remove the line") from None
        found.append(checked(adapter, values, f"{path}:{number}", "remove the line"))
    return found
