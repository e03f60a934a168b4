"""A single cell, and a worked example, as plain text."""

from collections.abc import Sequence

import numpy as np

from lenumba.engine.explain.cells import Cell, Window
from lenumba.engine.explain.explain import Layer
from lenumba.engine.explain.explain_text import (
    backward_lines,
    below,
    forward_lines,
    gradient,
    laid_out,
    section,
    symbol,
    tensor,
)
from lenumba.engine.explain.worked import Worked
from lenumba.engine.network.layers.windows import Box
from lenumba.kernels.program.plan import shape_text

TERMS = 36  # products up to which a sum is written out
SHARE = "share"  # what a mean multiplies by
WHOLE = 1024  # values up to which a worked example's tensors are printed whole


def worked_text(worked: Worked, width: int = 80, layer: str | None = None) -> str:
    """Return a worked example: forward, and backward where a gradient is given; of one layer where it is named."""
    layers = [item for item in worked.layers if layer in (None, item.unit.name)]
    lines = [f"{worked.name}: {shape_text(*worked.image.shape)}, values as they are", *worked.notes, "", "FORWARD"]
    if layers[0] is worked.layers[0]:
        lines += section("image", [], tensor("x", worked.image, WHOLE, width), width)
    for item in layers:
        lines += forward_lines(item, WHOLE, width)
    if worked.image_delta is not None:
        lines += ["", "BACKWARD, δ = ∂L/∂y, from the last layer to the first"]
        lines += laid_out(gradient("δ", layers[-1].delta, WHOLE, width), width)
        for item in reversed(layers):
            lines += backward_lines(item, below(item, worked.layers, worked.image_delta), WHOLE, width)
    return "\n".join(line.rstrip() for line in lines)


def cell_text(cell: Cell, width: int = 80) -> str:
    """Return a cell's window, products and sum, the image's part that it depends on, and where its gradient goes."""
    parameter = weights_called(cell.layer)
    lines = [f"{cell.written}   {spoken(cell.place, cell.shape)} of {shape_text(*cell.shape)}, each from 0"]
    lines += [f"  {cell.equation}"] if cell.equation else []
    for window in cell.windows:
        lines += window_lines(window, parameter, width)
    if sums := [window for window in cell.windows if window.products is not None]:
        lines += sum_lines(sums[0], cell, width)
    elif any(window.taken is not None for window in cell.windows):
        lines.append(f"  y = the maximum = {plain(cell.value)}")
    else:
        lines.append(f"  {own_text(cell)}{'y' if cell.windows else 'x'} = {plain(cell.value)}")
    if cell.equation:
        lines.append(f"  it depends on the image's {box_text(cell.field)}")
    if cell.delta is not None:
        lines.append(f"  ∂L/∂{'y' if cell.equation else 'x'} = δ = {plain(cell.delta)}")
        for window in cell.windows:
            lines += gradient_lines(window, parameter, cell.delta, width)
    return "\n".join(line.rstrip() for line in lines)


def own_text(cell: Cell) -> str:
    """Return what a layer that works value by value has for a channel."""
    if cell.layer is None:
        return ""
    own = {symbol(cell.layer, name): value for name, value in cell.layer.parameters.items() if value.ndim == 1}
    return "".join(f"{name} = {plain(value[cell.place[0]])}   " for name, value in own.items())


def weights_called(layer: Layer | None) -> str:
    """Return what a layer's weights are called: as its equations call the kernel, rotated where it slides so."""
    if layer is None or "kernel" not in layer.parameters:
        return SHARE
    letter = symbol(layer, "kernel")
    return f"rot180({letter})" if getattr(layer.unit.layer, "orientation", "") == "convolution" else letter


