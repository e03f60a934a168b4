"""Data sets in NumPy's npz format: a zip archive with one array in each member.

Nothing that a header declares is believed before it is checked, and nothing is ever unpickled or extracted.
"""

import contextlib
import io
import math
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from lenumba.engine.common.errors import DataError, one_line, unreadable
from lenumba.engine.data.arrays import MAX_BYTES, MAX_CLASSES, Arrays, check_pixels, dtype_name

NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
IMAGES = ("train_images", "test_images", "x_train", "x_test")
MAX_EXPANSION = 1032  # deflate's densest code: two bits for a match of 258 bytes
MAX_HEADER = 10_000  # bytes: NumPy's own limit
MAX_DIRECTORY = 1 << 20  # bytes of the archive's list of members: ten thousand and more
MAX_NAME = 256  # characters of a class
CHUNK = 1 << 19

Check = Callable[[str, tuple[int, ...], np.dtype], None]  # raises DataError where a header declares what it must not


def read_npz(
    path: str | os.PathLike[str], judging: bool = False, check: Check = check_pixels, target: str = "class"
) -> Arrays:
    """Read a data set from an npz file, plain or compressed.

    Parameters
    ----------
    path
        A file with the arrays train_images, train_labels, test_images and test_labels, or x_train, y_train, x_test
        and y_test; and class_names or target_names, strings [K], if the classes, labels or numbers have any. Others in
        it are not looked at.
    judging
        Whether the images are to be judged by a trained network: then the two arrays of the test set are enough.
    check
        What raises DataError where images are of another shape or type than expected.
    target
        A key of `TARGETS`; where it is the input, there need not be labels.

    Returns
    -------
    Arrays
        Images uint8 [N, H, W] or [N, H, W, C], or signals [N, L] or [N, L, C] of any numbers; and labels of a numeric
        type, [N] or [N, K]: zeros where there are none.

    Raises
    ------
    DataError
        If the file is missing, damaged or no npz file; if arrays are missing, or their headers declare another type
        or rank, or a size that the file cannot hold.
    """
    with opened(path) as archive:
        members = {member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")}
        wanted = [*NAMES, *(names[2:] for names in NAMES if judging)]
        needed = [names[::2] if target == "input" else names for names in wanted]
        names = next((names for names, each in zip(wanted, needed, strict=True) if members.issuperset(each)), None)
        if names is None:
            text = " or ".join(", ".join(names) for names in needed)
            listed = [member.removesuffix(".npy") for member in archive.namelist()[:6]]
            found = ", ".join(ascii(name)[1:-1][:40] for name in listed) or "none"
            raise DataError(f"{path}: expected the arrays {text}, found {found}; save them under those names")
        arrays: list[np.ndarray] = []
        for name in names:
            if name in members:
                own = check if name in IMAGES else check_labels
                arrays.append(read_member(archive, name, f"{path}: {name}", own))
            else:
                arrays.append(np.zeros(len(arrays[-1]), np.int64))
        if len(names) == 2:
            arrays = [arrays[0][:0], arrays[1][:0], *arrays]
        class_names = None
        if called := [name for name in ("class_names", "target_names") if name in members]:
            texts = read_member(archive, called[0], f"{path}: {called[0]}", check_names, kinds="U")
            class_names = tuple(texts.tolist())
            if len(set(class_names)) < len(class_names) or not all(name and name.isprintable() for name in class_names):
                raise DataError(f"{path}: {called[0]}: expected different printable names, found others; correct them")
        notes = () if check is check_pixels else rounding(path, arrays[::2])
        return Arrays(arrays[0], arrays[1], arrays[2], arrays[3], class_names, notes=notes)


def rounding(path: str | os.PathLike[str], arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Say where floating-point numbers are converted."""
    types = [array.dtype.name for array in arrays if len(array) and array.dtype != np.float32]
    return (f"{path}: {' and '.join(dict.fromkeys(types))} values are rounded to float32",) if types else ()


def read_weights(path: str | os.PathLike[str], pattern: str, ignored: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read a network's arrays from an npz file.

    Parameters
    ----------
    pattern
        The regular expression that every name must match.
    ignored
        Names that need not match it; those are not looked at.

    Raises
    ------
    DataError
        As :func:`read_npz` does, and for an array of another name.
    """
    with opened(path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        for name in names:
            if not re.fullmatch(pattern, name, re.ASCII) and name not in ignored:
                raise DataError(f"{path}: expected arrays such as conv1.kernel, found {ascii(name)[:60]}; remove it")
        return {
            name: read_member(archive, name, f"{path}: {name}", check_weights)
            for name in names
            if re.fullmatch(pattern, name, re.ASCII)
        }


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Open an npz file; whatever goes wrong with it becomes a DataError."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise DataError(f"{path}: expected an npz file, found a folder or a device; give the file itself")
        with Bounded(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except DataError:
        raise
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: expected an intact npz file, found: {one_line(error)}; save it again") from error
    except Exception as error:  # damaged archives make zipfile and the parser of headers raise nearly anything
        raise DataError(f"{path}: expected a readable npz file, found: {unreadable(error)}") from error


class Bounded(io.FileIO):
    """A file that is read in small pieces only: zipfile asks for the whole list of members at once, however long."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, or raise DataError where that is more than an npz file needs."""
        rest = os.fstat(self.fileno()).st_size - self.tell()
        if (rest if size is None or size < 0 else min(size, rest)) > MAX_DIRECTORY:
            raise DataError(f"{self.name}: expected an npz file of some arrays, found far too many; save fewer")
        return super().read(-1 if size is None else size)


def read_member(archive: zipfile.ZipFile, name: str, where: str, check: Check, kinds: str = "biuf") -> np.ndarray:
    """Read one array, after checking what its header declares."""
    if archive.namelist().count(f"{name}.npy") > 1:
        raise DataError(f"{where}: expected one array of this name, found several; save the file again")
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise DataError(f"{where}: expected a stored or deflated array, found another compression; save it with NumPy")
    with archive.open(info) as file:
        shape, fortran, dtype = read_header(file, where, check, kinds)
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


def read_header(file: IO[bytes], where: str, check: Check, kinds: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read an array's header; return its shape, whether columns come first, and its type."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): (np.lib.format.read_array_header_1_0, 2), (2, 0): (np.lib.format.read_array_header_2_0, 4)}
    if version not in readers:
        raise DataError(f"{where}: expected version 1 or 2 of the npy format, found {version[0]}; save it with NumPy")
    reader, width = readers[version]
    # NumPy would read as much as the header declares, up to 4 GiB, before it finds that too long.
    declared = file.read(width)
    text = file.read(min(int.from_bytes(declared, "little"), MAX_HEADER + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's remarks on headers of Python 2
        shape, fortran, dtype = reader(io.BytesIO(declared + text), max_header_size=MAX_HEADER)
    if dtype.kind not in kinds or dtype.names:
        expected = "numbers" if "f" in kinds else "strings"
        raise DataError(f"{where}: expected {expected}, found {dtype_name(dtype)}; convert the array")
    if len(shape) > 4 or any(extent <= 0 for extent in shape):
        raise DataError(f"{where}: expected 1 to 4 axes of at least one element, found {list(shape)[:8]}")
    check(where, shape, dtype)
    return shape, fortran, dtype


def check_labels(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError where a header declares more axes than labels have."""
    if len(shape) > 2:
        raise DataError(f"{where}: expected labels [N] or [N, K], found {len(shape)} axes; are they images?")


def check_names(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError where a header declares something else than some short names."""
    if len(shape) != 1 or shape[0] > MAX_CLASSES or dtype.itemsize > 4 * MAX_NAME:
        raise DataError(
            f"{where}: expected at most {MAX_CLASSES} names [K] of at most {MAX_NAME} characters, found {dtype.name} "
            f"{list(shape)[:8]}; shorten them"
        )


def check_weights(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError where a header declares no floating-point numbers."""
    if dtype.kind != "f":
        raise DataError(f"{where}: expected floating-point numbers, found {dtype_name(dtype)}; convert the array")
