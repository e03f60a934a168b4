"""Many pictures through a trained network: finding them, answers as they come, a table of them."""

import contextlib
import csv
import glob
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.images import FORMAT_NAMES, FORMATS
from lenumba.engine.data.signal_files import read_signals
from lenumba.engine.models.model import Model
from lenumba.engine.models.thresholds import choose

BATCH = 64  # pictures that are in memory at a time

Input = tuple[str, np.ndarray | None, str]  # what it is called, an image, and why there is none


@dataclass(frozen=True)
class Answer:
    """What a network makes of one picture; `fault` says why it could not be read, and `probabilities` is empty then.

    `probabilities` float64 [classes] are in the order of `class_names`. `chosen` is the class that thresholds chose, if
    there are some: None where none reaches its own; without thresholds it is the most probable one.
    """

    path: str
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    chosen: int | None
    fault: str = ""

    @property
    def best(self) -> tuple[str, float] | None:
        """The chosen class and its probability."""
        return None if self.chosen is None else (self.class_names[self.chosen], float(self.probabilities[self.chosen]))

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the classes with their probabilities: the chosen one, then the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable").tolist()
        order.sort(key=lambda k: k != self.chosen)
        return [(self.class_names[k], float(self.probabilities[k])) for k in order[:count]]


@dataclass(frozen=True)
class TargetAnswer:
    """What a network makes of a sample whose target is no class; `fault` says why it could not be read.

    `values` float64 are the probabilities of several labels, or numbers, by `names`; or the anomaly score alone.
    `thresholds` are those of labels by name, where others than ½ were asked for.
    """

    path: str
    target: str
    names: tuple[str, ...]
    values: np.ndarray
    fault: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def likely(self) -> list[tuple[str, float]]:
        """The labels whose probabilities reach their thresholds, the most probable first."""
        pairs = zip(self.names, self.values.tolist(), strict=True)
        reached = [(name, value) for name, value in pairs if value >= self.thresholds.get(name, 0.5)]
        return sorted(reached, key=lambda pair: -pair[1])

    def as_dict(self) -> dict[str, Any]:
        """Return the values as plain ones; with thresholds also the labels that reach theirs, as ``yes``."""
        if self.target == "input":
            return {"score": float(self.values[0])}
        values = {self.target: dict(zip(self.names, self.values.tolist(), strict=True))}
        return values | ({"yes": [name for name, _ in self.likely]} if self.thresholds else {})


def find_inputs(names: Sequence[str], stdin: Iterable[str], formats: Collection[str] = FORMATS) -> list[str]:
    """Return the paths that names stand for, in their order.

    Parameters
    ----------
    names
        Files; folders, for all files of `formats` in them and in their sub-folders; patterns with ``*``, ``?`` or
        ``[…]``, also ``**``; ``-`` for a name in each line of `stdin`.
    formats
        The endings of pictures, or of files of signals.

    Raises
    ------
    DataError
        Where there are none.
    """
    found: list[str] = []
    for name in names:
        listed = [line.rstrip("\n") for line in stdin if line.strip()] if name == "-" else [os.path.expanduser(name)]
        for path in listed:
            if os.path.isdir(path):
                inside = (os.path.join(folder, file) for folder, _, files in os.walk(path) for file in files)
                found += sorted(file for file in inside if is_wanted(file, formats))
            elif name != "-" and not os.path.lexists(path) and glob.has_magic(path):
                found += sorted(file for file in glob.glob(path, recursive=True) if is_wanted(file, formats))
            else:
                found.append(path)
    if not found:
        wanted = f"pictures ({FORMAT_NAMES})" if formats is FORMATS else f"files of signals ({', '.join(formats)})"
        raise DataError(f"{', '.join(names)[:200]}: expected {wanted}, found none; correct the path")
    return found


def is_wanted(path: str, formats: Collection[str]) -> bool:
    """Return whether a file in a folder is taken for what is asked for: by its ending, and if it is not hidden."""
    name = Path(path).name
    return Path(name).suffix.lower() in formats and not name.startswith(".")


def predict_files(
    model: Model, paths: Sequence[str], thresholds: Mapping[str, float] | None = None
) -> Iterator[Answer]:
    """Yield the answer to each picture, or signal; what cannot be read has a fault, and the others are answered.

    Signals are called by their file and row. With `thresholds` by class,
    :func:`lenumba.engine.models.thresholds.choose` says which class it is.
    """
    limits = np.array([(thresholds or {}).get(name, np.nan) for name in model.class_names])
    for path, row, fault in rows_of(model, paths, model.predict_proba):
        if len(row) == 1:  # one output is the probability of class 1
            row = np.array([1 - row[0], row[0]])
        chosen = choose(row, limits) if len(row) else None
        yield Answer(path, model.class_names, row, chosen, fault)


def predict_targets(
    model: Model, paths: Sequence[str], thresholds: Mapping[str, float] | None = None
) -> Iterator[TargetAnswer]:
    """Yield the answer to each picture, or signal, of a network whose target is no class; `thresholds` by label."""
    target = model.network.target
    names = ("score",) if target == "input" else model.class_names
    for path, row, fault in rows_of(model, paths, model.answers):
        yield TargetAnswer(path, target, names, row, fault, thresholds or {})


def rows_of(
    model: Model, paths: Sequence[str], answer: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yield what each picture or signal is called, what `answer` makes of it, float64, and why there is none of it."""
    read = signals_of if model.loaded.config.floats else pictures_of
    for part in read(model, paths):
        images = [image for _, image, _ in part if image is not None]
        outputs = iter(answer(np.stack(images)) if images else ())
        for path, image, fault in part:
            yield path, np.zeros(0) if image is None else np.atleast_1d(next(outputs)).astype(np.float64), fault


def pictures_of(model: Model, paths: Sequence[str]) -> Iterator[list[Input]]:
    """Yield the pictures of files, some at a time."""
    for start in range(0, len(paths), BATCH):
        found: list[Input] = []
        for path in paths[start : start + BATCH]:
            try:
                found.append((path, model.read_picture(path), ""))
            except DataError as error:
                found.append((path, None, str(error)))
        yield found


def signals_of(model: Model, paths: Sequence[str]) -> Iterator[list[Input]]:
    """Yield the signals of each file."""
    for path in paths:
        try:
            signals, numbers = read_signals(path, model.image_shape, model.loaded.config.data.target_columns)
        except DataError as error:
            yield [(path, None, str(error))]
            continue
        yield [(f"{path}:{number}", signal, "") for signal, number in zip(signals, numbers, strict=True)]


@contextlib.contextmanager
def table_writer(path: Path, class_names: Sequence[str], kind: str = "image") -> Iterator[Callable[[Answer], None]]:
    """Yield a function that writes an answer as a row: image (`kind`), class, its probability, those of all, fault.

    What was written stays, whatever interrupts the rest.
    """
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([kind, "class", "probability", *class_names, "fault"])

        def write(answer: Answer) -> None:
            values = [""] * len(class_names) if answer.fault else answer.probabilities.tolist()
            writer.writerow([answer.path, *(answer.best or ("", "")), *values, answer.fault])

        yield write


@contextlib.contextmanager
def target_writer(path: Path, names: Sequence[str], kind: str = "image") -> Iterator[Callable[[TargetAnswer], None]]:
    """Yield a function that writes an answer as a row: image (`kind`), its values by name, fault."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([kind, *names, "fault"])

        def write(answer: TargetAnswer) -> None:
            values = [""] * len(names) if answer.fault else answer.values.tolist()
            writer.writerow([answer.path, *values, answer.fault])

        yield write
