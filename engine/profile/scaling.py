"""A function's time against the size of its arguments, and against the number of threads."""

import math
import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.text import duration, percent, table
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.machine import cache_sizes
from lenumba.engine.profile.subject import Subject, find_subject

SIZES = re.compile(r"([A-Za-z_]\w*)=([\d.eE+]+(?:,[\d.eE+]+)*)")
SECONDS = 0.3  # of each size, and of each number of threads


def parse_sizes(text: str) -> tuple[str, list[int]]:
    """Return the name and the numbers of a text such as ``n=1e3,1e4``.

    Raises
    ------
    ConfigError
        Where it is of another form.
    """
    match = SIZES.fullmatch(text.replace(" ", ""))
    try:
        numbers = [int(float(part)) for part in match[2].split(",")] if match else []
    except (ValueError, OverflowError):
        numbers = []
    if not match or not numbers or min(numbers) < 1:
        raise ConfigError(f"--sizes: expected a name and numbers such as n=1e3,1e4,1e5, found {text!r}")
    return match[1], numbers


def measure_sizes(target: str, arguments: str | None, setup: str | None, sizes: str) -> list[dict[str, Any]]:
    """Time a function with arguments of several sizes, whose text uses the size's name.

    Returns
    -------
    list of dict
        ``size``, ``ms`` of a call, ``bytes`` of its arrays and ``level``: the least cache that holds them.
    """
    name, numbers = parse_sizes(sizes)
    if not re.search(rf"\b{name}\b", f"{arguments} {setup}"):
        raise ConfigError(f"--sizes: expected {name} in --args or --setup, found it in neither; use it there")
    rows = []
    for number in numbers:
        subject = find_subject(target, arguments, setup, {name: number})
        calls = Calls(subject.function, subject.values, subject.make)
        calls.times(0.0)  # compiled, and warm
        size = sum(value.nbytes for value in subject.values if isinstance(value, np.ndarray))
        level = next((level for level, limit in cache_sizes().items() if size <= limit), "memory")
        rows.append({"size": number, "ms": 1e3 * median(calls.times(SECONDS)), "bytes": size, "level": level})
    return rows


def sizes_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the sizes as a table, with the power of the size that the time grows by."""
    lines, before = [], None
    for row in rows:
        power = ""
        if before and row["size"] != before["size"]:
            power = f"{math.log(row['ms'] / before['ms']) / math.log(row['size'] / before['size']):.2f}"
        lines.append(
            [f"{row['size']:,}", duration(row["ms"] / 1e3), f"{1e6 * row['ms'] / row['size']:.2f} ns",
             f"{row['bytes'] / 1024:,.0f} KiB", row["level"], power]
        )  # fmt: skip
        before = row
    return table(["size", "a call", "each", "arrays", "fit in", "grows by power"], lines)


def measure_threads(subject: Subject, threads: Sequence[int]) -> list[dict[str, Any]]:
    """Time a function with several numbers of threads."""
    from lenumba.engine.profile.function import using_threads

    rows = []
    calls = Calls(subject.function, subject.values, subject.make)
    for count in threads:
        with using_threads(count):
            calls.times(0.0)
            rows.append({"threads": count, "ms": 1e3 * median(calls.times(SECONDS))})
    return rows


def threads_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the numbers of threads as a table: speed-up over the first, and how much of a perfect one that is."""
    first = rows[0]
    lines = []
    for row in rows:
        speedup = first["ms"] / row["ms"]
        ideal = row["threads"] / first["threads"]
        lines.append([row["threads"], duration(row["ms"] / 1e3), f"{speedup:.2f}×", percent(speedup / ideal)])
    return table(["threads", "a call", "as fast", "of perfect scaling"], lines)
