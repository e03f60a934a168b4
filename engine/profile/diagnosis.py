"""A function observed and judged: time by line, versions of loops that ran, causes."""

import inspect
import linecache
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.common.errors import one_line
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.causes import call_causes, judge
from lenumba.engine.profile.judging import SHARED, Context
from lenumba.engine.profile.loops import LoopFacts, find_facts
from lenumba.engine.profile.machine import cache_sizes, clock_ghz, machine_facts
from lenumba.engine.profile.places import arrays_of, filled
from lenumba.engine.profile.turns import compare_in_turns

LIKELY, TURNS = 0.7, 5  # of a call in its own code: with less, calls are timed again, in so many turns
SHORT = 2e-5  # seconds of a call
ALONE = 0.1  # seconds to time calls on one thread for
QUICK = 0.1  # others lengthen most calls: limits are compared with a call as quick as the quickest tenth
FAULTS = (
    RuntimeError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OSError,
)  # of unusual code
ROUND = 0.002  # seconds of each measurement of the machine
LONGEST = 2.0  # seconds of a call that is counted, too: counting takes some ten times as long


@cache
def machine_of(threads: int, used: int = 0) -> dict[str, Any]:
    """Return the machine's peaks, measured once a process for `used` bytes, a power of two."""
    return machine_facts(threads, ROUND, used=used) | {"clock_ghz": clock_ghz(ROUND)}


