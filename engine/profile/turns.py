"""Two functions timed in turns in this process: how many times as fast the other is, and how far the results differ."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lenumba.engine.common.statistics import median_interval
from lenumba.engine.profile.calls import copied
from lenumba.engine.profile.stopwatch import Stopwatch

ROUNDS, TURN = 15, 0.02  # turns of each side, and least seconds of one
LEVEL = 0.95  # of the interval
Side = tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]  # a function, and what returns the arguments of a call


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


def compare_in_turns(one: Side, other: Side, rounds: int = ROUNDS) -> dict[str, Any]:
    """Time calls of two functions in turns, and compare their results.

    Returns
    -------
    dict
        ``factor`` (how many times as fast the other is), ``low`` and ``high`` of its interval, ``difference`` of what
        they return and leave in their arguments (:func:`largest_difference`).
    """
    outcomes = []
    for function, arguments in (one, other):
        values = arguments()
        outcomes.append((copied(function(*values)), copied(values)))
    ratios, watch = [], Stopwatch()
    for number in range(rounds):
        took = [0.0, 0.0]
        for side in (0, 1) if number % 2 else (1, 0):
            function, arguments = (one, other)[side]
            spent, count = 0.0, 0
            while spent < TURN or not count:
                values = arguments()
                watch.start()
                function(*values)
                spent, count = spent + watch.stop(), count + 1
            took[side] = spent / count
        ratios.append(took[0] / took[1])
    for _, arguments in (one, other):
        arguments()
    low, high = median_interval(ratios, LEVEL)
    return {
        "factor": float(np.median(ratios)),
        "low": low,
        "high": high,
        "difference": largest_difference(*outcomes),
    }


def factor_cells(found: Mapping[str, Any]) -> list[str]:
    """Return a comparison as cells of a table: how many times as fast, the interval, and whether the results agree."""
    gap = f"differ by {found['difference']:.1g} of the largest" if found["difference"] else "the same"
    return [f"{found['factor']:.2f}×", f"{found['low']:.2f} to {found['high']:.2f}", gap]
