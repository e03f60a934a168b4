"""What flags of Numba's would change: compiled, timed in turns with the function as it is, and results compared."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lenumba.engine.common.text import duration, flush_last, table
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.subject import first_line
from lenumba.engine.profile.turns import compare_in_turns, factor_cells

GAIN = 1.1  # times as fast: with less, a change is told to be of no use
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
                other = variant(function, **change)
                arguments = calls.renew if change else lambda: contiguous(calls.renew())
                found.append(
                    {"change": name, "flags": change} | compare_in_turns((function, calls.renew), (other, arguments))
                )
        except Exception as error:  # what Numba says of a combination that it cannot compile, or of its types
            found.append({"change": name, "error": f"{type(error).__name__}: {first_line(error)[:80]}"})
    return sorted(found, key=lambda one: -one.get("factor", 0.0))


def corrected(causes: Sequence[Mapping[str, Any]], tried: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return causes with the factors that trying what they advise has shown; those that gain nothing say so."""
    found = []
    for cause in causes:
        known = next((one for one in tried if cause["flags"] and one.get("flags") == cause["flags"]), None)
        if known is None:
            found.append(dict(cause))
            continue
        note = " (tried: alone, that is no quicker)" if known["factor"] < GAIN else " (tried)"
        found.append(dict(cause) | {"factor": max(1.0, known["factor"]), "advice": cause["advice"] + note})
    return found


def contiguous(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return arguments with contiguous arrays."""
    return tuple(np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value for value in values)


def written(value: Any) -> str:
    """Write a flag's value as Python."""
    return "{" + ", ".join(map(repr, value)) + "}" if isinstance(value, list) else repr(value)


def tried_text(found: Sequence[Mapping[str, Any]], seconds: float) -> str:
    """Return what was tried as a table."""
    rows = []
    for one in found:
        if "error" in one:
            rows.append([one["change"], "", "", "", one["error"]])
            continue
        rows.append([one["change"], duration(seconds / one["factor"]), *factor_cells(one)])
    head = ["tried", "a call", "as fast", "interval", "results"]
    return flush_last(table(head, rows)) if rows else "nothing left to try"
