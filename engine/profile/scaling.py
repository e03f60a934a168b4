"""A function's time against the size of its arguments, and against the number of threads."""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.text import duration, percent, table
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.machine import cache_sizes
from lenumba.engine.profile.subject import Subject, find_subject
from lenumba.kernels.measure.sampling import why_not

SIZES = re.compile(r"([A-Za-z_]\w*)=([\d.eE+]+(?:,[\d.eE+]+)*)")
SECONDS = 0.3  # of each size, and of each number of threads
QUICK = 0.1  # others lengthen most calls: what threads do is set against one as quick as the quickest tenth


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


@contextlib.contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Let Numba use so many threads meanwhile."""
    from lenumba.kernels.measure.user_function import use_threads

    before = use_threads(threads)
    try:
        yield
    finally:
        use_threads(before)


def check_threads(threads: int) -> None:
    """Raise DataError where Numba has fewer threads."""
    from lenumba.kernels.measure.user_function import most_threads

    if threads > (most := most_threads()):
        raise DataError(f"--threads: expected at most {most}, as Numba has, found {threads}; set NUMBA_NUM_THREADS")


def measure_threads(subject: Subject, threads: Sequence[int]) -> list[dict[str, Any]]:
    """Time a function with several numbers of threads, and see what each of them does.

    Returns
    -------
    list of dict
        ``threads``, ``ms`` of a call; ``load``, the share of it that each thread works, ``starting`` what the one that
        works most does not, ``barrier`` for how much of it they wait, on average, for that one. The last three are
        None where the function does not run in parallel, or nothing can be sampled.
    """
    from lenumba.kernels.measure.user_function import looked_into, threads_of

    calls = Calls(subject.function, subject.values, subject.make)
    function, values = looked_into(subject.function, calls.renew())
    sampled = Calls(function, values)
    rows = []
    for count in threads:
        with using_threads(count):
            calls.times(0.0)
            times = calls.times(SECONDS)
            rows.append({"threads": count, "ms": 1e3 * median(times), "load": None, "starting": None, "barrier": None})
            if function.targetoptions.get("parallel") and not why_not():
                rows[-1] |= work_of_threads(function, sampled, threads_of(function), float(np.quantile(times, QUICK)))
    return rows


def work_of_threads(function: Any, calls: Calls, threads: int, seconds: float) -> dict[str, Any]:
    """Sample calls of about so many seconds, and return what each thread does in one."""
    from lenumba.kernels.measure.observe import Observer
    from lenumba.kernels.measure.user_function import compile_afresh

    overload, _, texts = compile_afresh(function, calls.renew())
    observer = Observer(function, overload, texts[""], calls.renew)
    observer.sample(lambda run: calls.times(SECONDS, run, many=True))
    found = observer.found
    work = [*sorted(found.threads, reverse=True), *[0] * (threads - len(found.threads))]
    if not work[0]:
        return {}
    whole = max(work[0], found.rate * len(found.sampled) * seconds)
    return {
        "load": [part / whole for part in work],
        "starting": 1 - work[0] / whole,
        "barrier": (work[0] - sum(work) / len(work)) / whole,
    }


def threads_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the numbers of threads as a table: speed-up over the first, and how much of a perfect one that is."""
    first = rows[0]
    lines = []
    for row in rows:
        speedup = first["ms"] / row["ms"]
        ideal = row["threads"] / first["threads"]
        lines.append([row["threads"], duration(row["ms"] / 1e3), f"{speedup:.2f}×", percent(speedup / ideal)])
        if any(one["load"] for one in rows):
            loads = ", ".join(map(percent, row["load"] or [])) or "too short"
            lines[-1] += [loads, *(percent(row[key]) if row["load"] else "" for key in ("starting", "barrier"))]
    head = ["threads", "a call", "as fast", "of perfect scaling", "each works", "starting", "at the barrier"]
    return table(head[: len(lines[0])], lines)
