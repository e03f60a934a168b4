"""What flags of Numba's would change: compiled, timed in turns with the function as it is, and results compared."""

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lenumba.engine.common.text import duration, flush_last, table
from lenumba.engine.profile.calls import Calls, copied
from lenumba.engine.profile.gate import interval
from lenumba.engine.profile.subject import first_line

ROUNDS, TURN = 15, 0.02  # turns of each side, and least seconds of one
STANDARD: tuple[dict[str, Any], ...] = (
    {"fastmath": True},
    {"error_model": "numpy"},
    {"boundscheck": False},
    {"parallel": True},
)
CONTIGUOUS = "contiguous arrays"


def tries(
    options: Mapping[str, Any], causes: Sequence[Mapping[str, Any]], values: Sequence[Any]
) -> list[dict[str, Any]]:
    """Return the changes worth a try, those that a cause names first; {} stands for contiguous arrays."""
    wanted = [dict(cause["flags"]) for cause in causes if cause["flags"]]
    for change in STANDARD:
        [(name, value)] = change.items()
        already = not options.get(name) if name == "boundscheck" else options.get(name) == value
        wanted += [change] if not already and change not in wanted else []
    if any(isinstance(value, np.ndarray) and not value.flags.c_contiguous for value in values):
        wanted.append({})
    return wanted


def largest_difference(one: Any, other: Any) -> float:
    """Return the largest difference of two results, relative to the largest number in them; inf for other shapes."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list) and len(one) == len(other):
        return max(map(largest_difference, one, other), default=0.0)
    try:
        a, b = np.asarray(one), np.asarray(other)
        if a.shape != b.shape:
            return float("inf")
        if a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":
            return 0.0 if bool(np.all(a == b)) else float("inf")
        a, b = a.astype(np.complex128), b.astype(np.complex128)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        gap = np.where(same, 0.0, np.abs(a - b))
        scale = float(np.max(np.abs(np.where(np.isfinite(a), a, 0.0)), initial=0.0))
        return float(np.max(gap, initial=0.0)) / (scale or 1.0)
    except (TypeError, ValueError):
        return 0.0


def try_changes(function: Any, calls: Calls, causes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compile a function with each change, and time both in turns.

    Returns
    -------
    list of dict
        ``change`` in words; ``factor`` (how many times as fast), ``low`` and ``high`` of its interval, and
        ``difference`` of the results; or ``error``. The best first.
    """
    from lenumba.kernels.measure.user_function import variant

    found = []
    for change in tries(function.targetoptions, causes, calls.values):
        name = ", ".join(f"{key}={written(value)}" for key, value in change.items()) or CONTIGUOUS
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that nothing can run in parallel, say: the time tells
                found.append({"change": name} | compare(calls, variant(function, **change), not change))
        except Exception as error:  # what Numba says of a combination that it cannot compile, or of its types
            found.append({"change": name, "error": f"{type(error).__name__}: {first_line(error)[:80]}"})
    return sorted(found, key=lambda one: -one.get("factor", 0.0))


def written(value: Any) -> str:
    """Write a flag's value as Python."""
    return "{" + ", ".join(map(repr, value)) + "}" if isinstance(value, list) else repr(value)


def compare(calls: Calls, other: Any, contiguous: bool) -> dict[str, Any]:
    """Time calls of the function and of another with the same arguments in turns, and compare their results."""

    def arguments(own: bool) -> tuple[Any, ...]:
        values = calls.renew()
        if own or not contiguous:
            return values
        return tuple(np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value for value in values)

    outcomes = []
    for function, own in ((calls.function, True), (other, False)):
        values = arguments(own)
        outcomes.append((copied(function(*values)), copied(values)))
    ratios = []
    for number in range(ROUNDS):
        took = {}
        for own in (True, False) if number % 2 else (False, True):
            function, spent, count = calls.function if own else other, 0.0, 0
            while spent < TURN or not count:
                values = arguments(own)
                start = time.perf_counter()
                function(*values)
                spent, count = spent + time.perf_counter() - start, count + 1
            took[own] = spent / count
        ratios.append(took[True] / took[False])
    calls.renew()
    low, high = interval(ratios, 0.95)
    return {
        "factor": float(np.median(ratios)),
        "low": low,
        "high": high,
        "difference": largest_difference(*outcomes),
    }


def tried_text(found: Sequence[Mapping[str, Any]], seconds: float) -> str:
    """Return what was tried as a table."""
    rows = []
    for one in found:
        if "error" in one:
            rows.append([one["change"], "", "", "", one["error"]])
            continue
        gap = f"results differ by {one['difference']:.1g} of the largest" if one["difference"] else "the same results"
        times = [duration(seconds / one["factor"]), f"{one['factor']:.2f}×", f"{one['low']:.2f} to {one['high']:.2f}"]
        rows.append([one["change"], *times, gap])
    head = ["tried", "a call", "as fast", "interval", "results"]
    return flush_last(table(head, rows)) if rows else "nothing left to try"
