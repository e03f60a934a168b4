"""Many pictures through a trained network: finding them, answers as they come, a table of them."""

import contextlib
import csv
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.images import FORMAT_NAMES, FORMATS
from lenumba.engine.models.model import Model
from lenumba.engine.models.thresholds import choose

BATCH = 64  # pictures that are in memory at a time


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


def find_pictures(names: Sequence[str], stdin: Iterable[str]) -> list[str]:
    """Return the paths that names stand for, in their order.

    Parameters
    ----------
    names
        Files; folders, for all pictures in them and in their sub-folders; patterns with ``*``, ``?`` or ``[…]``, also
        ``**``; ``-`` for a name in each line of `stdin`.

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
                found += sorted(file for file in inside if is_picture(file))
            elif name != "-" and not os.path.lexists(path) and glob.has_magic(path):
                found += sorted(file for file in glob.glob(path, recursive=True) if is_picture(file))
            else:
                found.append(path)
    if not found:
        raise DataError(f"{', '.join(names)[:200]}: expected pictures ({FORMAT_NAMES}), found none; correct the path")
    return found


def is_picture(path: str) -> bool:
    """Return whether a file in a folder is taken for a picture: by its ending, and if it is not hidden."""
    name = Path(path).name
    return Path(name).suffix.lower() in FORMATS and not name.startswith(".")


def predict_pictures(
    model: Model, paths: Sequence[str], thresholds: Mapping[str, float] | None = None
) -> Iterator[Answer]:
    """Yield the answer to each picture; one that cannot be read has a fault, and the others are answered.

    With `thresholds` by class, :func:`lenumba.engine.models.thresholds.choose` says which class it is.
    """
    limits = np.array([(thresholds or {}).get(name, np.nan) for name in model.class_names])
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        images, faults = {}, {}
        for k, path in enumerate(part):
            try:
                images[k] = model.read_picture(path)
            except DataError as error:
                faults[k] = str(error)
        outputs = dict(zip(images, model.predict_proba(np.stack([*images.values()])), strict=True)) if images else {}
        for k, path in enumerate(part):
            row = outputs.get(k, np.zeros(0)).astype(np.float64)
            if len(row) == 1:  # one output is the probability of class 1
                row = np.array([1 - row[0], row[0]])
            chosen = choose(row, limits) if len(row) else None
            yield Answer(path, model.class_names, row, chosen, faults.get(k, ""))


@contextlib.contextmanager
def table_writer(path: Path, class_names: Sequence[str]) -> Iterator[Callable[[Answer], None]]:
    """Yield a function that writes an answer as a row: image, class, its probability, those of all classes, fault.

    What was written stays, whatever interrupts the rest.
    """
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "class", "probability", *class_names, "fault"])

        def write(answer: Answer) -> None:
            values = [""] * len(class_names) if answer.fault else answer.probabilities.tolist()
            writer.writerow([answer.path, *(answer.best or ("", "")), *values, answer.fault])

        yield write