def used_bytes(found: Any) -> int:
    """Return the bytes that a call goes over: a power of two, between its core's caches and the last one."""
    sizes = sorted(cache_sizes().values())
    used = 1 << max(1, filled(found.accesses)).bit_length()
    return min(max(used, 1 << sizes[-2].bit_length()), sizes[-1] // 2)


def observe(
    function: Any,
    overload: Any,
    code: Mapping[str, Any],
    text: str,
    calls: Calls,
    times: Sequence[float],
    spent: float,
    threads: int,
) -> dict[str, Any]:
    """Observe a function and judge it.

    Parameters
    ----------
    text
        LLVM's code of `overload`, from before machine code was made of it.
    times
        Seconds of calls.
    spent
        Seconds to sample for.

    Returns
    -------
    dict
        ``lines``, ``loops``, ``causes``, ``flops`` of a call, ``sampling``, ``machine``, ``trace``; lists without
        elements where nothing can be told.
    """
    from lenumba.kernels.measure.observe import Observer

    paging, away = calls.paging, calls.away
    seconds, quick = median(times), float(np.quantile(times, QUICK))
    observer = Observer(function, overload, text, calls.renew)
    found, notes = observer.found, []
    ways: list[Any] = []

    def sampled(run: Any) -> list[float]:
        ways[:] = [run]
        return calls.times(spent, run, many=True)

    try:
        observer.sample(sampled)
    except FAULTS as error:
        found.method = f"not sampled: {one_line(error)}"
    if found.sampled and not observer.parallel:
        # Calls that are sampled go another way than by Numba's dispatcher: what matters is what its own code takes.
        inside = (1 - found.beside) * median(found.sampled)
        beside = min(found.beside, 1 - inside / seconds)
        if seconds < SHORT:  # what Python does around it is long beside that: samples in its own code tell
            own = found.library + sum(map(sum, found.samples.values()))
            beside = 1 - own / found.rate / max(1, found.calls) / seconds
        elif inside < LIKELY * seconds:  # or others lengthened the calls before: both in turns tell
            turns = compare_in_turns((function, calls.renew), (ways[0], calls.renew), rounds=TURNS)
            beside = 1 - (1 - found.beside) / turns["factor"]
        found.beside = min(0.99, max(0.0, beside))
    crowded = 1.0
    found.threads += [0] * (threads - len(found.threads)) if observer.parallel else []
    try:
        if seconds < LONGEST:
            observer.count(cache_sizes())
            observer.hand_up()
            if observer.parallel and threads > 1:
                observer.share()
                crowded = crowding(found, calls)
        else:
            notes.append(f"not counted, as a call takes longer than {LONGEST:g} s")
    except FAULTS as error:
        notes.append(f"not counted: {one_line(error)}")
    calls.renew()
    machine = machine_of(threads, used_bytes(found) if found.accesses else 0)
    facts = find_facts(found, machine, quick)
    names = list(inspect.signature(function.py_func).parameters)
    context = Context(
        machine,
        function.targetoptions,
        code["remarks"],
        arrays_of(names, calls.values),
        found.threads,
        found.contested,
        uses_generator(overload),
        bool(getattr(overload, "objectmode", False)),
        recursive(found.functions),
        sum(found.threads),
        min(1.0, max(found.threads, default=0) / max(1.0, found.rate * len(found.sampled) * quick)),
        found.beside,
        *paging,
        away,
        crowded,
    )
    causes = []
    try:
        causes = [*call_causes(facts, context), *judge(facts, context)] if found.counts and found.sampled else []
    except FAULTS as error:
        notes.append(f"not judged: {one_line(error)}")
    return {
        "lines": lines_of(found, seconds),
        "loops": [loop_row(fact, seconds) for fact in facts if fact.share >= 0.01],
        "causes": [cause.as_dict() for cause in causes],
        "flops": found.flops,
        "sampling": {
            "method": found.method,
            "samples": sum(map(sum, found.samples.values())),
            "overhead": found.overhead,
            "beside": found.beside,
            "threads": found.threads,
            "notes": notes,
        },
        "machine": machine,
        "trace": line_events(found, seconds),
    }


def crowding(found: Any, calls: Calls) -> float:
    """Return how many times as long threads that write into the same cache lines work together as one alone would."""
    if not found.contested or max(found.contested.values()) <= SHARED or not found.sampled:
        return 1.0
    from lenumba.kernels.measure.user_function import use_threads

    usual = use_threads(1)
    alone = float(np.quantile(calls.times(ALONE), QUICK))
    use_threads(usual)
    return sum(found.threads) / found.rate / len(found.sampled) / alone


def uses_generator(overload: Any) -> bool:
    """Return whether a value of the function is a generator."""
    kinds = getattr(getattr(overload, "type_annotation", None), "typemap", None) or {}
    return any(type(kind).__name__ == "Generator" for kind in kinds.values())


def recursive(functions: Sequence[Any]) -> frozenset[str]:
    """Return the symbols of functions that call themselves, directly or by others."""
    from lenumba.kernels.measure.llvm_code import called_name, connected

    known = {function.symbol for function in functions}
    follow = {
        function.symbol: sorted(
            {
                called_name(one.text)
                for block in function.blocks.values()
                for one in block.instructions
                if one.op == "call"
            }
            & known
        )
        for function in functions
    }
    return frozenset(
        name for part in connected(follow) for name in part if len(part) > 1 or name in follow[next(iter(part))]
    )


def place_of(found: Any) -> Callable[[int], tuple[str, int] | None]:
    """Return what finds the line of an instruction, or the nearest one's before it in its function."""
    places: dict[int, tuple[str, int] | None] = {}
    for function in found.functions:
        last = None
        for block in function.blocks.values():
            for one in block.instructions:
                last = one.source or last
                places[one.at] = last
    return places.get


def line_events(found: Any, seconds: float) -> list[dict[str, Any]]:
    """Return the first samples as events of a trace: stretches of a thread in the same line."""
    where, events = place_of(found), []
    last: dict[int, dict[str, Any]] = {}
    if len(found.timeline) < 2:
        return []
    step = 1e6 * sum(found.sampled) * max(1, len(found.threads)) / max(1, len(found.timeline))
    span = found.timeline[-1][1] - found.timeline[0][1]
    threads = max(1, len(found.threads))
    scale = step * len(found.timeline) / threads / span if span else 0.0  # the counter's ticks in µs, about
    for thread, when, at in found.timeline:
        place = where(at)
        name = f"{place[0].rpartition('/')[2]}:{place[1]}" if place else "around it"
        before, begin = last.get(thread), when * scale
        if before and before["name"] == name and begin < before["begin_us"] + before["duration_us"] + 2 * step:
            before["duration_us"] = begin - before["begin_us"] + step
        else:
            if before:
                before["duration_us"] = min(before["duration_us"], begin - before["begin_us"])
            last[thread] = {"thread": thread, "name": name, "category": "line", "begin_us": begin, "duration_us": step}
            events.append(last[thread])
    return events


def lines_of(found: Any, seconds: float) -> list[dict[str, Any]]:
    """Return the time of each line of Python, and of what belongs to none; together that of a call."""
    where = place_of(found)
    times: dict[tuple[str, int] | None, float] = {}
    for at, hits in found.samples.items():
        times[where(at)] = times.get(where(at), 0.0) + sum(hits)
    total = sum(times.values())
    rows = []
    for place, hits in times.items():
        share = (1 - found.beside) * hits / total if total else 0.0
        file, line = place or ("", 0)
        text = linecache.getline(file, line).strip() if place else ""
        rows.append({"file": file, "line": line, "share": share, "ms": 1e3 * seconds * share, "text": text})
    if found.sampled:
        rows.append({"file": "", "line": 0, "share": found.beside, "ms": 1e3 * seconds * found.beside, "text": ""})
    return sorted(rows, key=lambda row: -row["share"])


def loop_row(fact: LoopFacts, seconds: float) -> dict[str, Any]:
    """Return a loop as JSON has it."""
    file, line = fact.place
    total = sum(version.samples for version in fact.versions) or 1
    return {
        "file": file,
        "line": line,
        "share": fact.share,
        "ms": 1e3 * fact.share * seconds,
        "versions": [
            {"name": version.name, "rounds": version.rounds, "share": version.samples / total}
            for version in fact.versions
        ],
        "idle": sorted({version.name for version in fact.idle if version.width > 1}),
        "trips": fact.trips,
        "flops": fact.flops,
        "bytes": fact.bytes,
        "lines": [sum(access.misses[k] for access in fact.accesses) for k in range(3)],
        "costs": fact.costs,
        "cycles": fact.cycles,
    }
