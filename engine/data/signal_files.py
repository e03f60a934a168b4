"""Signals, or images of floating-point numbers, of files that are no data set: what a trained network is asked."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lenumba.engine.common.errors import DataError, unreadable
from lenumba.engine.data.csv_file import read_rows
from lenumba.engine.data.npz import opened, read_header, read_member
from lenumba.engine.data.signals import as_features, as_signals, check_features, check_signals

FORMATS = (".csv", ".tsv", ".txt", ".npy", ".npz")
ARRAYS = ("x_test", "test_images")  # what of several arrays is taken


class SignalRows(NamedTuple):
    """Signals float32 [N, 1, L, C], or images float32 [N, H, W, C], and each one's number.

    Of text that is its line, from 1; of arrays its index, from 0.
    """

    signals: np.ndarray
    numbers: tuple[int, ...]


def read_signals(
    path: str | os.PathLike[str], signal_shape: tuple[int, int, int], columns: Sequence[str] | None = None
) -> SignalRows:
    """Read the signals of a CSV file, whose labels, if it has any, are not looked at, or of an npy or npz file.

    Of an npz file with several arrays that is ``x_test`` or ``test_images``; arrays may hold one signal alone.

    Raises
    ------
    DataError
        Where the file cannot be read, or its signals have another size than `signal_shape`, (1, L, C), or images than
        (H, W, C). Images of floating-point numbers are arrays; of text, `columns` that are no values are left out.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".npy", ".npz"):
        if signal_shape[0] > 1:
            raise DataError(f"{path}: expected an npy or npz file of images {list(signal_shape)}, found text")
        rows = read_rows(path, signal_shape, columns)
        return SignalRows(rows.signals[:, np.newaxis], rows.lines)
    array = read_npy(path) if ending == ".npy" else read_array(path)
    return SignalRows(found := as_rows(str(path), array, signal_shape), tuple(range(len(found))))


def as_rows(where: str, array: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return signals or images of floating-point numbers, or a single one, as float32 [N, …] of `shape`.

    Raises
    ------
    DataError
        Where they have another size.
    """
    signals = shape[0] == 1
    single = shape[1:] if signals else shape
    sizes = (single, single[:-1]) if shape[2] == 1 else (single,)
    values = array[np.newaxis] if array.shape in sizes else array
    found = (as_signals if signals and values.ndim < 4 else as_features)(where, values)
    if found.shape[1:] != shape:
        expected = f"{'signals' if signals else 'images'} [N, {', '.join(map(str, sizes[-1]))}]"
        raise DataError(f"{where}: expected {expected}, found {list(array.shape)}; use those that fit")
    return found


def read_npy(path: Path) -> np.ndarray:
    """Read an array file; nothing that its header declares is believed before it is checked."""
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = read_header(file, str(path), check_array, "biuf")
            left = path.stat().st_size - file.tell()
            if left != (size := math.prod(shape) * dtype.itemsize):
                raise DataError(f"{path}: expected {size} bytes for {list(shape)}, found {left}; save the file again")
            return np.frombuffer(file.read(size), dtype).reshape(shape, order="F" if fortran else "C")
    except DataError:
        raise
    except Exception as error:  # damaged headers make NumPy's parser raise nearly anything
        raise DataError(f"{path}: expected a readable npy file, found: {unreadable(error)}") from error


def read_array(path: Path) -> np.ndarray:
    """Read the one array of an npz file, or the test set's."""
    with opened(path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        known = [name for name in ARRAYS if name in names] or names
        if len(known) != 1:
            found = ", ".join(ascii(name)[1:-1][:40] for name in names[:6]) or "none"
            raise DataError(
                f"{path}: expected one array, or {' or '.join(ARRAYS)}, found {found}; save it under that name"
            )
        return read_member(archive, known[0], f"{path}: {known[0]}", check_array)


def check_array(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError unless an array may hold signals, or a single one."""
    if len(shape) > 3:
        check_features(where, shape, dtype)
    else:
        check_signals(where, shape if len(shape) > 1 else (1, *shape), dtype)


def read_signal(place: str, signal_shape: tuple[int, int, int], columns: Sequence[str] | None = None) -> np.ndarray:
    """Return one signal float32 [1, L, C] of a place such as ``data.csv`` or ``data.csv:12``: a file, or a row of it.

    Rows are called as in :class:`SignalRows`; without a number it is the first one.

    Raises
    ------
    DataError
        As :func:`read_signals` does, and where there is no such row.
    """
    path, number = place, None
    if not os.path.exists(place) and (parts := re.fullmatch(r"(.+):(\d{1,9})", place)):
        path, number = parts[1], int(parts[2])
    found = read_signals(path, signal_shape, columns)
    if number is None:
        return found.signals[0]
    if number not in found.numbers:
        ends = f"{found.numbers[0]} to {found.numbers[-1]}"
        raise DataError(f"{place}: expected a row of {path}, {ends}, found none of that number; choose another")
    return found.signals[found.numbers.index(number)]
