"""A network as a picture for slides: maps as stacks, as in LeCun et al. 1998, vectors as bars; an SVG file."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from lenumba.engine.network.layers import Shape
from lenumba.engine.network.network import Network, Unit
from lenumba.engine.report.page import escape

LARGEST, SMALLEST = 120, 16  # pixels of a side of a map
SHIFT, MOST = 6, 8  # pixels between the maps of a stack, and how many of them are drawn at most
BAR, TALLEST = 16, 150  # pixels of a vector
CELLS = 16  # values up to which a vector is drawn value by value
ACROSS = 9  # stages of a row
LINE, CHARACTER, MARGIN, GAP = 19, 7.6, 24, 44
WORDS = {
    "average_pool": "average pool",
    "max_pool": "max pool",
    "global_average_pool": "global average",
    "global_max_pool": "global maximum",
    "batch_norm": "batch norm",
    "add": "sum",
}
LIGHT = {
    "paper": "fill: #ffffff",
    "ink": "fill: #1c1c1a",
    "faint": "fill: #55554f",
    "line": "stroke: #55554f; fill: none",
    "image": "fill: #ffffff; stroke: #1c1c1a",
    "conv": "fill: #d3e5f6; stroke: #0b4f8a",
    "pool": "fill: #fbe2cb; stroke: #9a4a00",
    "flat": "fill: #e6e6e0; stroke: #3c3c38",
    "window": "fill: none; stroke: #1c1c1a",
}
DARK = {
    "paper": "fill: #161618",
    "ink": "fill: #ececea",
    "faint": "fill: #b4b4ae",
    "line": "stroke: #a9a9a4; fill: none",
    "image": "fill: #161618; stroke: #ececea",
    "conv": "fill: #123a5c; stroke: #7cc0f2",
    "pool": "fill: #553010; stroke: #f4a860",
    "flat": "fill: #38383c; stroke: #cfcfc9",
    "window": "fill: none; stroke: #ececea",
}
THEMES = ("auto", "light", "dark")


@dataclass
class Stage:
    """A tensor that is drawn: `kind` is how, `words` what made it, `window` (height, width) what its maps slid over.

    `source` is the number of the stage that it was made of, `shortcut` that of another one that is added, and `by` what
    stands on the way from there.
    """

    name: str
    shape: Shape
    kind: str
    words: list[str] = field(default_factory=list)
    window: tuple[int, int] | None = None
    source: int = 0
    shortcut: int | None = None
    by: str = ""
    parameters: int = 0
    x: float = 0.0
    y: float = 0.0  # of the front map, or the bar
    width: float = 0.0
    height: float = 0.0

    @property
    def flat(self) -> bool:
        """Whether it is a vector."""
        return self.shape[1:] == (1, 1) and self.kind != "image"

    @property
    def shown(self) -> int:
        """How many maps are drawn."""
        return 1 if self.flat else min(self.shape[0], MOST)

    @property
    def size_text(self) -> str:
        """Its size as people write it: 6@8×8."""
        channels, height, width = self.shape
        return str(channels) if self.flat else f"{channels}@{height}×{width}"


def architecture_svg(network: Network, title: str, theme: str = "auto") -> str:
    """Return a picture of a network as SVG.

    Parameters
    ----------
    theme
        ``light``, ``dark``, or ``auto``, which goes by what the viewer prefers and is light where it cannot tell.
    """
    stages = stages_of(network)
    largest = max(max(stage.shape[1:]) for stage in stages)
    bottom, width = MARGIN + LINE * 1.6, len(title) * 9.5 + 2 * MARGIN
    for start in range(0, len(stages), ACROSS):
        row = stages[start : start + ACROSS]
        width = max(width, place(row, bottom, largest))
        bottom = max(stage.y + stage.height + LINE * (len(stage.words) + 1) for stage in row) + GAP
    height = bottom - GAP + MARGIN
    drawn = [text(MARGIN, MARGIN + 14, title, "ink title", "start")]
    for stage in stages:
        drawn += picture(stage)
    for number in range(1, len(stages)):
        drawn += way_to(number, stages)
    body = "\n".join(drawn)
    about = escape(f"{title}: " + ", ".join(f"{stage.name} {stage.size_text}" for stage in stages))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{about}">\n<style>{style(theme)}</style>\n'
        f'<rect class="paper" width="100%" height="100%"/>\n{body}\n</svg>\n'
    )


def style(theme: str) -> str:
    """Return the style sheet: colours are told apart by the colour-blind, and what they mean is also written."""
    common = "text { font: 15px Helvetica, Arial, sans-serif } .title { font-size: 18px; font-weight: bold } "
    common += (
        ".name { font-weight: bold } .line { stroke-width: 1 } .arc { stroke-width: 2 } .window { stroke-width: 1.5 } "
    )
    rules = [" ".join(f".{name} {{ {rule} }}" for name, rule in colours.items()) for colours in (LIGHT, DARK)]
    if theme != "auto":
        return common + rules[theme == "dark"]
    return f"{common}{rules[0]} @media (prefers-color-scheme: dark) {{ {rules[1]} }}"


def stages_of(network: Network) -> list[Stage]:
    """Return what is drawn of a network: activations, norms and the like are words beside what they work on."""
    stages = [Stage("input", network.input_shape, "image")]
    at = {0: 0}  # the stage in which each tensor is drawn
    ways = {0: ""}  # what stands on the way from there, of tensors that are not drawn
    waiting: list[str] = []
    for number, unit in enumerate(network.units, 1):
        kind, first = unit.layer.kind, at[unit.inputs[0]]
        if ".shortcut." in unit.path:
            at[number], ways[number] = first, ", ".join(filter(None, [ways.get(unit.inputs[0], ""), described(unit)]))
            continue
        if kind in ("activation", "batch_norm", "dropout"):
            at[number] = first
            join(stages[first].words, described(unit))
        elif kind == "flatten":
            at[number] = first
            waiting.append("flatten")
        else:
            words = [", ".join([*waiting, described(unit)])]
            stage = Stage(unit.name, unit.output, drawn_as(unit), words, window_of(unit), first)
            waiting = []
            if len(unit.inputs) > 1:
                stage.shortcut, stage.by = at[unit.inputs[1]], ways.get(unit.inputs[1], "") or "shortcut"
            at[number] = len(stages)
            stages.append(stage)
        stages[at[number]].parameters += unit.parameter_count
    if network.loss.fused:
        join(stages[-1].words, network.loss.fused)
    for number, stage in enumerate(stages):
        if stage.shortcut is not None and stage.shortcut // ACROSS != number // ACROSS:
            stage.words.append(f"+ {stages[stage.shortcut].name}")
        stage.words += [f"{stage.parameters:,} parameters"] * (stage.parameters > 0)
    return stages


def join(words: list[str], more: str) -> None:
    """Write a function below what it works on, on one line with others."""
    words[1:] = [", ".join([*words[1:], more])]


def described(unit: Unit) -> str:
    """Say what a unit does."""
    layer = unit.layer
    window = "×".join(map(str, window_of(unit) or ()))
    groups = getattr(layer, "groups", 1)
    what = "depthwise conv" if layer.kind == "conv" and groups == unit.shape[0] > 1 else layer.kind
    stride = getattr(layer, "stride", None) if layer.kind == "conv" else None
    steps = "" if stride in (None, 1, (1, 1)) else f" / {stride if isinstance(stride, int) else max(stride)}"
    function = getattr(layer, "function", None)
    return f"{function or WORDS.get(what, what)} {window}".strip() + steps


def drawn_as(unit: Unit) -> str:
    """Return the kind of picture."""
    if unit.output[1:] == (1, 1):
        return "flat"
    return "pool" if "pool" in unit.layer.kind else "conv"


def window_of(unit: Unit) -> tuple[int, int] | None:
    """Return the (height, width) of a layer's sliding window; None where it has none."""
    window = unit.layer.described().get("window")
    return None if window is None else (window[0], window[1])


