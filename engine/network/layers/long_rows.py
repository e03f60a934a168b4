"""A convolution's kernel calls for one image at a time: planes as long rows.

See :mod:`lenumba.kernels.layers.pixels`.
"""

from dataclasses import dataclass
from typing import Any

from lenumba.engine.network.layers.base import Margins, Node, Shape, ranges
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Call, Place, Tensor
from lenumba.kernels.vector.tiling import tiles

COLUMNS = 8


@dataclass(frozen=True)
class Rows:
    """Sizes of the scratch memory, in floats, and where its parts begin.

    Attributes
    ----------
    height, width
        The padded input's.
    outputs, inputs
        Vectors that cover one map of the output, and one of the padded input.
    lead
        Zeros before each map of dy, and behind the last: more than the taps reach.
    """

    shape: Shape
    maps: int
    height: int
    width: int
    outputs: int
    inputs: int
    lead: int
    padded: bool

    @property
    def y(self) -> int:
        """Where the output's long rows begin; the padded input comes before."""
        return LANES * (1 + vectors(self.shape[0] * self.height * self.width)) if self.padded else 0

    @property
    def dy(self) -> int:
        """Where dy's long rows begin, behind their first zeros."""
        return self.y + self.maps * self.outputs * LANES + self.lead

    @property
    def dy_plane(self) -> int:
        """From one map of dy to the next."""
        return self.outputs * LANES + self.lead

    @property
    def dx(self) -> int:
        """Where dx's long rows begin."""
        return self.dy + self.maps * self.dy_plane

    @property
    def size(self) -> int:
        """All of it."""
        return self.dx + self.shape[0] * self.inputs * LANES


def vectors(size: int) -> int:
    """Return the whole vectors that hold `size` floats."""
    return -(-size // LANES)


def rows_for(shape: Shape, maps: int, kernel: tuple[int, int], margins: Margins) -> Rows:
    """Return the sizes for an input of `shape`."""
    top, left, bottom, right = margins
    height, width = top + shape[1] + bottom, left + shape[2] + right
    reach = (kernel[0] - 1) * width + kernel[1] - 1
    outputs, inputs = vectors(height * width - reach), vectors(height * width)
    lead = LANES * vectors(reach + LANES)
    return Rows(shape, maps, height, width, outputs, inputs, lead, any(margins))


def forward_calls(layer: Any, node: Node, rows: Rows, kernel: tuple[int, int], stride: tuple[int, int]) -> list[Call]:
    """Return the calls of the forward pass: padding, one long row a map, and its columns copied out."""
    y, flat = node.y, part(node, rows.y)
    x, calls = padded_input(layer, node, rows)
    pointers = [x, node.parameters["kernel"], node.parameters.get("bias", "theta"), flat, "none"]
    sizes = shapes(rows, kernel) | {"OH": 1, "Y_ROW": 0, "Y_PLANE": rows.outputs * LANES, "BIAS": layer.bias}
    calls += [
        Call("conv_forward", pointers, sizes | ranges("M", "J", tile))
        for tile in tiles(rows.maps, rows.outputs, COLUMNS, node.registers)
    ]
    outer = {"X_PLANE": rows.outputs * LANES, "X_ROW": stride[0] * rows.width, "X_STEP": stride[1]}
    inner = {"Y_PLANE": y.plane, "Y_ROW": y.row, "Y_STEP": 1}
    return [*calls, Call("copy_strided", [flat, y.interior], extents(y) | outer | inner)]


def backward_calls(layer: Any, node: Node, rows: Rows, kernel: tuple[int, int], stride: tuple[int, int]) -> list[Call]:
    """Return the calls of the backward pass: dy spread to long rows, and the gradients from there."""
    dy, flat = node.dy, part(node, rows.dy)
    outer = {"X_PLANE": dy.plane, "X_ROW": dy.row, "X_STEP": 1}
    inner = {"Y_PLANE": rows.dy_plane, "Y_ROW": stride[0] * rows.width, "Y_STEP": stride[1]}
    calls = [Call("copy_strided", [dy.interior, flat], extents(dy) | outer | inner)]
    if layer.trainable:
        x = part(node, 0) if rows.padded else node.x.interior
        sizes = shapes(rows, kernel) | {"OH": 1, "OW": rows.outputs, "Y_ROW": 0, "Y_PLANE": rows.dy_plane}
        calls += [
            Call("conv_weight_gradient", [x, flat, node.gradients["kernel"]], sizes | ranges("M", "V", tile))
            for tile in tiles(rows.maps, kernel[1], COLUMNS, node.registers)
        ]
        if layer.bias:
            sizes = {"M": rows.maps, "OH": 1, "OW": rows.outputs, "Y_ROW": 0, "Y_PLANE": rows.dy_plane // LANES}
            calls.append(Call("conv_bias_gradient", [flat, node.gradients["bias"]], sizes))
    if node.dx is not None:
        calls += input_gradient(layer, node, node.dx, rows, kernel, flat)
    return calls


def input_gradient(layer: Any, node: Node, dx: Tensor, rows: Rows, kernel: tuple[int, int], flat: Place) -> list[Call]:
    """Return the calls of the input gradient: into long rows, without the padding copied out."""
    channels = rows.shape[0]
    plane = rows.inputs * LANES
    pointers = [flat, node.parameters["kernel"], part(node, rows.dx)]
    sizes = {"C": channels, "X_ROW": rows.width, "X_PLANE": plane, "KH": kernel[0], "KW": kernel[1]}
    sizes |= {"M": rows.maps, "Y_PLANE": rows.dy_plane}
    calls = [
        Call("conv_input_gradient_pixels", pointers, sizes | ranges("C", "J", tile))
        for tile in tiles(channels, rows.inputs, COLUMNS, node.registers)
    ]
    top, left = layer.margins(rows.shape)[:2]
    outer = {"X_PLANE": plane, "X_ROW": rows.width, "X_STEP": 1}
    inner = {"Y_PLANE": dx.plane, "Y_ROW": dx.row, "Y_STEP": 1}
    inside = part(node, rows.dx + top * rows.width + left)
    return [*calls, Call("copy_strided", [inside, dx.interior], extents(dx) | outer | inner)]


def padded_input(layer: Any, node: Node, rows: Rows) -> tuple[Place, list[Call]]:
    """Return where the input with its padding lies, and the call that copies it there if it needs any."""
    x = node.x
    if not rows.padded:
        return x.interior, []
    top, left = layer.margins(rows.shape)[:2]
    outer = {"X_PLANE": x.plane, "X_ROW": x.row, "X_STEP": 1}
    inner = {"Y_PLANE": rows.height * rows.width, "Y_ROW": rows.width, "Y_STEP": 1}
    inside = part(node, top * rows.width + left)
    return part(node, 0), [Call("copy_strided", [x.interior, inside], extents(x) | outer | inner)]


def shapes(rows: Rows, kernel: tuple[int, int]) -> dict[str, int]:
    """Name the sizes as the convolution kernels do."""
    sizes = {"C": rows.shape[0], "X_ROW": rows.width, "X_PLANE": rows.height * rows.width}
    return sizes | {"KH": kernel[0], "KW": kernel[1], "SH": 1, "SW": 1, "UNIT": 1}


def extents(tensor: Tensor) -> dict[str, int]:
    """Name a tensor's extents as the kernels do."""
    return {"C": tensor.channels, "H": tensor.height, "W": tensor.width}


def part(node: Node, offset: int) -> Place:
    """Return a place in the layer's scratch memory."""
    return Place("work", node.scratch.offset + offset)
