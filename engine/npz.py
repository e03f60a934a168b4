"""Data sets in NumPy's npz format: a zip archive with one array in each member.

Nothing that a header declares is believed before it is checked, and nothing is ever unpickled or extracted.
"""

import math
import os
import stat
import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from lenumba.engine.arrays import MAX_BYTES, Arrays, check_pixels, dtype_name
from lenumba.engine.errors import DataError

NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
IMAGES = ("train_images", "test_images", "x_train", "x_test")
MAX_EXPANSION = 1032  # deflate's densest code: two bits for a match of 258 bytes
MAX_HEADER = 10_000  # bytes: NumPy's own limit
CHUNK = 1 << 20


def read_npz(path: str | os.PathLike[str]) -> Arrays:
    """Read a data set from an npz file, plain or compressed.

    Parameters
    ----------
    path
        A file with the arrays train_images, train_labels, test_images and test_labels, or x_train, y_train, x_test
        and y_test. Others in it are not looked at.

    Returns
    -------
    Arrays
        Images uint8 [N, H, W] or [N, H, W, C], and labels of a numeric type, [N] or [N, K].

    Raises
    ------
    DataError
        If the file is missing, damaged or no npz file; if arrays are missing, or their headers declare another type
        or rank, or a size that the file cannot hold.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise DataError(f"{path}: expected an npz file, found a folder or a device; give the file itself")
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            names = next((names for names in NAMES if {f"{name}.npy" for name in names} <= set(members)), None)
            if names is None:
                wanted = " or ".join(", ".join(names) for names in NAMES)
                found = ", ".join(ascii(name.removesuffix(".npy"))[1:-1][:40] for name in members[:6]) or "none"
                raise DataError(f"{path}: expected the arrays {wanted}, found {found}; save them under those names")
            return Arrays._make(
                [*(read_member(archive, name, f"{path}: {name}", name in IMAGES) for name in names), None]
            )
    except DataError:
        raise
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: expected an intact npz file, found: {one_line(error)}; save it again") from error
    except Exception as error:  # damaged archives make zipfile and the parser of headers raise nearly anything
        raise DataError(f"{path}: expected a readable npz file, found: {one_line(error)}; save it again") from error


def read_member(archive: zipfile.ZipFile, name: str, where: str, images: bool) -> np.ndarray:
    """Read one array, after checking what its header declares."""
    if archive.namelist().count(f"{name}.npy") > 1:
        raise DataError(f"{where}: expected one array of this name, found several; save the file again")
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise DataError(f"{where}: expected a stored or deflated array, found another compression; save it with NumPy")
    with archive.open(info) as file:
        shape, fortran, dtype = read_header(file, where, images)
        size = math.prod(shape) * dtype.itemsize  # a Python int, which does not overflow
        found = info.file_size - file.tell()
        if size != found:
            raise DataError(f"{where}: expected {size} bytes for {list(shape)}, found {found}; save the file again")
        if size > MAX_BYTES or size > info.compress_size * MAX_EXPANSION:
            raise DataError(f"{where}: expected at most {MAX_BYTES} bytes, all of them in the file, found {size}")
        content = np.empty(size, np.uint8)
        filled = 0
        while filled < size:
            piece = file.read(min(CHUNK, size - filled))
            if not piece:
                raise DataError(f"{where}: expected {size} bytes, found {filled}; save the file again")
            content[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        # Asking for one byte more is also what makes zipfile verify the checksum.
        if file.read(1):
            raise DataError(f"{where}: expected {size} bytes, found more; save the file again")
    array = content.view(dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(array)


def read_header(file: IO[bytes], where: str, images: bool) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read an array's header; return its shape, whether columns come first, and its type."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise DataError(f"{where}: expected version 1 or 2 of the npy format, found {version[0]}; save it with NumPy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's remarks on headers of Python 2
        shape, fortran, dtype = readers[version](file, max_header_size=MAX_HEADER)
    if dtype.kind not in "biuf" or dtype.names:
        raise DataError(f"{where}: expected numbers, found {dtype_name(dtype)}; convert the array")
    if len(shape) > 4 or any(extent <= 0 for extent in shape):
        raise DataError(f"{where}: expected 1 to 4 axes of at least one element, found {list(shape)[:8]}")
    if images:
        check_pixels(where, shape, dtype)
    elif len(shape) > 2:
        raise DataError(f"{where}: expected labels [N] or [N, K], found {len(shape)} axes; are they images?")
    return shape, fortran, dtype


def one_line(error: BaseException) -> str:
    """Return an error's message as one short line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200] or type(error).__name__
