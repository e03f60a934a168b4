"""Several functions with the same task, side by side: their profiles, and each timed in turns with the first."""

from collections.abc import Callable, Sequence
from typing import Any

from lenumba.engine.common.text import duration, flush_last, table
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.function import profile_function
from lenumba.engine.profile.subject import Subject
from lenumba.engine.profile.turns import compare_in_turns, factor_cells

Progress = Callable[[str, int, int], None]


def profile_several(subjects: Sequence[Subject], seconds: float, progress: Progress | None) -> dict[str, Any]:
    """Profile each of several functions.

    Returns
    -------
    dict
        ``functions``, their profiles; that of each but the first has ``against_first``: ``factor`` (how many times as
        fast it is), ``low`` and ``high`` of its interval, ``difference`` of the results.
    """
    profiles = [profile_function(subject, seconds, progress) for subject in subjects]
    first, *others = [Calls(subject.function, subject.values, subject.make) for subject in subjects]
    for profile in profiles:
        del profile["listings"]
    for calls, profile in zip(others, profiles[1:], strict=True):
        profile["against_first"] = compare_in_turns((first.function, first.renew), (calls.function, calls.renew))
    return {"kind": "functions", "functions": profiles}


def several_text(found: dict[str, Any]) -> str:
    """Return functions side by side as a table, with the first cause of each."""
    rows = []
    for profile in found["functions"]:
        against = profile.get("against_first")
        cause = profile["causes"][0] if profile["causes"] else None
        told = f"{cause['name']}: {cause['words']}" if cause else "no cause can be told"
        speed = f"{profile['gflops']:.2f}" if profile["gflops"] else ""
        cells = factor_cells(against) if against else ["1", "", ""]
        rows.append([profile["name"], duration(profile["call_ms"] / 1e3), *cells, speed, told])
    head = ["function", "a call", "as fast", "interval", "results", "GFLOP/s", "first cause"]
    return flush_last(table(head, rows))