def place(row: list[Stage], top: float, largest: int) -> float:
    """Give the stages of a row their sizes and places below `top`; return its width. Maps share one scale."""
    for stage in row:
        channels, height, width = stage.shape
        if stage.flat:
            stage.width, stage.height = BAR, min(TALLEST, 30 + 20 * math.log2(channels + 1))
        else:
            longest = max(height, width)
            scale = max(SMALLEST, LARGEST * (longest / largest) ** 0.7) / longest
            stage.width, stage.height = max(SMALLEST / 2, width * scale), max(SMALLEST / 2, height * scale)
    depth = max(SHIFT * (stage.shown - 1) for stage in row)
    arcs = LINE * 2 if any(stage.shortcut is not None for stage in row) else 0
    middle = top + 2.4 * LINE + arcs + depth / 2 + max(stage.height for stage in row) / 2
    x = float(MARGIN)
    for stage in row:
        stack = stage.width + SHIFT * (stage.shown - 1)
        words = max(len(line) for line in [stage.name, stage.size_text, *stage.words]) * CHARACTER
        column = max(stack, words)
        stage.x = x + (column - stack) / 2 + SHIFT * (stage.shown - 1)
        stage.y = middle - stage.height / 2 + SHIFT * (stage.shown - 1) / 2
        x += column + GAP
    return x - GAP + MARGIN


