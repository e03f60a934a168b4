"""A profile as one self-contained HTML file: roofline, stacked bar, timeline and tables, all inline."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lenumba.engine.common.text import duration, percent
from lenumba.engine.profile.function_report import compiled_text, function_parts, function_title
from lenumba.engine.profile.report import HEAD, compile_table, machine_table, row_cells, sums, title
from lenumba.engine.report.page import document, escape

Profile = Mapping[str, Any]
WIDTH = 1000
SHOWN_MS = 20  # of a function's threads, at the least
LEAST_SHARE = 0.01  # rows with less of the epoch are drawn, but not named
COLOURS = ("#3465a4", "#cc6600", "#4e9a06", "#a40000", "#75507b", "#b58900", "#2aa198", "#d33682", "#6c71c4", "#857a60")
OTHERS = {"": "#e2e2de", "kernel": "#a8a8a4"}  # waiting and Python; kernels too short for a colour
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2em auto; max-width: 1040px;
       padding: 0 1em }
h1 { font-size: 1.4em; overflow-wrap: anywhere } h2 { font-size: 1.1em; margin-top: 2em }
pre, td { font-variant-numeric: tabular-nums } pre { font-size: 12px; white-space: pre-wrap }
.wide { overflow-x: auto } .wide pre { white-space: pre } .wide svg { min-width: 640px }
table { border-collapse: collapse; width: 100%; font-size: 11.5px }
th, td { padding: 2px 4px; text-align: right; white-space: nowrap; vertical-align: top;
         border-bottom: 1px solid #e4e4e0 }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left }
td:last-child { white-space: normal; min-width: 10em }
svg { width: 100%; height: auto } svg text { font: 11px system-ui, sans-serif; fill: #222 }
svg .halo { stroke: #fff; stroke-width: 4px; paint-order: stroke }
.legend span { display: inline-block; margin-right: 1.2em }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.4em }
"""


def profile_html(profile: Profile) -> str:
    """Return the page."""
    if profile.get("kind") == "function":
        return function_html(profile)
    rows = sorted(profile["rows"], key=lambda row: -row["ms"])
    colours = colours_of(rows)
    parts = [
        f"<h1>{escape(title(profile))}</h1><pre>{escape(sums(profile))}</pre>",
        f"<h2>The step</h2>{stacked_bar(rows, colours)}",
        f"<h2>Roofline of one core</h2><p>Kernels with multiply-adds; a circle's area is its share of the time.</p>"
        f"{wide(roofline(profile, colours))}",
        f"<h2>Threads: some batches of an epoch</h2>{wide(timeline(profile, colours))}",
        f"<h2>Kernels</h2>{wide(row_table(rows))}",
        f"<h2>Machine</h2>{wide(pre(machine_table(profile['machine'])))}",
        f"<h2>Compilation</h2>{wide(pre(compile_table(profile)))}",
    ]
    return document(f"Profile of {profile['name']}", STYLE, "\n".join(parts))


def function_html(profile: Profile) -> str:
    """Return the page of a function's profile."""
    rows = sorted(profile["rows"], key=lambda row: -row["ms"])
    colours = colours_of(rows)
    loops = [loop_point(loop) for loop in profile["loops"] if loop["flops"] and loop["bytes"]]
    seen = dict(profile) | {"rows": loops, "profiled_ms": max(SHOWN_MS, profile["call_ms"]), "batches": 1}
    events = {event["name"] for event in profile["trace"]}
    tracks = {row["kernel"]: colours[row["name"]] for row in rows}
    tracks = {name: tracks.get(name, OTHERS["kernel"]) for name in events}
    points = {loop["name"]: COLOURS[k % len(COLOURS)] for k, loop in enumerate(loops)}
    parts = [
        f"<h1>{escape(function_title(profile))}</h1>",
        *(wide(pre(text)) if table else pre(text) for text, table in function_parts(profile)),
        f"<h2>Where the time goes, by line</h2>{stacked_bar(rows, colours)}",
    ]
    if loops:
        parts.append(
            "<h2>Roofline of one core</h2><p>Loops with floating-point operations; a circle's area is its share of the "
            f"time. Bytes are those that the loop reads and writes.</p>{wide(roofline(seen, points))}"
        )
    if profile["trace"]:
        parts.append(f"<h2>Threads: the line each was in</h2>{wide(timeline(seen, tracks))}")
    parts.append(f"<h2>Compiled</h2>{wide(pre(compiled_text(profile)))}")
    return document(f"Profile of {profile['name']}", STYLE, "\n".join(parts))


