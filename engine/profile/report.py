"""A profile as text: tables, and Chrome's trace format."""

from collections.abc import Mapping, Sequence
from typing import Any

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.text import flush_last, percent, table
from lenumba.engine.profile.function_report import function_text

HEAD = ["kernel", "calls", "ms", "share", "µs/call", "GFLOP/s", "GB/s", "FLOP/B"]
HEAD += ["FMA peak", "bandwidth", "bound by", "code"]
BUSY = 0.1  # half range of the middle half of the epochs, relative: quiet machines stay below 0.03
Profile = Mapping[str, Any]


def profile_text(profile: Profile) -> str:
    """Return a profile as text."""
    return function_text(profile) if profile.get("kind") == "function" else profile_table(profile)


def profile_table(profile: Profile) -> str:
    """Return where the time goes, longest first, why, and the sums."""
    rows = sorted(profile["rows"], key=lambda row: -row["ms"])
    where = flush_last(table(HEAD, [row_cells(row) for row in rows]))
    return f"{title(profile)}\n\n{where}\n\n{sums(profile)}\n\n{machine_line(profile['machine'])}"


def row_cells(row: Profile) -> list[str]:
    """Return a row's cells, in the order of HEAD."""
    return [
        row["name"],
        f"{row['calls']:,}",
        f"{row['ms']:.2f}",
        percent(row["share"], 1),
        f"{row['us_per_call']:.2f}",
        f"{row['gflops']:.1f}" if row["flops"] else "",
        f"{row['gbytes']:.1f}" if row["bytes"] else "",
        f"{row['intensity']:.1f}" if row["flops"] else "",
        percent(row["fma_share"]) if row["flops"] else "",
        f"{percent(row['bandwidth_share'])} of {row['level']}" if row["bytes"] else "",
        row["bound"],
        code_cell(row["code"]),
    ]


def code_cell(code: Profile | None) -> str:
    """Return what became of a kernel, with LLVM's reason where it stayed scalar."""
    return ": ".join(text for text in (code["verdict"], code["reason"]) if text) if code else ""


def title(profile: Profile) -> str:
    """Return what was measured, in a line."""
    measured = profile.get("measured_batches", profile["batches"])
    part = f"; measured on {measured:,} batches" if measured < profile["batches"] else ""
    return (
        f"{profile['name']}: an epoch of {profile['images']:,} images in {profile['batches']:,} batches of "
        f"{profile['batch_size']}, {profile['threads']} thread{'s' * (profile['threads'] != 1)}; times are per thread"
        f"{part}"
    )


def sums(profile: Profile) -> str:
    """Return the sums, the overhead and the waiting."""
    gflops = profile["flops"] / profile["epoch_ms"] / 1e6
    waits = "  ".join(f"{k}: {ms:.1f}" for k, ms in enumerate(profile["threads_wait_ms"]))
    return (
        f"sum {profile['sum_ms']:.1f} ms; an unprofiled epoch {profile['epoch_ms']:.1f} ms (median of "
        f"{profile['rounds']}), so the rows make {percent(profile['sum_ms'] / profile['epoch_ms'], 1)} of it; "
        f"overhead of measuring {100 * profile['overhead']:+.1f} % (median of the pairs)\n"
        f"work {profile['flops'] / 1e9:.2f} GFLOP (2 per multiply-add of 'lenumba summary', forward and gradients): "
        f"{gflops:.0f} GFLOP/s in all\n"
        f"waiting at barriers, ms by thread: {waits}\n"
        "a bandwidth above 100 %: the data were still in a nearer cache, or reads alone outran the triad"
        + fewer_products(profile)
        + disturbance(profile, "this run")
    )


def fewer_products(profile: Profile) -> str:
    """Return a line that says why a share of the multiply-add peak may exceed 100 %, where a kernel makes it."""
    fast = [row["kernel"] for row in profile["rows"] if row["kernel"].startswith(("winograd", "toom"))]
    line = "\na share of the FMA peak above 100 %: work counts as the definition has it, {} take fewer products"
    return line.format(" and ".join(sorted(set(fast)))) if fast else ""


def disturbance(profile: Profile, name: str) -> str:
    """Return a line that warns of an unquiet machine, where the epochs tell of one."""
    noise = epoch_row(profile)["noise"]
    warning = f"\nother processes disturbed {name}: epochs spread by ± {percent(noise)}; measure on an idle machine"
    return warning if noise > BUSY else ""


