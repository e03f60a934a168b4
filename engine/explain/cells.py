"""Single cells: the window that a value came from, its products and their sum, and where its gradient goes."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.explain.explain import IMAGE, Layer
from lenumba.engine.network.layers import Shape
from lenumba.engine.network.layers.windows import Box
from lenumba.kernels.reference.twin import interpreted

WRITTEN_IMAGE = "image"  # what the input is called where a cell is written: image/0,2,3


@dataclass(frozen=True)
class Window:
    """What a cell reads of one tensor: arrays float64 of its shape [channels, rows, columns], padding included.

    Attributes
    ----------
    source
        The layer that it reads, or the image.
    box
        Where it lies there; parts of it may lie in the padding.
    values
        What it holds; padding as the layer sees it.
    inside
        bool, False in the padding.
    weights, products
        What each value is multiplied by, and the products, which are summed; None where there is no sum.
    taken
        bool, the value that is the maximum; None where there is none.
    passed
        What the cell adds to the gradient of each value: δ times its weight; None where nothing is known of it.
    """

    source: str
    box: Box
    values: np.ndarray
    inside: np.ndarray
    weights: np.ndarray | None
    products: np.ndarray | None
    taken: np.ndarray | None
    passed: np.ndarray | None


@dataclass(frozen=True)
class Cell:
    """One value of a layer's output, or of the image: `place` is (channel, row, column), each from 0.

    `written` is how it is called, `layer` computed it (None: it is the image's), `field` is the part of the image that
    it depends on. `delta` is ∂L/∂y of it, `bias` what is added to the sum of products; None where there is none.
    """

    written: str
    layer: Layer | None
    shape: Shape
    place: Shape
    value: float
    delta: float | None
    equation: str
    bias: float | None
    windows: tuple[Window, ...]
    field: Box

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values; null where a window has none."""
        return {
            "cell": self.written,
            "value": self.value,
            "delta": self.delta,
            "equation": self.equation,
            "bias": self.bias,
            "windows": [
                {
                    "source": window.source,
                    "box": [list(span) for span in window.box],
                    "values": np.where(window.inside, window.values, 0).tolist(),
                    **{
                        key: listed(getattr(window, key))
                        for key in ("inside", "weights", "products", "taken", "passed")
                    },
                }
                for window in self.windows
            ],
            "field": [list(span) for span in self.field],
        }


def listed(array: np.ndarray | None) -> Any:
    """Return an array as lists."""
    return None if array is None else array.tolist()


def find_cell(
    text: str, layer: str | None, layers: Sequence[Layer], image: np.ndarray, image_delta: np.ndarray | None
) -> Cell:
    """Return the cell that is written as ``conv1/0,2,3``: layer/channel,row,column; of flat layers ``dense1/3``.

    Parameters
    ----------
    layer
        The layer of a cell that is written without one.
    image, image_delta
        The input of the first layer [C, H, W], and ∂L/∂x of it.

    Raises
    ------
    ConfigError
        Where there is no such cell.
    """
    names = [WRITTEN_IMAGE, *(item.unit.name for item in layers)]
    head, slash, tail = text.rpartition("/")
    name = head if slash else layer
    if name not in names:
        found = f"found {name!r}" if name else "found no layer"
        raise ConfigError(
            f"--cell {text}: expected LAYER/CHANNEL,ROW,COLUMN, the layer one of {', '.join(names)}, {found}"
        )
    number = names.index(name) - 1
    shape: Shape = image.shape if number < 0 else layers[number].unit.output  # type: ignore[assignment]
    indices = [int(part) for part in tail.split(",")] if re.fullmatch(r"\d{1,9}(,\d{1,9})*", tail) else []
    flat = shape[1:] == (1, 1)
    if len(indices) == 1 and flat:
        indices += [0, 0]
    if len(indices) != 3 or any(index >= extent for index, extent in zip(indices, shape, strict=True)):
        ends = str(shape[0] - 1) if flat else ",".join(str(extent - 1) for extent in shape)
        first = "0" if flat else "0,0,0"
        raise ConfigError(f"--cell {text}: expected from {name}/{first} to {name}/{ends}, found {tail or 'nothing'}")
    place: Shape = tuple(indices)  # type: ignore[assignment]
    written = f"{name}/{','.join(map(str, place[:1] if flat else place))}"
    if number < 0:
        delta = None if image_delta is None else float(image_delta[place])
        box: Box = tuple((at, at + 1) for at in place)  # type: ignore[assignment]
        return Cell(written, None, shape, place, float(image[place]), delta, "", None, (), box)
    item = layers[number]
    delta = None if item.delta is None else float(item.delta[place])
    bias = item.parameters["bias"][place[0]] if has_bias(item) else None
    return Cell(
        written, item, shape, place, float(item.y[place]), delta, item.equations.y,
        None if bias is None else float(bias), windows_of(item, number, layers, place, delta),
        field_of(layers, number, place),
    )  # fmt: skip


def has_bias(layer: Layer) -> bool:
    """Return whether a constant is added to sums of products."""
    return layer.unit.layer.combines == "sum" and "bias" in layer.parameters


def windows_of(
    item: Layer, number: int, layers: Sequence[Layer], place: Shape, delta: float | None
) -> tuple[Window, ...]:
    """Return what the value at a place reads: a window of each tensor that its layer takes."""
    layer, shape = item.unit.layer, item.unit.shape
    if (box := layer.reads(shape, place)) is None:
        return ()
    names = [IMAGE, *(other.unit.name for other in layers)]
    slopes: Any = None
    windows = []
    for nth, (tensor, x) in enumerate(zip(item.unit.inputs, item.inputs, strict=True)):
        values, inside = cut(x, box, -math.inf if layer.combines == "max" else 0.0)
        weights = products = taken = passed = None
        if layer.combines == "sum":
            weights = np.asarray(layer.weights(item.parameters, shape, place), np.float64)
            products = values * weights
            passed = None if delta is None else delta * weights
        elif layer.combines == "max":
            taken = np.zeros(values.shape, bool)
            taken.flat[values.argmax()] = True
            passed = None if delta is None else delta * taken
        elif delta is not None:
            if slopes is None:
                lone = np.zeros((1, *item.y.shape))
                lone[(0, *place)] = delta
                batch = [x[np.newaxis] for x in item.inputs]
                inputs: Any = tuple(batch) if len(batch) > 1 else batch[0]
                with interpreted():
                    slopes, _ = layer.plain_backward(item.parameters, inputs, item.y[np.newaxis], lone)
            passed, _ = cut((slopes[nth] if len(item.inputs) > 1 else slopes)[0], box, 0.0)
        windows.append(Window(names[tensor], box, values, inside, weights, products, taken, passed))
    return tuple(windows)


def cut(x: np.ndarray, box: Box, outside: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a box of a tensor [C, H, W] with `outside` where it lies in the padding, and bool where it does not."""
    values = np.full([stop - start for start, stop in box], outside)
    inside = np.zeros(values.shape, bool)
    clipped = [(max(start, 0), min(stop, extent)) for (start, stop), extent in zip(box, x.shape, strict=True)]
    if all(stop > start for start, stop in clipped):
        there = tuple(slice(*span) for span in clipped)
        here = tuple(slice(start - first, stop - first) for (start, stop), (first, _) in zip(clipped, box, strict=True))
        values[here], inside[here] = x[there], True
    return values, inside


def field_of(layers: Sequence[Layer], number: int, place: Shape) -> Box:
    """Return the receptive field in the image of a layer's output: the smallest box that holds all it depends on."""
    wanted: dict[int, Box] = {number + 1: tuple((at, at + 1) for at in place)}  # type: ignore[dict-item]
    for k in range(number, -1, -1):
        if (box := wanted.pop(k + 1, None)) is None:
            continue
        unit = layers[k].unit
        for tensor in unit.inputs:
            part = clip(read_by(unit, box), unit.shape)
            wanted[tensor] = hull(wanted[tensor], part) if tensor in wanted else part
    return wanted[0]


def read_by(unit: Any, box: Box) -> Box:
    """Return what a box of a unit's output is made of."""
    corners = [tuple(span[0] for span in box), tuple(span[1] - 1 for span in box)]
    parts = [unit.layer.reads(unit.shape, corner) for corner in corners]
    if None in parts or (unit.layer.passes_through and unit.layer.gives_flat and box[0][1] - box[0][0] > 1):
        return tuple((0, extent) for extent in unit.shape)  # type: ignore[return-value]
    return hull(*parts)


def hull(one: Box, other: Box) -> Box:
    """Return the smallest box that holds both."""
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))  # type: ignore[return-value]


def clip(box: Box, shape: Shape) -> Box:
    """Return the part of a box that lies in a tensor of `shape`; its nearest edge where none does."""
    spans = []
    for (start, stop), extent in zip(box, shape, strict=True):
        start = min(max(start, 0), extent - 1)
        spans.append((start, min(max(stop, start + 1), extent)))
    return tuple(spans)  # type: ignore[return-value]