def pre(text: str) -> str:
    """Return text as it stands."""
    return f"<pre>{escape(text)}</pre>"


def wide(content: str) -> str:
    """Return what is scrolled on small screens, not shrunk or wrapped."""
    return f'<div class="wide">{content}</div>'


def loop_point(loop: Profile) -> dict[str, Any]:
    """Return a function's loop as a point of the roofline."""
    return {
        "name": f"{Path(loop['file']).name}:{loop['line']}",
        "flops": loop["flops"],
        "bytes": loop["bytes"],
        "intensity": loop["flops"] / loop["bytes"],
        "gflops": loop["flops"] / max(loop["ms"], 1e-9) / 1e6,
        "share": loop["share"],
    }


def colours_of(rows: Sequence[Profile]) -> dict[str, str]:
    """Return each row's colour; only the longest kernels have one that is not grey."""
    kernels = [row["name"] for row in rows if row["kernel"] and row["share"] >= LEAST_SHARE]
    greys = {row["name"]: OTHERS["kernel" if row["kernel"] else ""] for row in rows}
    return greys | {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(kernels)}


def stacked_bar(rows: Sequence[Profile], colours: Mapping[str, str]) -> str:
    """Draw the shares side by side, with a legend."""
    x, boxes, legend = 0.0, [], []
    for row in rows:
        width, colour = WIDTH * row["share"], colours[row["name"]]
        tip = f"{row['name']} · {row['ms']:.3g} ms, {percent(row['share'], 1)}"
        boxes.append(box(x, 0, width, 40, colour, tip))
        if row["share"] >= LEAST_SHARE:
            legend.append(f'<span><i style="background:{colour}"></i>{escape(tip)}</span>')
        x += width
    return f'{svg(40, "".join(boxes))}<p class="legend">{"".join(legend)}</p>'


def svg(height: float, content: str) -> str:
    """Wrap drawings of WIDTH × height."""
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img">{content}</svg>'


def box(x: float, y: float, width: float, height: float, colour: str, tip: str) -> str:
    """Draw a rectangle with a tooltip."""
    return (
        f'<rect x="{x:.2f}" y="{y:g}" width="{max(width, 0.05):.2f}" height="{height:g}" fill="{colour}" '
        f'stroke="#fff" stroke-width="0.3"><title>{escape(tip)}</title></rect>'
    )