def picture(stage: Stage) -> Iterator[str]:
    """Yield a stage: its maps from the last to the first, or its bar, and what is written about it."""
    for k in reversed(range(stage.shown)):
        yield rectangle(stage.x - SHIFT * k, stage.y - SHIFT * k, stage.width, stage.height, stage.kind)
    if stage.flat and stage.shape[0] <= CELLS:
        for k in range(1, stage.shape[0]):
            y = stage.y + stage.height * k / stage.shape[0]
            yield line(stage.x, y, stage.x + stage.width, y)
    middle = stage.x + (stage.width - SHIFT * (stage.shown - 1)) / 2
    top = stage.y - SHIFT * (stage.shown - 1)
    yield text(middle, top - LINE - 6, stage.name, "ink name")
    yield text(middle, top - 8, stage.size_text, "ink")
    for k, words in enumerate(stage.words, 1):
        yield text(middle, stage.y + stage.height + LINE * k + 4, words, "faint")


def way_to(number: int, stages: list[Stage]) -> Iterator[str]:
    """Yield the lines from the stage that another is made of, and the arc of what is added to it."""
    stage, row = stages[number], number // ACROSS
    source = stages[stage.source]
    if stage.source // ACROSS == row:
        yield from rays(source, stage)
    else:
        yield text(source.x + source.width + 14, source.y + source.height / 2 + 5, "→", "ink")
    if stage.shortcut is not None and stage.shortcut // ACROSS == row:
        start, end = (one.x + one.width / 2 - SHIFT * (one.shown - 1) / 2 for one in (stages[stage.shortcut], stage))
        between = [one for one in stages[row * ACROSS : number + 1] if one.x >= stages[stage.shortcut].x]
        top = min(one.y - SHIFT * (one.shown - 1) for one in between) - 2.4 * LINE
        curve = (
            f"M{start:.1f} {top:.1f} C{start + 30:.1f} {top - 30:.1f} {end - 30:.1f} {top - 30:.1f} {end:.1f} {top:.1f}"
        )
        yield f'<path class="line arc" d="{curve}"/>'
        yield text((start + end) / 2, top - 28, stage.by, "faint")


def rays(source: Stage, stage: Stage) -> Iterator[str]:
    """Yield the window on the source's front map and its lines to one value; else lines from end to end."""
    right, left = source.x + source.width, stage.x - SHIFT * (stage.shown - 1)
    if stage.window is None or source.flat or stage.flat:
        yield line(right, source.y, left, stage.y - (0 if stage.flat else SHIFT * (stage.shown - 1)))
        yield line(right, source.y + source.height, left, stage.y + stage.height - (left < stage.x) * (stage.x - left))
        return
    tall, wide = (
        extent * min(1.0, taps / size)
        for extent, taps, size in zip((source.height, source.width), stage.window, source.shape[1:], strict=True)
    )
    x, y = right - wide - 0.12 * (source.width - wide), source.y + 0.55 * (source.height - tall)
    end = (stage.x + 0.25 * stage.width, stage.y + 0.5 * stage.height)
    yield rectangle(x, y, wide, tall, "window")
    yield line(x + wide, y, *end)
    yield line(x + wide, y + tall, *end)


def rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Return a rectangle."""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def line(x: float, y: float, right: float, bottom: float) -> str:
    """Return a line."""
    return f'<path class="line" d="M{x:.1f} {y:.1f} L{right:.1f} {bottom:.1f}"/>'


def text(x: float, y: float, words: str, kind: str, anchor: str = "middle") -> str:
    """Return a line of text."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
