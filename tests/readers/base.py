"""What the files of all readers have in common."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError, LenumbaError

from .damage import damaged

Rng = np.random.Generator
Anything = object()  # what a file says where nothing independent can tell


@dataclass(frozen=True)
class Reader:
    """A reader and what it is tried with.

    Attributes
    ----------
    read
        What the program calls with a path.
    error
        What it may raise, and nothing else.
    seeds
        Makes whole files.
    informed
        Damages a file as one who knows the format does, repairing checksums on the way.
    hostile
        Makes files by hand that aim at time and memory.
    says
        What bytes mean, read by other code; raises where they mean nothing.
    """

    name: str
    suffix: str
    read: Callable[[Path], Any]
    says: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    informed: Callable[[Rng, bytes], bytes]
    hostile: Callable[[], dict[str, bytes]]
    error: type[LenumbaError] = DataError
    tokens: tuple[bytes, ...] = field(default=())

    def case(self, rng: Rng, seeds: list[bytes]) -> bytes:
        """Return a damaged file."""
        if rng.random() < 0.3:
            return self.informed(rng, seeds[rng.integers(len(seeds))])
        return damaged(rng, seeds, self.tokens)


def same(found: Any, said: Any) -> bool:
    """Return whether two readings are equal: arrays by type, shape and bytes."""
    if said is Anything:
        return True
    if isinstance(said, np.ndarray):
        return (
            isinstance(found, np.ndarray)
            and (found.shape, found.dtype.newbyteorder("=")) == (said.shape, said.dtype.newbyteorder("="))
            and found.astype(said.dtype).tobytes() == said.tobytes()
        )
    if isinstance(said, dict):
        return isinstance(found, dict) and found.keys() == said.keys() and all(same(found[k], said[k]) for k in said)
    if isinstance(said, list | tuple):
        return isinstance(found, list | tuple) and len(found) == len(said) and all(map(same, found, said))
    return type(found) is type(said) and found == said


MEGABYTE = bytes(1 << 20)


def deflated_zeros(size: int) -> bytes:
    """Return a raw deflate stream of zeros, quickly: the same block again and again."""
    block, rest = (zlib.compressobj(9, zlib.DEFLATED, -15) for _ in range(2))
    whole = block.compress(MEGABYTE) + block.flush(zlib.Z_FULL_FLUSH)
    return whole * (size >> 20) + rest.compress(bytes(size % (1 << 20))) + rest.flush()


def zeros(size: int) -> bytes:
    """Return a zlib stream of zeros; their Adler-32 is known."""
    return b"\x78\xda" + deflated_zeros(size) + struct.pack(">HH", size % 65521, 1)
