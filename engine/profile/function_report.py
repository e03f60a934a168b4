"""The parts of a function's profile as text."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenumba.engine.common.text import duration, flush_last, percent, table
from lenumba.engine.profile.scaling import threads_text
from lenumba.engine.profile.trying import tried_text

BUSY, DISTURBED = 0.1, 0.3  # half range of the middle half of the calls, relative: told; too much to judge by
AWAY = 0.05  # of the time: what others had less of is not told
LEAST = 0.6  # of the median: a call so much quicker than most says that others slowed those down
ARRAY = re.compile(r"Array\(([^,()]+), (\d+), '(\w)'[^()]*\)", re.I)
MOST_CAUSES, MOST_LINES, MOST_LOOPS = 3, 12, 4  # told on a screen
Profile = Mapping[str, Any]


def function_title(profile: Profile) -> str:
    """Return what was measured, in a line."""
    threads = f", {profile['threads']} threads" if profile["threads"] > 1 else ""
    kinds = ARRAY.sub(written, profile["signature"].partition(" ->")[0])
    return f"{profile['name']}{kinds}{threads}"


def written(match: re.Match[str]) -> str:
    """Write an array's type as Numba's signatures do: ``float64[:, ::1]``, contiguous in the last dimension."""
    dimensions = [":"] * int(match[2])
    if match[3] == "C":
        dimensions[-1] = "::1"
    elif match[3] == "F":
        dimensions[0] = "::1"
    return f"{match[1].lower()}[{', '.join(dimensions)}]"


def timing(profile: Profile) -> str:
    """Return a call's time, and what is known of its noise."""
    ms = sorted(profile["calls_ms"])
    low, high = ms[len(ms) // 4], ms[-1 - len(ms) // 4]
    noise = (high - low) / 2 / profile["call_ms"] if profile["call_ms"] else 0.0
    note = ""
    if noise > DISTURBED:
        note = f"\nother processes disturbed it: ± {100 * noise:.0f} % is too much to judge; measure on an idle machine"
    elif noise > BUSY or ms[0] < LEAST * profile["call_ms"]:
        calls = f"half of the calls took {span(low, high)}, one {duration(ms[0] / 1e3)}"
        note = f"\nother processes may have disturbed it: {calls}"
    cold = f"; with cold caches {duration(profile['cold_ms'] / 1e3)}" if profile.get("cold_ms") else ""
    if profile.get("away", 0.0) > AWAY:
        others = f"other processes had its cores for {percent(profile['away'])} of the time"
        note = (
            f"\n{others}, which lengthens this" if profile["threads"] > 1 else f"\n{others}, which is taken out{note}"
        )
    anew = "; its arguments are restored for every call, as it writes into them" if profile["writes"] else ""
    return (
        f"warm call: {duration(profile['call_ms'] / 1e3)} (median of {profile['calls']:,}, ± {100 * noise:.0f} %; "
        f"least {duration(ms[0] / 1e3)}){cold}{anew}{note}"
    )


def span(low: float, high: float) -> str:
    """Write a range of milliseconds."""
    return f"{duration(low / 1e3)} to {duration(high / 1e3)}"


def counters_line(profile: Profile) -> str:
    """Return what the processor's own counters say of a call."""
    counters = profile["counters"]
    if not counters:
        return f"no hardware counters here ({profile['no_counters']}): branches and caches are simulated"
    rate = counters["instructions"] / max(1, counters["cycles"])
    misses = ", ".join(f"{counters[name]:,} {name}" for name in ("branch misses", "cache misses"))
    return f"hardware counters: {rate:.2f} instructions a cycle, {misses} a call"


def speed(profile: Profile) -> str:
    """Return the operations of a call, and how fast they are."""
    if profile["flops"]:
        return f"{profile['gflops']:.2f} GFLOP/s ({profile['flops']:,} floating-point operations a call, counted)"
    if profile["flops"] == 0:
        return "no floating-point operations of its own, so no GFLOP/s"
    return "its floating-point operations cannot be counted, so no GFLOP/s"


def compile_text(profile: Profile) -> str:
    """Return what the first call and a compilation cost."""
    code, cache = profile["code"], profile["cache"]
    where = f"cache {'hit' if cache['hit'] else 'miss'} in {cache['folder']}" if cache["used"] else "no cache=True"
    return (
        f"first call: {duration(profile['first_call_s'])} ({where}); compiling afresh: {duration(code['compile_s'])}, "
        f"of which typing {duration(code['typing_s'])}, lowering {duration(code['lowering_s'])} with LLVM's passes "
        f"{duration(code['llvm_s'])}, other {duration(code['other_s'])}"
    )


def function_text(profile: Profile) -> str:
    """Return a function's profile as text: what to do about it first, then where its time goes."""
    return "\n".join([function_title(profile), *(text for text, _ in function_parts(profile))])


def function_parts(profile: Profile) -> list[tuple[str, bool]]:
    """Return what follows a function's title, and of each part whether it is a table, whose lines are not to wrap."""
    code = profile["code"]
    because = f": {code['reason']}" if code["reason"] else ""
    parts = [("\n".join([timing(profile), *cause_lines(profile)]), False)]
    if profile["tried"]:
        parts.append(("\n" + tried_text(profile["tried"], profile["call_ms"] / 1e3), True))
    if profile["lines"]:
        parts.append(("\n" + line_table(profile), True))
    text = [sampling_line(profile)]
    if profile["loops"]:
        text += ["", *(loop_line(loop, profile) for loop in profile["loops"][:MOST_LOOPS] if loop["share"] > 0.05)]
    text += [
        f"speed: {speed(profile)}",
        f"compiled: {code['verdict']}{because}",
        counters_line(profile),
        compile_text(profile),
    ]
    parts.append(("\n".join(text), False))
    if profile.get("scaling"):
        parts.append(("\n" + threads_text(profile["scaling"]), True))
    return parts


def cause_lines(profile: Profile) -> list[str]:
    """Return the causes in words, the first with what to do and what that should give."""
    lines = []
    for cause in profile["causes"][:MOST_CAUSES]:
        place = f", {Path(cause['file']).name}:{cause['line']}" if cause["file"] else ""
        if cause["limit"]:
            lines.append(f"{cause['name']}{place}: {cause['words']}; {cause['advice']}")
            continue
        lines.append(f"{cause['name']}{place}: {cause['words']}")
        after = duration(profile["call_ms"] / 1e3 / cause["factor"])
        lines.append(f"  → {cause['advice']}; about {cause['factor']:.1f}× as fast ({after})")
    told = lines or ["no cause can be told: too few samples" if profile["lines"] else "no cause can be told"]
    return ["", *told]


def line_table(profile: Profile) -> str:
    """Return the time of the lines that matter, in the order of the file, and what is left."""
    shown = [line for line in profile["lines"] if line["file"] and line["share"] >= 0.005][:MOST_LINES]
    rows = [
        [Path(line["file"]).name + f":{line['line']}", duration(line["ms"] / 1e3), percent(line["share"]), line["text"]]
        for line in sorted(shown, key=lambda line: (line["file"], line["line"]))
    ]
    rest = 1.0 - sum(line["share"] for line in shown)
    rows.append(["", duration(profile["call_ms"] / 1e3 * rest), percent(rest), "the call itself, and other lines"])
    return flush_last(table(["line", "time", "of the call", "source"], rows))


def sampling_line(profile: Profile) -> str:
    """Return how lines were timed."""
    sampling = profile["sampling"]
    notes = "".join(f"; {note}" for note in sampling["notes"])
    if not profile["lines"]:
        return f"lines: {sampling['method']}{notes}"
    text = f"lines: {sampling['method']}, {sampling['samples']:,.0f} samples{notes}"
    if len(sampling["threads"]) > 1:
        most = max(1, *sampling["threads"])
        parts = ", ".join(percent(part / most) for part in sampling["threads"])
        text += f"; threads work {parts} of the longest one's time"
    return f"{text}; sampling costs {percent(sampling['overhead'], 1)}"


def loop_line(loop: Profile, profile: Profile) -> str:
    """Return which versions of a loop ran, its work and its place below the machine's limits."""
    machine, ms = profile["machine"], max(loop["ms"], 1e-9)
    ran = ", ".join(f"{one['name']} {percent(one['share'])}" for one in loop["versions"] if one["share"] >= 0.01)
    idle = f"; never: {', '.join(loop['idle'])}" if loop["idle"] else ""
    level = next((name for name, count in zip(("memory", "L3", "L2"), loop["lines"][::-1], strict=True)
                  if 64 * count > 0.2 * loop["bytes"]), "L1")  # fmt: skip
    gflops, gbytes = loop["flops"] / ms / 1e6, loop["bytes"] / ms / 1e6
    peak, speed = machine["gflops"], machine["gbytes"].get(level, machine["gbytes"]["memory"])
    place = f"{Path(loop['file']).name}:{loop['line']}" if loop["file"] else "outside loops"
    work = f"{gflops:.2f} GFLOP/s ({percent(gflops / peak)} of a core's peak), " if loop["flops"] else ""
    return (
        f"{place}  {percent(loop['share'])}: ran {ran or 'once'}{idle}; {loop['trips']:,.0f} rounds a start; {work}"
        f"{gbytes:.1f} GB/s from {level} ({percent(gbytes / speed)} of its triad)"
    )


def compiled_text(profile: Profile) -> str:
    """Return what LLVM made of a function: every compiled loop, its remarks, and what Numba says of a prange."""
    code = profile["code"]
    text = [
        f"in its loops: {code['fma']} multiply-add, {code['packed']} vector, {code['scalar']} scalar instructions",
        *([loop_table(profile)] if code["loops"] else []),
    ]
    if code["remarks"]:
        text += ["", "LLVM remarks:", *(f"  {remark}" for remark in code["remarks"])]
    return "\n".join([*text, *(["", code["diagnostics"]] if code["diagnostics"] else [])])


def loop_table(profile: Profile) -> str:
    """Return the compiled loops."""
    rows = [[loop["source"], loop["depth"], loop["fma"], loop["packed"], loop["scalar"], loop["verdict"]]
            for loop in profile["code"]["loops"]]  # fmt: skip
    return flush_last(table(["line", "depth", "multiply-adds", "vector", "scalar", "loop"], rows))
