"""The parts of a function's profile as text."""

from collections.abc import Mapping
from typing import Any

from lenumba.engine.common.text import duration, flush_last, table

BUSY, DISTURBED = 0.1, 0.3  # half range of the middle half of the calls, relative: told; too much to judge by
Profile = Mapping[str, Any]


def function_title(profile: Profile) -> str:
    """Return what was measured, in a line."""
    threads = f", {profile['threads']} threads" if profile["threads"] > 1 else ""
    return f"{profile['name']}{profile['signature'].partition(' ->')[0]}{threads}"


def timing(profile: Profile) -> str:
    """Return a call's time, and what is known of its noise."""
    ms = sorted(profile["calls_ms"])
    low, high = ms[len(ms) // 4], ms[-1 - len(ms) // 4]
    noise = (high - low) / 2 / profile["call_ms"] if profile["call_ms"] else 0.0
    note = ""
    if noise > DISTURBED:
        note = f"\nother processes disturbed it: ± {100 * noise:.0f} % is too much to judge; measure on an idle machine"
    elif noise > BUSY:
        note = f"\nother processes may have disturbed it: half of the calls took {span(low, high)}"
    anew = "; its arguments are restored for every call, as it writes into them" if profile["writes"] else ""
    return (
        f"warm call: {duration(profile['call_ms'] / 1e3)} (median of {profile['calls']:,}, ± {100 * noise:.0f} %; "
        f"least {duration(ms[0] / 1e3)}){anew}{note}"
    )


def span(low: float, high: float) -> str:
    """Write a range of milliseconds."""
    return f"{duration(low / 1e3)} to {duration(high / 1e3)}"


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
    """Return a function's profile as text."""
    code = profile["code"]
    because = f": {code['reason']}" if code["reason"] else ""
    text = [
        function_title(profile),
        timing(profile),
        f"speed: {speed(profile)}",
        f"code: {code['verdict']}{because}; {code['fma']} multiply-add, {code['packed']} vector, {code['scalar']} "
        "scalar instructions in its loops",
        compile_text(profile),
    ]
    if code["loops"]:
        text += ["", loop_table(profile)]
    if code["remarks"]:
        text += ["", "LLVM remarks:", *(f"  {remark}" for remark in code["remarks"])]
    if code["diagnostics"]:
        text += ["", code["diagnostics"]]
    return "\n".join(text)


def loop_table(profile: Profile) -> str:
    """Return the compiled loops."""
    rows = [[loop["source"], loop["depth"], loop["fma"], loop["packed"], loop["scalar"], loop["verdict"]]
            for loop in profile["code"]["loops"]]  # fmt: skip
    return flush_last(table(["line", "depth", "multiply-adds", "vector", "scalar", "loop"], rows))
