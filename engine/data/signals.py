"""Signals: what numbers become them."""

import math

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.arrays import MAX_BYTES, MAX_SIDE, dtype_name

MAX_LENGTH = 65_536


def as_signals(where: str, signals: np.ndarray) -> np.ndarray:
    """Return signals [N, L], [N, L, C] or [N, 1, L, C] of any real numbers as float32 [N, 1, L, C].

    Raises
    ------
    DataError
        If they have another type or rank, a size that is zero or too large, or values that are not finite in float32.
    """
    signals = np.asarray(signals)
    if signals.ndim == 4 and signals.shape[1] == 1:
        signals = signals[:, 0]
    check_signals(where, signals.shape, signals.dtype)
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(signals, np.float32)
    if not np.isfinite(found).all():
        row, *column = np.argwhere(~np.isfinite(found))[0].tolist()
        raise DataError(
            f"{where}: expected finite float32 numbers, found {signals[row, *column]} in row {row}, column "
            f"{', '.join(map(str, column))} (counted from 0); mend it, or leave the row out"
        )
    return found.reshape(len(found), 1, found.shape[1], -1)


def check_signals(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError unless signals of this shape and type can be used."""
    if dtype.kind not in "biuf":
        raise DataError(f"{where}: expected signals of numbers, found {dtype_name(dtype)}; convert them")
    if len(shape) not in (2, 3):
        raise DataError(f"{where}: expected signals [N, L] or [N, L, channels], found {len(shape)} axes; reshape them")
    if math.prod(shape) == 0:
        raise DataError(f"{where}: expected at least one signal, found none in {list(shape)}; use others")
    if shape[1] > MAX_LENGTH or max(shape[2:], default=1) > MAX_SIDE or 4 * math.prod(shape) > MAX_BYTES:
        raise DataError(
            f"{where}: expected at most {MAX_LENGTH} values of {MAX_SIDE} channels and {MAX_BYTES} bytes, found "
            f"{list(shape)}; make the signals shorter or fewer"
        )
