"""The kernel calls of a convolution's gradients for blocks of 16 images."""

from typing import Any

from lenumba.engine.network.layers.base import Node, pair
from lenumba.kernels.program.plan import Argument, Call, Tensor, call
from lenumba.kernels.vector.tiling import rows_beside, span, split, tiles

# The same on every CPU: it decides the order of a sum. Depthwise, a tile has one map and room for more columns.
INPUT_GRADIENT_COLUMNS, DEPTHWISE_COLUMNS = 4, 12


def weight_gradient(layer: Any, node: Node) -> list[Call]:
    """Return the kernel's gradient: the tile spreads over what leaves each loaded vector to most products."""
    sizes, registers = layer.sizes(node), node.registers
    given: dict[str, Argument] = {"x": node.x.padded, "dy": node.dy.interior, "dw": node.gradients["kernel"]}
    if sizes["C"] == 1 and layer.groups > 1 and sizes["KH"] * sizes["KW"] <= registers - 2:
        return [call("depthwise_weight_gradient", sizes, **given)]
    maps = layer.channels // layer.groups
    if layer.groups == 1 and (sizes["KH"], sizes["KW"]) == (1, 1):
        side = 4 if registers >= 32 else 2
        return [
            call("pointwise_weight_gradient", sizes, **given, **span("M", rows), **span("C", columns, "COLS"))
            for columns in split(sizes["C"], side)
            for rows in split(maps, side)
        ]
    return [
        call(layer.kernel_of("conv_weight_gradient"), sizes, **given, **tile)
        for tile in tiles("M", maps, "V", sizes["KW"], 8, registers)
    ]


def input_gradient(layer: Any, node: Node, dx: Tensor) -> list[Call]:
    """Return the input's gradient: tiles of columns of dy, the same for every processor."""
    kw, sw = pair(layer.kernel_size)[1], pair(layer.stride)[1]
    depthwise = layer.groups > 1 and dx.channels == layer.groups
    columns = split(node.dy.width, DEPTHWISE_COLUMNS if depthwise else INPUT_GRADIENT_COLUMNS)
    lone = len(columns) == 1 and columns[0][1] == columns[0][2]
    # One tile covers a row of dx, or tiles without overlap cover it together.
    whole = (node.dy.width - 1) * sw + kw == dx.row and (lone or kw == sw == 1)
    calls = [] if whole else [call("clear", dx=dx.whole, SIZE=dx.vectors)]
    given = {"dy": node.dy.interior, "w": node.parameters["kernel"], "dx": dx.padded}
    for column in columns:
        width = (column[2] - 1) * sw + kw
        for rows in split(dx.channels // layer.groups, rows_beside(width, node.registers - column[2])):
            tile = span("C", rows) | span("J", column, "COLS") | {"WIDTH": width, "FIRST": whole}
            calls.append(call(layer.kernel_of("conv_input_gradient"), layer.sizes(node), **given, **tile))
    return calls
