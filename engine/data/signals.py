"""Signals, and images of floating-point numbers: what numbers become them."""

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
    found = as_float32(where, signals)
    return found.reshape(len(found), 1, found.shape[1], -1)


def as_features(where: str, images: np.ndarray) -> np.ndarray:
    """Return images [N, H, W] or [N, H, W, C] of any real numbers as float32 [N, H, W, C], the values as they are.

    Raises
    ------
    DataError
        As :func:`as_signals` does.
    """
    images = np.asarray(images)
    check_features(where, images.shape, images.dtype)
    found = as_float32(where, images)
    return found if found.ndim == 4 else found[..., np.newaxis]


def as_float32(where: str, values: np.ndarray) -> np.ndarray:
    """Return numbers [N, …] as float32, or raise DataError where one of them is not finite then."""
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(found).all():
        row, *column = np.argwhere(~np.isfinite(found))[0].tolist()
        raise DataError(
            f"{where}: expected finite float32 numbers, found {values[row, *column]} in row {row}, column "
            f"{', '.join(map(str, column))} (counted from 0); mend it, or leave the row out"
        )
    return found


def check_features(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError unless images of this shape and type can be used as floating-point numbers."""
    if dtype.kind not in "biuf":
        raise DataError(f"{where}: expected images of numbers, found {dtype_name(dtype)}; convert them")
    if len(shape) not in (3, 4):
        raise DataError(
            f"{where}: expected images [N, H, W] or [N, H, W, C], found {len(shape)} axes; reshape them, or of signals "
            "[N, L] or [N, L, channels] say network.input: [L] or [L, channels]"
        )
    if math.prod(shape) == 0:
        raise DataError(f"{where}: expected at least one sample, found none in {list(shape)}; use other images")
    if max(shape[1:]) > MAX_SIDE or 4 * math.prod(shape) > MAX_BYTES:
        raise DataError(
            f"{where}: expected at most {MAX_SIDE} values a side and {MAX_BYTES} bytes, found {list(shape)}; make the "
            "images smaller or fewer"
        )


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
