"""A profile as one self-contained HTML file: roofline, stacked bar, timeline and tables, all inline."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lenumba.engine.profile_report import HEAD, compile_table, machine_table, percent, row_cells, sums, title
from lenumba.engine.seeing.page import document, escape

Profile = Mapping[str, Any]
WIDTH = 1000
LEAST_SHARE = 0.01  # rows with less of the epoch are drawn, but not named
COLOURS = ("#3465a4", "#cc6600", "#4e9a06", "#a40000", "#75507b", "#b58900", "#2aa198", "#d33682", "#6c71c4", "#857a60")
GREY = "#c8c8c4"
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2em auto; max-width: 1040px;
       padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em }
pre, td { font-variant-numeric: tabular-nums } pre { overflow-x: auto; font-size: 12px }
table { border-collapse: collapse; width: 100%; font-size: 12px }
th, td { padding: 2px 6px; text-align: right; white-space: nowrap; border-bottom: 1px solid #e4e4e0 }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left }
svg { width: 100%; height: auto } svg text { font: 11px system-ui, sans-serif; fill: #222 }
.legend span { display: inline-block; margin-right: 1.2em } .legend i { display: inline-block; width: 0.8em;
       height: 0.8em; margin-right: 0.4em }
"""


def profile_html(profile: Profile) -> str:
    """Return the page."""
    rows = sorted(profile["rows"], key=lambda row: -row["ms"])
    colours = colours_of(rows)
    parts = [
        f"<h1>{escape(title(profile))}</h1><pre>{escape(sums(profile))}</pre>",
        f"<h2>The step</h2>{stacked_bar(rows, colours)}",
        f"<h2>Roofline of one core</h2>{roofline(profile, colours)}",
        f"<h2>Threads, from the beginning of an epoch</h2>{timeline(profile, colours)}",
        f"<h2>Kernels</h2>{row_table(rows)}",
        f"<h2>Machine</h2><pre>{escape(machine_table(profile['machine']))}</pre>",
        f"<h2>Compilation</h2><pre>{escape(compile_table(profile))}</pre>",
    ]
    return document(f"Profile of {profile['name']}", STYLE, "\n".join(parts))


def colours_of(rows: Sequence[Profile]) -> dict[str, str]:
    """Return a colour for each of the longest rows; what is not a kernel is grey."""
    kernels = [row["name"] for row in rows if row["kernel"] and row["share"] >= LEAST_SHARE]
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(kernels)}


def stacked_bar(rows: Sequence[Profile], colours: Mapping[str, str]) -> str:
    """Draw the shares side by side, with a legend."""
    x, boxes, legend = 0.0, [], []
    for row in rows:
        width, colour = WIDTH * row["share"], colours.get(row["name"], GREY)
        tip = f"{row['name']}: {row['ms']:.2f} ms, {percent(row['share'], 1)}"
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


def label(x: float, y: float, text: str, anchor: str = "start") -> str:
    """Draw text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str = "#888") -> str:
    """Draw a line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def roofline(profile: Profile, colours: Mapping[str, str]) -> str:
    """Draw GFLOP/s over FLOP/byte, both logarithmic, below the measured roofs; a circle's area is its time."""
    machine, height, left, bottom = profile["machine"], 420, 60, 380
    points = [row for row in profile["rows"] if row["flops"] and row["bytes"]]
    low, high = 2.0**-4, max([64.0, *(2 * row["intensity"] for row in points)])
    top = 2 * machine["gflops"]
    floor = min([machine["gflops"] / 256, *(row["gflops"] / 2 for row in points if row["gflops"] > 0)])

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
    for level, gbytes in machine["gbytes"].items():
        begin, knee = max(low, floor / gbytes), peak / gbytes
        x1, y1 = place(begin, gbytes * begin)
        parts.append(line(x1, y1, *place(knee, peak)) + label(x1 + 6, y1 - 6, f"{level}: {gbytes:.0f} GB/s"))
    ridge = min(peak / gbytes for gbytes in machine["gbytes"].values())
    x, y = place(ridge, peak)
    parts.append(line(x, y, WIDTH - 20, y) + label(WIDTH - 24, y - 6, f"multiply-adds: {peak:.0f} GFLOP/s", "end"))
    for row in points:
        x, y = place(row["intensity"], row["gflops"])
        tip = f"{row['name']}: {row['gflops']:.0f} GFLOP/s at {row['intensity']:.1f} FLOP/byte"
        radius = 3 + 30 * math.sqrt(row["share"])
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colours.get(row["name"], GREY)}" '
            f'fill-opacity="0.75"><title>{escape(tip)}</title></circle>'
        )
    return svg(height, "".join(parts))


def timeline(profile: Profile, colours: Mapping[str, str]) -> str:
    """Draw the threads' first events: as long as two batches take on average, after the first one of all."""
    events = profile["trace"]
    if not events:
        return "<p>no events</p>"
    span = min(
        2e3 * profile["profiled_ms"] / profile["batches"],
        max(event["begin_us"] + event["duration_us"] for event in events),
    )
    # The first batches find cold caches; begin later where there are events.
    latest = min(
        max(event["begin_us"] for event in events if event["thread"] == thread)
        for thread in {event["thread"] for event in events}
    )
    start = max(0.0, min(10 * span, latest - span))
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
                colour = colours.get(event["name"], GREY)
                parts.append(box(left + (begin - start) * scale, 30 * k, (end - begin) * scale, 26, colour, tip))
    height = 30 * len(threads) + 20
    parts.append(label(left, height - 4, f"{start:.0f} µs") + label(WIDTH, height - 4, f"{start + span:.0f} µs", "end"))
    return svg(height, "".join(parts))


def row_table(rows: Sequence[Profile]) -> str:
    """Return the rows as an HTML table."""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in HEAD)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row_cells(row)) for row in rows]
    return "<table>" + "".join(f"<tr>{cells}</tr>" for cells in lines) + "</table>"
