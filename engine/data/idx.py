"""The IDX format: a magic number, big-endian dimensions, then the bytes, plain or as one gzip member.

The two first bytes of the magic number are zero, the third is the type (0x08, unsigned bytes, is the only one
read here), the fourth is the rank: 3 for greyscale images [N, H, W], 1 for labels [N].

Nothing that a file declares is believed before it is checked, so that time and memory stay bounded by the
size of the file, whatever its bytes are.
"""

import hashlib
import math
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from lenumba.engine.common.errors import DataError

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_CONTENTS = {1: "labels", 3: "greyscale images", 4: "colour images"}
_MAX_BYTES = 4 << 30
_MAX_EXPANSION = 1032  # deflate's densest code: two bits for a match of 258 bytes
_CHUNK = 1 << 18


class _Reader(Protocol):
    def read(self, count: int, /) -> bytes: ...


class _GzipMember:
    """The content of the one gzip member that a file consists of.

    The standard `gzip` module accepts trailing zeros, several members and an empty file, and decompresses as
    much as the data say; this reads what is asked for and insists on one whole member.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)

    def read(self, count: int, /) -> bytes:
        """Return 1 to `count` bytes, or none at the end of the member, whose checksum is then verified."""
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(_CHUNK)
            piece = self._inflate.decompress(data, count)
            if piece:
                return piece
            if not data and not self._inflate.eof:
                raise EOFError
        return b""

    def at_end_of_file(self) -> bool:
        return not self._inflate.unused_data and not self._file.read(1)


def read_idx(path: str | os.PathLike[str], rank: int, name: str = "") -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or compressed with gzip (told by its content, not its name).

    Parameters
    ----------
    path : path-like
        The file.
    rank : int
        How many dimensions it must have: 3 for greyscale images, 1 for labels.
    name : str
        What the file is, for error messages ("MNIST training images").

    Returns
    -------
    numpy.ndarray
        uint8, of the shape that the file declares: [N, H, W] for rank 3, [N] for rank 1, none of them zero.

    Raises
    ------
    DataError
        If the file cannot be read, is not IDX, has another type or rank, or is not exactly as long as it
        declares: truncated, corrupt, or followed by anything.
    """
    where = f"{name} ({path})" if name else str(path)
    try:
        # Opening a pipe would wait for its writer, and reading a device might never end.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise DataError(f"{where}: expected a file, found a folder or a device; give the file itself")
        with open(path, "rb") as file:
            return _read(file, rank, where)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{where}: expected a readable file, found: {reason}; check the path") from error


def idx_sha256(array: np.ndarray) -> str:
    """Return the SHA-256 of the IDX file, uncompressed, that holds a uint8 array of any shape."""
    digest = hashlib.sha256(struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(file: BinaryIO, rank: int, where: str) -> np.ndarray:
    file_size = os.fstat(file.fileno()).st_size
    member = _GzipMember(file) if file.read(2) == b"\x1f\x8b" else None
    file.seek(0)
    try:
        header = bytearray(4 + 4 * rank)
        shape = _parse_header(bytes(header[: _fill(member or file, header)]), rank, where)
        size = math.prod(shape)
        _check_size(size, file_size - len(header), member is not None, shape, where)
        # Not touched before data arrive, and no larger than the file's size allows.
        content = np.empty(size, np.uint8)
        found = _fill(member or file, content.data)
        if found < size:
            raise DataError(f"{where}: expected {size} bytes after the header, found {found}; get the file again")
        # Asking for one byte more is also what makes zlib verify the checksum.
        if (member or file).read(1):
            raise DataError(f"{where}: expected {size} bytes after the header, found more; get the file again")
        if member and not member.at_end_of_file():
            raise DataError(f"{where}: expected one gzip member, found more bytes after it; get the file again")
    except EOFError:
        raise DataError(f"{where}: expected a whole gzip file, found a truncated one; get the file again") from None
    except zlib.error as error:
        raise DataError(
            f"{where}: expected intact gzip data, found corrupt ones ({error}); get the file again"
        ) from None
    except MemoryError:
        raise DataError(f"{where}: expected {size} bytes of free memory, found less; free some") from None
    return content.reshape(shape)


def _fill(reader: _Reader, buffer: bytearray | memoryview) -> int:
    """Read into `buffer` until it is full or the data end; return how many bytes arrived."""
    filled = 0
    while filled < len(buffer):
        piece = reader.read(min(_CHUNK, len(buffer) - filled))
        if not piece:
            break
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled


def _parse_header(header: bytes, rank: int, where: str) -> tuple[int, ...]:
    if not header:
        raise DataError(f"{where}: expected an IDX file, found no data at all; get the file again")
    magic = header[:4]
    if magic[:2] != b"\0\0"[: len(magic)]:
        hint = "a web page" if magic.lstrip()[:1] == b"<" else f"the bytes {magic.hex(' ')}"
        raise DataError(f"{where}: expected an IDX file (00 00 08 0{rank}), found {hint}; get the file again")
    if len(magic) == 4 and magic[2] != 0x08:
        found = _TYPES.get(magic[2], f"the unknown type 0x{magic[2]:02x}")
        raise DataError(f"{where}: expected IDX data of type uint8, found {found}; convert the file")
    if len(magic) == 4 and magic[3] != rank:
        expected, found = (_CONTENTS.get(r, f"{r} dimensions") for r in (rank, magic[3]))
        swapped = {rank, magic[3]} in ({1, 3}, {1, 4})
        remedy = "are the files for images and labels swapped?" if swapped else "use a file of that rank"
        raise DataError(
            f"{where}: expected {expected} (IDX rank {rank}), found what looks like {found} (rank {magic[3]}); {remedy}"
        )
    if len(header) < 4 + 4 * rank:
        raise DataError(f"{where}: expected {4 + 4 * rank} bytes of header, found {len(header)}; get the file again")
    return struct.unpack(f">{rank}I", header[4:])


def _check_size(size: int, room: int, compressed: bool, shape: tuple[int, ...], where: str) -> None:
    """Refuse dimensions that the file cannot hold; `size` is a Python int, which does not overflow."""
    dimensions = "×".join(map(str, shape))
    if size == 0:
        raise DataError(f"{where}: expected at least one sample, found the dimensions {dimensions}; use another file")
    if size > _MAX_BYTES:
        raise DataError(
            f"{where}: expected at most {_MAX_BYTES} bytes, found the dimensions {dimensions}; use fewer samples"
        )
    if not compressed and size != room:
        raise DataError(f"{where}: expected {size} bytes ({dimensions}) after the header, found {room}; get it again")
    if compressed and size > room * _MAX_EXPANSION:
        raise DataError(
            f"{where}: expected {size} bytes ({dimensions}), found a gzip file too small to hold them; "
            "get the file again"
        )