def machine_line(machine: Profile) -> str:
    """Return the peaks in a line."""
    levels = ", ".join(f"{level} {value:.0f}" for level, value in machine["gbytes"].items())
    return f"one core's peaks in this run: {machine['gflops']:.0f} GFLOP/s; GB/s (triad): {levels}"


def machine_table(machine: Profile) -> str:
    """Return what is known of the machine."""
    sizes = ", ".join(f"{level} {size >> 10:,} KiB" for level, size in machine["caches"].items())
    rows = [
        ["processor", machine["cpu"]],
        ["compiled for", machine["target"]],
        ["vector width", f"{machine['vector_bits']} bits, {machine['vector_bits'] // 32} float32"],
        ["fused multiply-add", "yes" if machine["fma"] else "no"],
        ["cores, threads used", f"{machine['cores']}, {machine['threads']}"],
        ["threading", machine["threading"]],
        ["caches", sizes],
        ["peak of a core", f"{machine['gflops']:.1f} GFLOP/s (float32 multiply-adds in registers)"],
    ]
    rows += [[f"triad, {level}", f"{value:.1f} GB/s a core"] for level, value in machine["gbytes"].items()]
    rows.append(["counter", f"{machine['counter_ghz']:.3f} GHz"])
    return table(["fact", "value"], rows, left=2)


def compile_table(profile: Profile) -> str:
    """Return what compiling cost, by function, and what this start cost."""
    compiled = profile["compile"]
    cache, usual = compiled["cache"], compiled["usual_program"]
    rows = [[name, *seconds(times)] for name, times in compiled["functions"].items()]
    rows.append(["the loops and all together", *seconds(compiled["program"])])
    head = ["function", "typing s", "lowering s", "of which LLVM s", "other s"]
    return (
        f"cold: {compiled['cold_s']:.2f} s for the profiled program, of which\n\n{table(head, rows)}\n\n"
        f"this start: data {compiled['data_s']:.2f} s; profiled program: cache {'hit' if cache['hit'] else 'miss'} "
        f"({cache['why']}), {cache['load_s']:.2f} s; usual program: "
        f"cache {'hit' if usual['cached'] else 'miss'}, {usual['load_s']:.2f} s"
    )


def seconds(times: Profile) -> list[str]:
    """Return a function's compile times as cells."""
    return [f"{times[key]:.3f}" for key in ("typing_s", "lowering_s", "llvm_s", "other_s")]


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """Return a profile's events in Chrome's trace format (complete events, one track for each thread)."""
    threads = sorted({event["thread"] for event in profile["trace"]})
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": f"lenumba {profile['name']}"}}
    ]
    events += [{"ph": "M", "name": "thread_name", "pid": 1, "tid": k, "args": {"name": f"worker {k}"}} for k in threads]
    events += [
        {
            "ph": "X",
            "name": event["name"],
            "cat": event["category"],
            "pid": 1,
            "tid": event["thread"],
            "ts": round(event["begin_us"], 4),
            "dur": round(event["duration_us"], 4),
        }
        for event in profile["trace"]
    ]
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def epoch_row(profile: Profile) -> dict[str, float]:
    """Return the unprofiled epoch as a row."""
    values = sorted(profile["epochs_ms"])
    quarter = len(values) // 4
    noise = (values[-1 - quarter] - values[quarter]) / 2 / profile["epoch_ms"]
    return {"ms": profile["epoch_ms"], "least_ms": values[0], "noise": noise}


def find_row(profile: Profile, name: str) -> dict[str, Any]:
    """Return the row that a user means by (part of) its name.

    Raises
    ------
    ConfigError
        Where no row, or more than one, has that in its name.
    """
    rows: Sequence[dict[str, Any]] = [row for row in profile["rows"] if row["function"]]
    exact = [row for row in rows if name in (row["name"], row["function"], row["kernel"])]
    found = exact or [row for row in rows if name in row["name"] or name in row["function"]]
    if len(found) == 1:
        return found[0]
    names = ", ".join(row["function"] for row in (found or rows))
    raise ConfigError(f"{name}: expected one kernel, found {len(found) or 'none'}; give one of {names}")
