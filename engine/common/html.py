"""Pieces of HTML that notebooks show: tables, figures, text, and small curves as SVG; no library is needed for them."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from lenumba.engine.common.targets import panels

# Of Okabe & Ito 2008, told apart by dashes as well.
STYLES = (("#0072b2", "6 3"), ("#d55e00", ""))
WIDTH, HEIGHT, LEFT, BOTTOM = 330, 190, 44, 32


def table_html(header: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Return a table; the first `left` columns are flush left, the others flush right."""
    sides = ["left" if k < left else "right" for k in range(len(header))]

    def line(tag: str, cells: Sequence[object]) -> str:
        pairs = zip(cells, sides, strict=True)
        return "".join(f'<{tag} style="text-align:{side}">{escape(str(cell))}</{tag}>' for cell, side in pairs)

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{line('th', header)}</tr></thead><tbody>{body}</tbody></table>"


def text_html(text: str) -> str:
    """Return text as it stands, in letters of one width."""
    return f'<pre style="line-height:1.25;overflow-x:auto">{escape(text)}</pre>'


def heading_html(title: str, figures: Mapping[str, object]) -> str:
    """Return a title and figures behind it, in one line."""
    told = " &nbsp; ".join(f"{escape(name)}&nbsp;<b>{escape(str(value))}</b>" for name, value in figures.items())
    return f"<p><b>{escape(title)}</b> &nbsp; {told}</p>"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers, about `count` of them, from `low` to `high`."""
    span = max(high - low, 1e-12)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= span / count)
    first = -(-low // step)
    return [round((first + k) * step, 10) for k in range(count + 3) if (first + k) * step <= high + 1e-9 * span]


def chart_svg(
    label: str,
    epochs: Sequence[int],
    lines: Mapping[str, Sequence[float | None]],
    last: int = 0,
    best: int | None = None,
) -> str:
    """Return curves over the epochs as SVG: two lines at most; `last` epoch of the axis, the `best` one marked.

    Its text takes the colour of what surrounds it, so that it is read on dark and on light.
    """
    lines = {name: values for name, values in lines.items() if any(value is not None for value in values)}
    known = [value for values in lines.values() for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high, last = low - pad, high + pad, max(last, *epochs, epochs[0] + 1)

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * (epoch - epochs[0]) / (last - epochs[0])

    def y(value: float) -> float:
        return 18 + (HEIGHT - 18 - BOTTOM) * (high - value) / (high - low)

    parts = []
    for value in ticks(low, high):
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - 10}" stroke="currentColor" opacity=".15"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in (tick for tick in ticks(epochs[0], last, 5) if tick == int(tick)):
        parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 3}" text-anchor="middle">epoch</text>')
    parts.append(f'<text x="{LEFT}" y="11" font-weight="bold">{escape(label)}</text>')
    for k, ((name, values), (colour, dashes)) in enumerate(zip(lines.items(), STYLES, strict=False)):
        points = [(x(e), y(v)) for e, v in zip(epochs, values, strict=True) if v is not None]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        parts.append(f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="2.5" fill="{colour}"/>')
        right = WIDTH - 10 - 85 * (len(lines) - 1 - k)
        parts.append(f'<text x="{right}" y="11" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<path d="M{right - 78} 8h22" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>')
    if best is not None and best in epochs:
        parts.append(
            f'<path d="M{x(best):.1f} 18V{HEIGHT - BOTTOM}" stroke="currentColor" stroke-dasharray="2 3" opacity=".6">'
            f"<title>best epoch: {best}</title></path>"
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" style="max-width:100%;height:auto;font:11px sans-serif" '
        f'fill="currentColor" role="img" aria-label="{escape(label)} over the epochs">{"".join(parts)}</svg>'
    )


def curves_html(history: Sequence[Mapping[str, object]], last: int = 0, best: int | None = None) -> str:
    """Return loss and figures of a run's epochs, one dict an epoch, as small charts side by side."""
    if not history:
        return ""
    epochs = [int(str(line["epoch"])) for line in history]

    def values(key: str, scale: float) -> list[float | None]:
        return [scale * value if isinstance(value := line.get(key), int | float) else None for line in history]

    charts = [
        chart_svg(
            panel.label, epochs, {name: values(key, panel.scale) for name, key in panel.keys().items()}, last, best
        )
        for panel in panels(history)
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(charts)}</div>'
