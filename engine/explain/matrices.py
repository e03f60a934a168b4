"""Matrices that people type: YAML in line, text and CSV files, with values as they are."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import is_file
from lenumba.engine.config.faults import show
from lenumba.engine.config.yaml_file import load_value

MOST = 1 << 20  # values
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
ENDINGS = (".csv", ".tsv", ".txt")


def read_matrices(given: Any, where: str) -> np.ndarray:
    """Return matrices float64 [channels, height, width] of plain values, YAML in line, or a file's path.

    A file has a row in each line, its numbers with commas, semicolons, tabs or spaces between them; an empty line
    begins the next channel.

    Raises
    ------
    ConfigError, DataError
        Where they are no matrices of equal size.
    """
    if isinstance(given, str) and not given.lstrip().startswith("["):
        given = rows_of(Path(given).expanduser(), where)
    elif isinstance(given, str):
        given = load_value(given, where)
    return as_matrices(given, where)


def is_matrix(given: Any) -> bool:
    """Return whether an image is a matrix: lists, such in line, or a file of text."""
    if not isinstance(given, str):
        return True
    text = given
    return text.lstrip().startswith("[") or text.lower().endswith(ENDINGS)


def as_matrices(given: Any, where: str) -> np.ndarray:
    """Return rows, or a list of matrices of rows, as float64 [channels, height, width]."""
    expected = "expected a matrix such as [[1, 2], [3, 4]], or a list of them, one for each channel"
    matrices = [given] if depth(given) == 2 else given
    if depth(matrices) != 3 or not all(
        isinstance(matrix, list | tuple) and all(isinstance(row, list | tuple) for row in matrix) for matrix in matrices
    ):
        raise ConfigError(f"{where}: {expected}, found {show(given)}")
    sizes = {(len(matrix), len(row)) for matrix in matrices for row in matrix}
    if len(sizes) != 1 or 0 in (size := next(iter(sizes))):
        found = " and ".join(f"{len(matrix)} rows of {sorted({len(row) for row in matrix})}" for matrix in matrices[:3])
        raise ConfigError(f"{where}: expected rows of equal length, found {found} values")
    values = [value for matrix in matrices for row in matrix for value in row]
    if len(values) > MOST:
        raise ConfigError(f"{where}: expected at most {MOST:,} values, found {len(values):,}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{where}: expected numbers, found {show(value)}")
    return np.array(values, np.float64).reshape(len(matrices), *size)


def depth(given: Any) -> int:
    """Return how deeply lists are nested, by their first items."""
    levels = 0
    while isinstance(given, list | tuple) and given:
        given, levels = given[0], levels + 1
    return levels


def rows_of(path: Path, where: str) -> list[list[list[float]]]:
    """Return a text file's matrices, which empty lines divide."""
    if not is_file(str(path)):
        raise DataError(f"{where}: no file {str(path)!r}; expected one, or a matrix such as [[1, 2], [3, 4]]")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "found other bytes"
        raise DataError(f"{where}: {path}: expected text, {reason}") from None
    matrices: list[list[list[float]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        cells = re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line) else line.split()
        if not any(cell.strip() for cell in cells):
            matrices += [[]] * bool(matrices[-1])
            continue
        for cell in cells:
            if not NUMBER.fullmatch(cell.strip()):
                raise DataError(f"{path}:{number}: expected numbers, found {cell.strip()[:40] or 'nothing'!r}")
        matrices[-1].append([float(cell) for cell in cells])
    if not any(matrices):
        raise DataError(f"{path}: expected a matrix, found no numbers")
    return [matrix for matrix in matrices if matrix]