def window_lines(window: Window, parameter: str, width: int) -> list[str]:
    """Return what is read, what it is multiplied by, and the products."""
    outside = "" if window.inside.all() else "; what lies outside of it is padding"
    lines = [f"  reads {window.source}: {box_text(window.box)}{outside}"]
    if window.products is None or window.weights is None:
        return lines + laid_out(matrices("x", window.values, width), width)
    named = [("x", window.values), (parameter, window.weights), (f"x·{parameter}", window.products)]
    if window.values.shape[1:] == (1, 1):
        return lines + laid_out([block for name, values in named for block in matrices(name, values, width)], width)
    for channel in range(len(window.values)):
        suffix = f" {window.box[0][0] + channel}" if len(window.values) > 1 else ""
        blocks = [block for name, values in named for block in tensor(name + suffix, values[channel], None, width)]
        lines += laid_out(blocks, width)
    return lines


def sum_lines(window: Window, cell: Cell, width: int) -> list[str]:
    """Return the sum of the products, written out where they are few, and of each channel where there are several."""
    assert window.products is not None
    assert window.weights is not None
    tail = ("" if cell.bias is None else f" + {signed(cell.bias)}") + f" = {plain(cell.value)}"
    lines = []
    if window.products.size <= TERMS:
        pairs = zip(window.values.ravel(), window.weights.ravel(), strict=True)
        lines += wrapped([f"{plain(x)}·{signed(w)}" for x, w in pairs], tail, width)
    if len(window.products) > 1 and window.products[0].size > 1:
        lines.append("  sums of the channels:")
        lines += wrapped([signed(part) for part in window.products.sum(axis=(1, 2))], tail, width)
    elif window.products.size > TERMS:
        lines.append(f"  y = {plain(float(window.products.sum()))}{tail}")
    return lines


def gradient_lines(window: Window, parameter: str, delta: float, width: int) -> list[str]:
    """Return what the cell adds to the gradients of its input and of its weights."""
    lines = []
    if window.passed is not None:
        factor = f"δ·{parameter}" if window.weights is not None else "δ·∂y/∂x"
        lines.append(f"  it adds to ∂L/∂x, at {window.source}'s {box_text(window.box)}:")
        lines += laid_out(matrices(factor, window.passed, width), width)
    if window.weights is not None and parameter != SHARE:
        lines.append(f"  it adds to ∂L/∂{parameter}:")
        lines += laid_out(matrices("δ·x", delta * window.values, width), width)
    return lines


def matrices(name: str, values: np.ndarray, width: int) -> list[list[str]]:
    """Return a window [channels, rows, columns] as blocks."""
    return tensor(name, values, None, width)


def wrapped(terms: Sequence[str], tail: str, width: int) -> list[str]:
    """Return a sum in lines."""
    lines = ["  y ="]
    for number, term in enumerate(terms):
        text = term if not number else f"+ {term}"
        if len(lines[-1]) + 1 + len(text) > width:
            lines.append("     ")
        lines[-1] += f" {text}"
    if len(lines[-1]) + len(tail) > width:
        lines.append("     ")
    return [*lines[:-1], lines[-1] + tail]


def plain(value: float) -> str:
    """Write a value with up to six digits; no −0."""
    return f"{value + 0.0:.6g}".replace("-", "−", 1) if value < 0 else f"{value + 0.0:.6g}"


def signed(value: float) -> str:
    """Write a value that follows a sign."""
    return f"({plain(value)})" if value < 0 else plain(value)


def spoken(place: Sequence[int], shape: Sequence[int]) -> str:
    """Say where a value stands."""
    if tuple(shape[1:]) == (1, 1):
        return f"number {place[0]}"
    return f"channel {place[0]}, row {place[1]}, column {place[2]}"


def box_text(box: Box) -> str:
    """Say where a window lies."""
    parts = []
    for what, (start, stop) in zip(("channel", "row", "column"), box, strict=True):
        first = plain(start)
        parts.append(f"{what} {first}" if stop - start == 1 else f"{what}s {first} to {plain(stop - 1)}")
    return ", ".join(parts)
