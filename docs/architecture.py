"""Draw docs/architecture.svg, the rooms and the imports between them: python docs/architecture.py."""

import sys
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from rooms import list_rooms, rooms_imported

WIDTH, HEIGHT, GAP, STEP = 210, 34, 26, 84  # of a room; between rooms of a row; from row to row
STYLE = """<style>
text { font: 13px system-ui, sans-serif; text-anchor: middle; fill: #1f2328 }
rect { fill: #f6f8fa; stroke: #57606a; rx: 6px } rect.kernels { fill: #fff3d6 } rect.engine { fill: #dcebfa }
path { fill: none; stroke: #57606a; stroke-width: 1.2; opacity: .75 } path.far { opacity: .13 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } rect { fill: #2d333b }
rect.kernels { fill: #4b3d14 } rect.engine { fill: #17375e } path { stroke: #9aa5b1 } }
</style>"""


def reached(room: str, arrows: dict[str, set[str]]) -> set[str]:
    """Return every room that a room imports, directly or through others."""
    return arrows[room].union(*(reached(other, arrows) for other in arrows[room]))


def rows_of(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the rooms in rows: each stands above all that it imports."""
    levels: dict[str, int] = {}
    for room in list_rooms():  # in the order of imports
        levels[room] = max((levels[other] + 1 for other in arrows[room]), default=0)
    return [[room for room in levels if levels[room] == level] for level in range(max(levels.values()), -1, -1)]


def draw() -> str:
    """Return the picture. Dark arrows are enough to tell the order; pale ones are the other imports."""
    arrows = rooms_imported()
    rows = rows_of(arrows)
    width = max(map(len, rows)) * (WIDTH + GAP) + GAP
    place = {
        room: ((k + 0.5) * width / len(row), GAP + level * STEP)
        for level, row in enumerate(rows)
        for k, room in enumerate(row)
    }
    lines, boxes = [], []
    for room, others in arrows.items():
        x, y = place[room]
        boxes.append(
            f'<rect class="{room.partition("/")[0]}" x="{x - WIDTH / 2:g}" y="{y}" width="{WIDTH}" height="{HEIGHT}"/>'
        )
        boxes.append(f'<text x="{x:g}" y="{y + 22}">{escape(room)}</text>')
        for other in sorted(others):
            far = ' class="far"' * any(other in reached(between, arrows) for between in others - {other})
            (u, v), bend = place[other], STEP / 2
            curve = f"M{x:g} {y + HEIGHT}C{x:g} {y + HEIGHT + bend:g} {u:g} {v - bend:g} {u:g} {v}"
            lines.append(f'<path{far} d="{curve}"><title>{escape(f"{room} → {other}")}</title></path>')
    size = f'viewBox="0 0 {width} {len(rows) * STEP}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', STYLE, *lines, *boxes, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")
