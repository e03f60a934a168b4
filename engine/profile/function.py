"""Profile a function of the user's own that Numba compiled."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, LenumbaError
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.diagnosis import observe
from lenumba.engine.profile.record import Profile
from lenumba.engine.profile.revisions import commit_of
from lenumba.engine.profile.subject import Subject, file_of, first_line
from lenumba.engine.profile.trying import corrected, try_changes

SECONDS, COLD_SECONDS = 1.0, 0.3  # of warm calls, and of cold ones
AROUND = "around it: Numba's call, and what belongs to no line"
VERSION = 2  # of the JSON
Progress = Callable[[str, int, int], None]


def profile_function(
    subject: Subject, seconds: float = SECONDS, progress: Progress | None = None, *, trying: bool = False
) -> Profile:
    """Time a function, look into it, and report what it was compiled to; `trying` flags of Numba's, too.

    Returns
    -------
    Profile
        ``call_ms`` a warm call (median, of ``calls_ms``), ``away`` the share of the time that other processes had
        its core, ``cold_ms`` one that finds nothing in the caches (None where
        it runs on several threads), ``counters`` of the processor for one (of the calling thread; ``no_counters`` says
        why there are none), ``flops`` a call (None where they cannot be counted),
        ``gflops``; ``rows``: time, work and limits of its lines; ``code``: verdict, loops, compile times and
        diagnostics; ``listings``.
    """
    try:
        return measure(subject, seconds, progress or (lambda *_: None), trying)
    except LenumbaError:
        raise
    except Exception as error:  # typing errors, or the function's own, in whichever call
        given = f" with --args {subject.arguments!r}" if subject.arguments else ""
        raise ConfigError(
            f"{subject.name}: calling it{given} raised {type(error).__name__}: {first_line(error)}"
        ) from None


def measure(subject: Subject, seconds: float, progress: Progress, trying: bool) -> Profile:
    """Call a function until its time is known, and compile it afresh; return what is known of it."""
    from lenumba.kernels.measure.counters import counted
    from lenumba.kernels.measure.user_function import compile_afresh, looked_into, threads_of

    function = subject.function
    progress("compiling", 0, 4)
    calls = Calls(function, subject.values, subject.make)
    hit = sum(function.stats.cache_hits.values()) > 0 if hasattr(function, "stats") else False
    progress("measuring calls", 1, 4)
    times = calls.times(seconds)
    cached = getattr(getattr(function, "_cache", None), "cache_path", None)
    function, values = looked_into(function, calls.values)
    if function is not subject.function:
        calls.renew()
        before, calls = calls, Calls(function, values)
        calls.paging, calls.away = before.paging, before.away
    progress("reading the code", 2, 4)
    overload, code, texts = compile_afresh(function, calls.values)
    one = median(times)
    progress("sampling", 3, 4)
    away = calls.away
    text, threads = texts.pop(""), threads_of(function)
    cold = calls.cold_times(COLD_SECONDS) if threads == 1 else []
    values = calls.renew()
    counters, hidden = counted(lambda: function(*values))
    seen = observe(function, overload, code, text, calls, times, min(1.0, seconds), threads)
    tried = try_changes(function, calls, seen["causes"]) if trying else []
    seen["causes"] = corrected(seen["causes"], tried)
    ms = [1e3 * value for value in times]
    return Profile(
        version=VERSION,
        kind="function",
        name=subject.name,
        arguments=subject.arguments,
        setup=subject.setup,
        signature=code["signature"],
        threads=threads,
        writes=calls.writes,
        commit=commit_of(file_of(subject.function)),
        call_ms=1e3 * one,
        calls_ms=thinned(ms),
        calls=len(times),
        counters=counters,
        no_counters=hidden,
        away=away,
        cold_ms=1e3 * median(cold) if cold else None,
        first_call_s=calls.first_s,
        cache={"used": cached is not None, "hit": hit, "folder": cached},
        gflops=seen["flops"] / one / 1e9 if seen["flops"] else None,
        rows=line_rows(seen, ms, function.py_func.__name__),
        trace=seen.pop("trace") or call_events(function.py_func.__name__, times),
        code=code,
        tried=tried,
        **seen,
        listings=texts,
    )


def thinned(values: Sequence[float], most: int = 500) -> list[float]:
    """Return the values, or of very many a sorted selection with the same quantiles."""
    if len(values) <= most:
        return list(values)
    return [float(value) for value in np.quantile(values, np.linspace(0, 1, most))]


def line_rows(seen: Mapping[str, Any], ms: Sequence[float], name: str) -> list[dict[str, Any]]:
    """Return the time of each line as rows; of the whole call, where lines cannot be told."""
    low, middle, high = (float(value) for value in np.quantile(ms, [0.25, 0.5, 0.75]))
    noise = (high - low) / 2 / middle if middle > 0 else 0.0
    rows = []
    for line in seen["lines"] or [{"file": "", "line": 0, "share": 1.0, "ms": middle, "text": name}]:
        own = f"{Path(line['file']).name}:{line['line']}" if line["file"] else ""
        share = line["share"]
        rows.append(
            {
                "name": f"{own}  {line['text']}" if own else line["text"] or AROUND,
                "kernel": own,
                "function": name,
                "ms": line["ms"],
                "median_ms": line["ms"],
                "least_ms": min(ms) * share,
                # Of few samples, the share is known no better than their number allows.
                "noise": math.hypot(noise, 1 / math.sqrt(max(1.0, share * seen["sampling"]["samples"]))),
                "share": share,
            }
        )
    return rows


def call_events(name: str, times: Sequence[float]) -> list[dict[str, Any]]:
    """Return the first calls as events of a trace."""
    events, begin = [], 0.0
    for took in times[:1000]:
        events.append({"thread": 0, "name": name, "category": "call", "begin_us": begin, "duration_us": 1e6 * took})
        begin += 1e6 * took
    return events
