"""A convolution's kernel calls for one image at a time: planes as long rows.

See :mod:`lenumba.kernels.layers.pixels`.
"""

from dataclasses import dataclass
from typing import Any

from lenumba.engine.network.layers.base import Node, Shape
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Call, Place, Tensor, call, geometry
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
    def input(self) -> Tensor:
        """The padded input."""
        return Tensor(self.shape[0], self.height, self.width, unit=1)

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


def rows_for(layer: Any, shape: Shape, kernel: tuple[int, int]) -> Rows:
    """Return the sizes for an input of `shape`."""
    top, left, bottom, right = margins = layer.margins(shape)
    height, width = top + shape[1] + bottom, left + shape[2] + right
    reach = (kernel[0] - 1) * width + kernel[1] - 1
    outputs, inputs = vectors(height * width - reach), vectors(height * width)
    lead = LANES * vectors(reach + LANES)
    return Rows(shape, layer.channels, height, width, outputs, inputs, lead, any(margins))


def forward_calls(layer: Any, node: Node, kernel: tuple[int, int], stride: tuple[int, int]) -> list[Call]:
    """Return the calls of the forward pass: padding, one long row a map, and its columns copied out."""
    rows = rows_for(layer, node.x.shape, kernel)
    y, flat, row = node.y, node.scratch.part(rows.y), Tensor(rows.maps, 1, rows.outputs * LANES, unit=1)
    x, calls = padded_input(layer, node, rows)
    given = {
        "x": x,
        "w": node.parameters["kernel"],
        "b": node.bias,
        "y": flat,
        "function": "none",
        "BIAS": node.has_bias,
    }
    sizes = layer.of_group(geometry(rows.input, row, kernel))
    calls += [
        call(layer.kernel_of("conv_forward"), sizes, **given, **tile)
        for tile in tiles("M", sizes["M"], "J", rows.outputs, COLUMNS, node.registers)
    ]
    strides = {"X_PLANE": row.plane, "X_ROW": stride[0] * rows.width, "X_STEP": stride[1]}
    return [*calls, copy(flat, y.interior, geometry(y, y) | strides)]


def backward_calls(layer: Any, node: Node, kernel: tuple[int, int], stride: tuple[int, int]) -> list[Call]:
    """Return the calls of the backward pass: dy spread to long rows, and the gradients from there."""
    rows = rows_for(layer, node.x.shape, kernel)
    dy, flat, row = node.dy, node.scratch.part(rows.dy), Tensor(rows.maps, 1, rows.dy_plane, unit=1)
    sizes = geometry(rows.input, row, kernel)
    strides = {"Y_PLANE": row.plane, "Y_ROW": stride[0] * rows.width, "Y_STEP": stride[1]}
    calls = [copy(dy.interior, flat, geometry(dy, dy) | strides)]
    if layer.trainable:
        x = node.scratch if rows.padded else node.x.interior
        calls += [
            call("conv_weight_gradient", sizes, x=x, dy=flat, dw=node.gradients["kernel"], OW=rows.outputs, **tile)
            for tile in tiles("M", rows.maps, "V", kernel[1], COLUMNS, node.registers)
        ]
        if layer.bias:
            planes = {"OW": rows.outputs, "Y_PLANE": rows.dy_plane // LANES}
            calls.append(call("conv_bias_gradient", sizes, dy=flat, db=node.gradients["bias"], **planes))
    if node.dx is not None:
        calls += input_gradient(layer, node, node.dx, rows, sizes, flat)
    return calls


def input_gradient(layer: Any, node: Node, dx: Tensor, rows: Rows, sizes: dict[str, int], flat: Place) -> list[Call]:
    """Return the calls of the input gradient: into long rows, without the padding copied out."""
    plane, place = rows.inputs * LANES, node.scratch.part(rows.dx)
    given = {"dy": flat, "w": node.parameters["kernel"], "dx": place}
    calls = [
        call("conv_input_gradient_pixels", sizes, **given, **tile, X_PLANE=plane)
        for tile in tiles("C", dx.channels, "J", rows.inputs, COLUMNS, node.registers)
    ]
    top, left = layer.margins(dx.shape)[:2]
    strides = {"X_PLANE": plane, "X_ROW": rows.width}
    return [*calls, copy(place.part(top * rows.width + left), dx.interior, geometry(dx, dx) | strides)]


def padded_input(layer: Any, node: Node, rows: Rows) -> tuple[Place, list[Call]]:
    """Return where the input with its padding lies, and the call that copies it there if it needs any."""
    x = node.x
    if not rows.padded:
        return x.interior, []
    top, left = layer.margins(x.shape)[:2]
    inside = node.scratch.part(top * rows.width + left)
    return node.scratch, [copy(x.interior, inside, geometry(x, rows.input))]


def copy(x: Place, y: Place, sizes: dict[str, int]) -> Call:
    """Return the call that copies a tensor from x to y."""
    return call("copy_strided", {"X_STEP": 1, "Y_STEP": 1} | sizes, x=x, y=y)
