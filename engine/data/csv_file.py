"""Signals in text files: a signal in each row, with its label in front or at the end."""

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lenumba.engine.common.errors import DataError, unreadable
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.data.arrays import MAX_BYTES, MAX_CLASSES, Arrays
from lenumba.engine.data.splits import draw_stratified

LABELS = ("label", "class", "target", "y")  # what a header calls the column of labels
DELIMITERS = (",", ";", "\t")
TEST_SHARE = 1 / 6  # of the rows, where no file tells which are for the test
VALIDATION = ("val", "valid", "validation")


@dataclass(frozen=True)
class Rows:
    """A file's rows: signals float32 [N, L, C], labels as they are written (none: the file has no such columns).

    Each label has a text for each of `names`, the columns that they are in; `lines` int are the rows' places in the
    file, from 1, and `note` says where the labels were.
    """

    signals: np.ndarray
    labels: tuple[tuple[str, ...], ...] | None
    lines: tuple[int, ...]
    note: str
    names: tuple[str, ...] = ("",)


class Line(NamedTuple):
    """A row's place in the file, from 1, and its cells."""

    number: int
    cells: list[str]


def read_csv(
    path: Path,
    signal_shape: tuple[int, int, int],
    judging: bool = False,
    target: str = "class",
    columns: Sequence[str] | None = None,
) -> Arrays:
    """Read a data set of signals from text files.

    Parameters
    ----------
    path
        A file, of which one row in six, of each class its share, is for the test; or a folder with train.csv and
        test.csv, and perhaps val.csv, valid.csv or validation.csv.
    signal_shape
        (1, L, C): a row has L · C numbers, the channels of a moment side by side, and a label.
    judging
        Whether the signals are to be judged by a trained network: then test.csv is enough.
    target
        A key of `TARGETS`: what the labels are. Where it is the input, there need not be any.
    columns
        The names of the columns that hold labels or numbers; None: one, as :func:`read_rows` finds it.

    Raises
    ------
    DataError
        Where a file is missing or is none of such rows; it names line and column.
    """
    if path.is_dir():
        return read_parts(path, signal_shape, judging, target, columns)
    rows = labelled(path, signal_shape, target, columns)
    numbers, names, note = as_numbers([rows], target)
    strata = numbers[0] if numbers[0].ndim == 1 else np.zeros(len(numbers[0]), np.int64)
    test = draw_stratified(strata, max(1, round(len(strata) * TEST_SHARE)), 0)
    rest = np.setdiff1d(np.arange(len(numbers[0])), test)
    if not len(rest):
        raise DataError(f"{path}: expected at least two signals, found {len(test)}; add others")
    files = tuple(f"{path.name}:{line}" for line in rows.lines)
    notes = (rows.note, *note, f"{path}: {len(test):,} of {len(numbers[0]):,} rows are for the test, drawn, of each "
             "class its share")  # fmt: skip
    return Arrays(
        rows.signals[rest], numbers[0][rest], rows.signals[test], numbers[0][test], names, notes=notes, divided=True,
        files=(tuple(files[k] for k in rest), tuple(files[k] for k in test)),
    )  # fmt: skip


def read_parts(
    folder: Path, signal_shape: tuple[int, int, int], judging: bool, target: str, columns: Sequence[str] | None
) -> Arrays:
    """Read the files of a folder that divides the signals."""
    aside = [folder / f"{name}.csv" for name in VALIDATION if (folder / f"{name}.csv").exists()]
    paths = [folder / "train.csv", *aside, folder / "test.csv"]
    missing = [file.name for file in paths if not file.is_file() and not (judging and file.name == "train.csv")]
    if missing or len(aside) > 1:
        found = ", ".join(sorted(os.listdir(folder))[:6]) or "nothing"
        raise DataError(f"{folder}: expected train.csv and test.csv, and at most one of val.csv, valid.csv and "
                        f"validation.csv, found {found[:200]}; correct data.root")  # fmt: skip
    parts = [labelled(file, signal_shape, target, columns) if file.is_file() else None for file in paths]
    numbers, names, notes = as_numbers(parts, target)
    empty = np.zeros((0, *signal_shape[1:]), np.float32)
    signals = [part.signals if part else empty for part in parts]
    files = [[f"{file.name}:{line}" for line in part.lines] if part else []
             for file, part in zip(paths, parts, strict=True)]  # fmt: skip
    first = len(numbers[0])
    return Arrays(
        np.concatenate(signals[:-1]), np.concatenate(numbers[:-1]), signals[-1], numbers[-1], names,
        np.arange(first, first + len(numbers[1])) if aside else None,
        (*(part.note for part in parts if part), *notes),
        files=(tuple(name for part in files[:-1] for name in part), tuple(files[-1])),
    )  # fmt: skip