def label(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    """Draw text; `more` are further attributes."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str = "#888") -> str:
    """Draw a line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def roofline(profile: Profile, colours: Mapping[str, str]) -> str:
    """Draw GFLOP/s over FLOP/byte, both logarithmic, below the measured roofs; a circle's area is its time."""
    machine, height, left, bottom = profile["machine"], 420, 60, 380
    points = [row for row in profile["rows"] if row["flops"] and row["bytes"]]
    low, high = 2.0**-4, max([64.0, *(2 * row["intensity"] for row in points)])
    top = 2 * machine["gflops"]
    floor = min([low * min(machine["gbytes"].values()), *(row["gflops"] for row in points if row["gflops"] > 0)]) / 1.5

    def place(intensity: float, gflops: float) -> tuple[float, float]:
        across = math.log(intensity / low) / math.log(high / low)
        up = math.log(max(gflops, floor) / floor) / math.log(top / floor)
        return left + across * (WIDTH - left - 20), bottom - up * (bottom - 20)

    parts = [line(left, bottom, WIDTH - 20, bottom), line(left, 20, left, bottom)]
    for k in range(-4, int(math.log2(high)) + 1, 2):
        x, _ = place(2.0**k, floor)
        parts.append(line(x, bottom, x, bottom + 4) + label(x, bottom + 17, f"{2.0**k:g}", "middle"))
    parts.append(label(WIDTH / 2, bottom + 34, "FLOP / byte", "middle") + label(4, 14, "GFLOP/s of one core"))
    for k in range(math.ceil(math.log2(floor)), int(math.log2(top)) + 1):
        _, y = place(low, 2.0**k)
        parts.append(line(left - 4, y, left, y) + label(left - 8, y + 4, f"{2.0**k:g}", "end"))
    peak = machine["gflops"]
    labels = []
    for k, (level, gbytes) in enumerate(machine["gbytes"].items()):
        (x1, y1), (x2, y2) = place(low, gbytes * low), place(peak / gbytes, peak)
        parts.append(line(x1, y1, x2, y2))
        # Caches' roofs lie close together: their labels stand on them, one further up than the other.
        x, y = x1 + (k + 1) / 5 * (x2 - x1), y1 + (k + 1) / 5 * (y2 - y1)
        turn = f'class="halo" transform="rotate({math.degrees(math.atan2(y2 - y1, x2 - x1)):.1f} {x:.1f} {y:.1f})"'
        labels.append(label(x, y + 4, f"{level}: {gbytes:.0f} GB/s", "middle", f" {turn}"))
    parts += labels
    ridge = min(peak / gbytes for gbytes in machine["gbytes"].values())
    x, y = place(ridge, peak)
    parts.append(line(x, y, WIDTH - 20, y) + label(WIDTH - 24, y - 6, f"multiply-adds: {peak:.0f} GFLOP/s", "end"))
    for row in points:
        x, y = place(row["intensity"], row["gflops"])
        tip = f"{row['name']}: {row['gflops']:.0f} GFLOP/s at {row['intensity']:.1f} FLOP/byte"
        radius = 3 + 30 * math.sqrt(row["share"])
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colours[row["name"]]}" '
            f'fill-opacity="0.75"><title>{escape(tip)}</title></circle>'
        )
    return svg(height, "".join(parts))


def timeline(profile: Profile, colours: Mapping[str, str]) -> str:
    """Draw two batches' time of the threads' first events, where most happened: there nothing else took the cores."""
    events = profile["trace"]
    if not events:
        return "<p>no events</p>"
    end = max(event["begin_us"] + event["duration_us"] for event in events)
    span = min(2e3 * profile["profiled_ms"] / profile["batches"], end)
    windows = Counter(int(event["begin_us"] / span) for event in events)
    start = span * windows.most_common(1)[0][0]
    threads = sorted({event["thread"] for event in events})
    parts, left = [], 80
    scale = (WIDTH - left) / span
    for k, thread in enumerate(threads):
        parts.append(label(0, 30 * k + 18, f"thread {thread}"))
        for event in events:
            begin = max(event["begin_us"], start)
            end = min(event["begin_us"] + event["duration_us"], start + span)
            if event["thread"] == thread and begin < end:
                tip = f"{event['name']}: {event['duration_us']:.2f} µs"
                colour = colours[event["name"]]
                parts.append(box(left + (begin - start) * scale, 30 * k, (end - begin) * scale, 26, colour, tip))
    height = 30 * len(threads) + 20
    parts.append(label(left, height - 4, duration(1e-6 * start)))
    parts.append(label(WIDTH, height - 4, duration(1e-6 * (start + span)), "end"))
    return svg(height, "".join(parts))


def row_table(rows: Sequence[Profile]) -> str:
    """Return the rows as an HTML table."""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in HEAD)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row_cells(row)) for row in rows]
    return "<table>" + "".join(f"<tr>{cells}</tr>" for cells in lines) + "</table>"
