"""Where a loop's accesses lie in the arguments' arrays, and how far they step from round to round as it is written."""

import ast
import linecache
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lenumba.kernels.constants import LINE

if TYPE_CHECKING:
    from lenumba.kernels.measure.observation import Access

DENSE = 0.5  # of the bytes that an access goes over: so many accesses leave no gaps, if they go back and forth
COVERED = 0.7  # of the bytes between two rounds: accesses that together use so many leave no gaps worth a word
CONSTANT = 0.4  # of the accesses: so many at the same address as the one before
UNROLLED = (64, 32, 16, 8, 4, 2)


@dataclass
class Array:
    """An array among the arguments: its name, the bytes it lies in, and how."""

    name: str
    low: int
    high: int
    strides: tuple[int, ...]


@dataclass
class Stepping:
    """Accesses of a loop that step alike: one for each place in the source.

    Attributes
    ----------
    step, outer
        Bytes from round to round, and in a loop around it: from one start of the loop to the next, or where that is
        farther, but all of the array is visited, by its least stride; both of the loop as it is written.
    regular, constant
        Whether most steps are that far, and whether that is nowhere.
    weight
        Their share of the loop's accesses.
    """

    file: str
    line: int
    step: int
    outer: int
    bytes: int
    regular: bool
    constant: bool
    stores: bool
    count: int
    misses: int
    weight: float
    low: int
    high: int
    array: str = ""
    unrolled: int = 1
    accesses: "list[Access]" = field(default_factory=list)


def arrays_of(names: Sequence[str], values: Sequence[Any]) -> list[Array]:
    """Return the arrays among a call's arguments."""
    found = []
    for name, value in zip(names, values, strict=False):
        if isinstance(value, np.ndarray) and value.size:
            low, high = np.lib.array_utils.byte_bounds(value)
            found.append(Array(name, low, high, value.strides))
    return found


def steppings(accesses: "Sequence[Access]", place: tuple[str, int], arrays: Sequence[Array] = ()) -> list[Stepping]:
    """Return a loop's accesses, those together that go with one place in the source and step alike.

    `place` is the file and line of accesses that have none.
    """
    total = sum(access.count for access in accesses) or 1
    groups: dict[tuple[Any, ...], list[Access]] = {}
    for access in accesses:
        one = access.place.one
        # Of few places without order, many are the same as the one before: that is no rule.
        steady = access.steady + access.outer_steady * (access.step != 0 or access.steady > CONSTANT)
        regular = steady > 0.5 or access.count < 3
        here = one.source or place
        home = next((array.name for array in arrays if array.low <= access.low < array.high), "")
        key = (here, access.stores, access.step if regular else "irregular", access.bytes, home)
        groups.setdefault(key, []).append(access)
    covered = covering(accesses)
    found = []
    for (here, stores, step, size, home), members in groups.items():
        count = sum(access.count for access in members)
        regular = step != "irregular"
        if not regular and max(access.near for access in members) > 0.6:
            regular, step = True, size
        if not regular and all(a.high - a.low <= 1 << 12 for a in members) and not sum(a.misses[0] for a in members):
            regular, step = True, size  # all of it lies in a few lines
        own = step if regular else 0
        for starts in ([access.last for access in members], [access.low for access in members]):
            own = rolled(own, starts) if own == step else own
        if own and abs(own) > size and covered.get(step, 0.0) > COVERED:
            own = size  # together they leave nothing out
        unrolled = abs(step // own) if regular and own else 1
        width = max(access.place.one.width for access in members)
        if width > 1 and abs(own) == size:
            own //= width
            size //= width
        outer = next((access.outer_step for access in members if access.outer_step), 0)
        least = min((abs(part) for array in arrays if array.name == home for part in array.strides if part), default=0)
        if size <= least < min(abs(own), abs(outer) or LINE) and size * count > DENSE * max(
            access.high - access.low for access in members
        ):
            outer = least
        found.append(
            Stepping(here[0], here[1], own, outer, size, regular, regular and own == 0, stores, count,
                     sum(access.misses[0] for access in members), count / total, min(a.low for a in members),
                     max(a.high for a in members), home, unrolled, members)
        )  # fmt: skip
    return found


def filled(accesses: "Sequence[Access]") -> int:
    """Return the bytes between the least and the greatest addresses of accesses, those that several go over once."""
    spans = reached = 0
    for access in sorted(accesses, key=lambda one: one.low):
        spans += max(0, access.high - max(access.low, reached))
        reached = max(reached, access.high)
    return spans


def covering(accesses: "Sequence[Access]") -> dict[int, float]:
    """Return by step which share of the bytes between two rounds the accesses with that step use together."""
    used: dict[int, dict[tuple[bool, int], int]] = {}
    for access in accesses:
        if access.step and access.steady > 0.5:
            offset = access.last % abs(access.step)
            used.setdefault(access.step, {})[access.stores, offset] = access.bytes
    shares = {}
    for step, parts in used.items():
        kinds = [sum(size for (stores, _), size in parts.items() if stores == kind) for kind in (True, False)]
        shares[step] = max(kinds) / abs(step)
    return shares


def rolled(step: int, starts: Sequence[int]) -> int:
    """Return the step of a round, where LLVM put several rounds into one: then their accesses lie that far apart."""
    known = set(starts)
    for rounds in UNROLLED:
        if step % rounds or len(known) < rounds:
            continue
        part = step // rounds
        if sum(start + part in known for start in known) >= 0.7 * len(known) * (rounds - 1) / rounds:
            return part
    return step


def expression(stepping: Stepping) -> str:
    """Return the access as the source has it, such as ``x[i, j - 1]``."""
    text = linecache.getline(stepping.file, stepping.line).strip()
    best = ""
    try:
        tree = ast.parse(text.rstrip(":") if not text.endswith(":") else f"{text} pass")
    except SyntaxError:
        tree = None
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Subscript):
            own = isinstance(node.value, ast.Name) and node.value.id == stepping.array
            written = isinstance(node.ctx, ast.Store) == stepping.stores
            if not best or (own and written):
                best = ast.unparse(node)
    if stepping.array and not best.startswith(stepping.array):
        best = stepping.array
    return f"`{best}`" if best else f"an access in line {stepping.line}"