def labelled(path: Path, signal_shape: tuple[int, int, int], target: str, columns: Sequence[str] | None) -> Rows:
    """Read a file whose rows have labels, or may have none, where the input is the target."""
    rows = read_rows(path, signal_shape, columns)
    if rows.labels is None and target != "input":
        values = signal_shape[1] * signal_shape[2]
        if columns is not None:
            raise DataError(f"{path}: expected a header with {', '.join(columns)} (data.target_columns), found none")
        raise DataError(f"{path}: expected {values} values and a label in each row, found no label; add a column")
    return rows


def as_numbers(
    parts: Sequence[Rows | None], target: str = "class"
) -> tuple[list[np.ndarray], tuple[str, ...] | None, tuple[str, ...]]:
    """Return the labels of several parts as numbers, their names, and what to say about them.

    Classes, int64 [N], are in alphabetical order, or by number where all labels are whole numbers. Several labels or
    numbers are float64 [N, K], NaN where a text is no number.
    """
    found = [part.labels or (("",),) * len(part.lines) if part else () for part in parts]
    if TARGETS[target].numbered:
        named = next((part.names for part in parts if part), ())
        values = [
            np.array([[float(text) if is_number(text) else math.nan for text in row] for row in rows], np.float64)
            for rows in found
        ]
        note = f"csv: {len(named)} {target} of each row: {', '.join(named[:10])}{', …' * (len(named) > 10)}"
        return [rows.reshape(-1, len(named)) for rows in values], tuple(named), (note,)
    texts = [tuple(label for (label,) in rows) for rows in found]
    names = sorted({label for part in texts for label in part})
    if len(names) > MAX_CLASSES:
        raise DataError(f"csv: expected at most {MAX_CLASSES} different labels, found {len(names)}; are they values?")
    if all(name.lstrip("-").isdecimal() for name in names):
        names.sort(key=int)
    places = {name: number for number, name in enumerate(names)}
    listed = ", ".join(names[:10]) + ", …" * (len(names) > 10)
    numbers = [np.array([places[label] for label in part], np.int64) for part in texts]
    if names == [""]:
        return numbers, None, ("csv: no labels",)
    return numbers, tuple(names), (f"csv: {len(names)} classes by the labels' text: {listed}",)


