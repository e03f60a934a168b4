"""Damage to files: what storage, transfers and malice do to bytes, drawn from a seeded generator."""

from collections.abc import Callable, Sequence

import numpy as np

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def flip_bits(rng: np.random.Generator, content: bytearray) -> None:
    for place in rng.integers(0, len(content), rng.integers(1, 9)):
        content[place] ^= 1 << rng.integers(8)


def write_bytes(rng: np.random.Generator, content: bytearray) -> None:
    place, count = int(rng.integers(len(content))), int(rng.integers(1, 9))
    content[place : place + count] = rng.bytes(count)


def write_number(rng: np.random.Generator, content: bytearray) -> None:
    """Write a number at the edge of some type, of either byte order: what fields of length and size hate."""
    size = int(rng.choice([1, 2, 4, 8]))
    number = NUMBERS[rng.integers(len(NUMBERS))] % 2 ** (8 * size)
    place = int(rng.integers(max(1, min(len(content), 10 ** int(rng.integers(1, 6))))))  # often near the start
    content[place : place + size] = number.to_bytes(size, "big" if rng.random() < 0.5 else "little")


def truncate(rng: np.random.Generator, content: bytearray) -> None:
    del content[rng.integers(len(content)) :]


def remove(rng: np.random.Generator, content: bytearray) -> None:
    start, stop = span(rng, content)
    del content[start:stop]


def duplicate(rng: np.random.Generator, content: bytearray) -> None:
    start, stop = span(rng, content)
    content[stop:stop] = content[start:stop] * int(rng.integers(1, 4))


def blank(rng: np.random.Generator, content: bytearray) -> None:
    """Zeros, as a crash leaves them where a block was never written."""
    start, stop = span(rng, content)
    content[start:stop] = bytes(stop - start)


def exchange(rng: np.random.Generator, content: bytearray) -> None:
    """Two neighbouring pieces change places."""
    start, stop = span(rng, content)
    middle = (start + stop) // 2
    content[start:stop] = content[middle:stop] + content[start:middle]


def append(rng: np.random.Generator, content: bytearray) -> None:
    content += rng.bytes(int(rng.integers(1, 64))) if rng.random() < 0.5 else bytes(int(rng.integers(1, 600)))


def span(rng: np.random.Generator, content: bytearray) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(rng.integers(1, 2 ** int(rng.integers(1, 10)))))


ANYWHERE: tuple[Callable[[np.random.Generator, bytearray], None], ...] = (
    *(flip_bits, flip_bits, write_bytes, write_number, truncate),
    *(remove, duplicate, blank, exchange, append),
)


def damaged(rng: np.random.Generator, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Return one of the files, damaged in one to three ways.

    Parameters
    ----------
    seeds
        Whole files; splices take the beginning of one and the end of another.
    tokens
        Words of the format, which are put in or written over.
    """
    content = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(rng.integers(1, 4)):
        if not content:
            break
        kind = int(rng.integers(len(ANYWHERE) + 2 + (len(tokens) > 0)))
        if kind < len(ANYWHERE):
            ANYWHERE[kind](rng, content)
        elif kind == len(ANYWHERE):
            other = seeds[rng.integers(len(seeds))]
            content[rng.integers(len(content)) :] = other[rng.integers(len(other)) :]
        elif kind == len(ANYWHERE) + 1:
            content += seeds[rng.integers(len(seeds))]
        else:
            token, place = tokens[rng.integers(len(tokens))], int(rng.integers(len(content)))
            content[place : place + len(token) * int(rng.integers(2))] = token
    return bytes(content)