def read_rows(
    path: str | os.PathLike[str], signal_shape: tuple[int, int, int], columns: Sequence[str] | None = None
) -> Rows:
    """Read a text file of signals; of labels, too, where each row has one cell more than a signal has values.

    With `columns`, the labels are in those that the header calls so, or there are none.

    Cells are separated by commas, semicolons or tabs. A first row is a header where a cell between the first and the
    last is no number, or one is called label, class, target or y. The labels are in the column that is called so, else
    in the last one where that holds other than numbers, else in the first.

    Raises
    ------
    DataError
        Where the file cannot be read, a row has another length, or a cell is no finite float32 number.
    """
    path = Path(path)
    lines = list(read_lines(path))
    header = lines.pop(0).cells if lines and is_header(lines[0].cells, columns or ()) else None
    if not lines:
        raise DataError(f"{path}: expected a signal in each row, found no rows; use another file")
    _, length, channels = signal_shape
    values, width = length * channels, len(lines[0].cells)
    places = label_places(path, header, lines, columns, values)
    if width - len(places) != values:
        what = "a label" if columns is None else f"the columns {', '.join(columns)}"
        raise DataError(
            f"{path}:{lines[0].number}: expected {values} values (network.input) and {what}, found {width} columns; "
            "change one"
        )
    kept = [k for k in range(width) if k not in places]
    signals = np.empty((len(lines), values), np.float32)
    for k, line in enumerate(lines):
        if len(line.cells) != width:
            raise DataError(f"{path}:{line.number}: expected {width} columns, found {len(line.cells)}; mend the row")
        cells = [line.cells[k] for k in kept] if places else line.cells
        try:
            with np.errstate(over="ignore"):
                signals[k] = list(map(float, cells))
        except ValueError:
            signals[k] = math.nan
        if not np.isfinite(signals[k]).all():
            raise wrong_cell(path, line, places)
    called = "" if header is None or not places else f" ({header[places[0]].strip()[:40]!r})"
    place = f"labels in column {places[0] + 1}{called}" if places else "no labels"
    if len(places) > 1:
        place = f"targets in columns {', '.join(str(k + 1) for k in places[:10])}{', …' * (len(places) > 10)}"
    skipped = "" if header is None else "a header, "
    return Rows(
        signals.reshape(-1, length, channels),
        tuple(tuple(line.cells[k].strip() for k in places) for line in lines) if places else None,
        tuple(line.number for line in lines),
        f"{path}: {skipped}{len(lines):,} rows of {width} columns, {place}",
        tuple(header[k].strip() if header else str(number) for number, k in enumerate(places)),
    )


def label_places(
    path: Path, header: Sequence[str] | None, lines: Sequence[Line], columns: Sequence[str] | None, values: int
) -> list[int]:
    """Return the places of the columns that hold labels, none where there are none; DataError where some lack."""
    if columns is None:
        return [label_column(header, lines)] if len(lines[0].cells) == values + 1 else []
    called = [name.strip() for name in header or ()]
    found = [called.index(name) for name in columns if name in called]
    if found and len(found) < len(columns):
        missing = ", ".join(name for name in columns if name not in called)
        raise DataError(f"{path}: expected the columns {', '.join(columns)}, found none called {missing}; correct one")
    return found


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the rows that are not empty; whatever goes wrong becomes a DataError."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: expected a CSV file, found none; correct the path")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES} bytes, found more; use npz")
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline(1 << 20)
            file.seek(0)
            reader = csv.reader(file, delimiter=max(DELIMITERS, key=first.count), strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield Line(reader.line_num, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected text in UTF-8, a signal in each row, found: {unreadable(error)}") from error


def is_number(cell: str) -> bool:
    """Return whether a cell holds a number, NaN and infinities among them."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_header(cells: Sequence[str], columns: Sequence[str] = ()) -> bool:
    """Return whether a first row names columns, such as those of `columns`."""
    named = any(cell.strip().lower() in LABELS or cell.strip() in columns for cell in cells)
    return named or any(cell.strip() and not is_number(cell) for cell in cells[1:-1])


def label_column(header: Sequence[str] | None, lines: Sequence[Line]) -> int:
    """Return which column has the labels."""
    for k, name in enumerate(header or ()):
        if name.strip().lower() in LABELS:
            return k
    texts = any(line.cells[-1].strip() and not is_number(line.cells[-1]) for line in lines)
    return len(lines[0].cells) - 1 if texts else 0


def wrong_cell(path: Path, line: Line, places: Sequence[int]) -> DataError:
    """Return the error of a row's first cell that is no finite number."""
    for k, cell in enumerate(line.cells):
        with np.errstate(over="ignore"):
            if k not in places and not (is_number(cell) and np.isfinite(np.float32(float(cell)))):
                found = ascii(cell.strip())[1:-1][:40] or "nothing"
                return DataError(
                    f"{path}:{line.number}: column {k + 1}: expected a finite float32 number, found {found}; mend it, "
                    "or leave the row out"
                )
    raise AssertionError("every cell is a number")
