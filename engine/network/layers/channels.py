"""Kernel calls and the order of weights for one image at a time, with 16 channels in the lanes of a vector.

See :mod:`lenumba.kernels.layers.channels`.
"""

from lenumba.engine.network.layers.base import Node, Shape
from lenumba.engine.network.tables import Array
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.pieces import cut
from lenumba.kernels.program.plan import Argument, Call, call, geometry
from lenumba.kernels.vector.points import matrices
from lenumba.kernels.vector.tiling import grids, largest_divisor, span, split

DEPTHWISE_COLUMNS = 8
MANY_TILES = 12  # taken together at points: a tile of registers


def given_of(node: Node) -> dict[str, Argument]:
    """Return what all kernels of convolutions take beside whole numbers."""
    places: dict[str, Argument] = {"x": node.x.padded, "w": node.parameters["kernel"], "b": node.bias}
    return places | {"y": node.y.interior, "function": "none"}


def conv_calls(node: Node, channels: int, kernel: tuple[int, int], stride: tuple[int, int]) -> list[Call]:
    """Return the calls of a convolution of one group; of a dense layer, whose kernel covers the whole input."""
    sizes = geometry(node.x, node.y, kernel, stride) | {"C": channels}
    given = given_of(node)
    grid = grids(node.y.channels, node.y.height, node.y.width, node.registers)
    taps, tiles = channels * kernel[0] * kernel[1], node.y.channels * node.y.height
    given |= cut(taps * tiles * node.y.width, min(tiles // (each["MAPS"] * each["ROWS"]) for each in grid))
    return [call("conv_channels", sizes, **given, BIAS=1, **each) for each in grid]


def depthwise_calls(node: Node, kernel: tuple[int, int], stride: tuple[int, int]) -> list[Call]:
    """Return the calls of a convolution with as many groups as channels."""
    given = given_of(node)
    rows = node.y.channels * node.y.height
    given |= cut(rows * node.y.width * kernel[0] * kernel[1], rows)
    return [
        call("depthwise_channels", geometry(node.x, node.y, kernel, stride), **given, **columns)
        for columns in (span("J", each, "COLS") for each in split(node.y.width, DEPTHWISE_COLUMNS))
    ]


def winograd_call(
    node: Node, channels: int, kernel: tuple[int, int], tile: tuple[int, int], points: tuple[int, int]
) -> Call:
    """Return the call of a convolution that is computed at points."""
    sizes = geometry(node.x, node.y, kernel) | {"C": channels, "VECTORS": node.x.channels}
    sizes |= winograd_tiling(node.y.shape, tile)
    maps, columns = node.y.channels // sizes["SIDES"], largest_divisor(sizes["T"], 12)
    sizes |= {"EH": tile[0], "EW": tile[1], "NH": points[0], "NW": points[1], "COLS": columns}
    sizes |= {"MAPS": largest_divisor(maps, max(1, (node.registers - 2) // (columns + 1)))}
    given = given_of(node) | {"points": node.temporary, "none": "none"}
    vectors = points[0] * points[1] * sizes["T"] * sizes["BANDS"] * channels * node.y.channels
    given |= cut(vectors, sizes["BANDS"] * sizes["SIDES"])
    return call("winograd_channels", sizes, **given)


def winograd_tiling(output: Shape, tile: tuple[int, int]) -> dict[str, int]:
    """Return how the tiles of maps, of which there are so many vectors, are taken together."""
    down, across = -(-output[1] // tile[0]), -(-output[2] // tile[1])
    band = next((rows for rows in range(1, down) if down % rows == 0 and rows * across >= MANY_TILES), down)
    sides = 2 if band == down and output[0] % 2 == 0 else 1  # for a second thread, as the bands are for others
    return {"BANDS": down // band, "BAND": band, "ACROSS": across, "T": band * across, "SIDES": sides}


def winograd_memory(shape: Shape, output: Shape, tile: tuple[int, int], points: tuple[int, int]) -> int:
    """Return the floats of what is computed at points, for input and output maps of these shapes."""
    inputs, maps = -(-shape[0] // LANES), -(-output[0] // LANES)
    together, count = winograd_tiling((maps, *output[1:]), tile)["T"], points[0] * points[1]
    rows = max(points[0] * (output[2] + points[1]), count)
    return LANES * (count * (together * (inputs + maps) + 2) + rows)


def arranged(kernel: Array, lanes: int) -> Array:
    """Return the weights [M, C, KH, KW] as `conv_channels` reads them, with zeros for maps that there are not.

    `lanes` channels of the input lie side by side: 16 or one.
    """
    import numpy as np

    maps, channels = kernel.shape[:2]
    whole = -(-maps // LANES)
    padded = np.zeros((whole * LANES, *kernel.shape[1:]), kernel.dtype)
    padded[:maps] = kernel
    rows = padded.reshape(whole, LANES, *kernel.shape[1:]).transpose(0, 2, 3, 4, 1)  # [vectors, C, KH, KW, 16]
    parts = [rows[:, c : c + lanes].transpose(0, 2, 3, 1, 4).reshape(whole, -1) for c in range(0, channels, lanes)]
    return np.concatenate(parts, axis=1)


def arranged_points(kernel: Array, tile: tuple[int, int]) -> Array:
    """Return the points of the weights [M, C, KH, KW] as `winograd_channels` reads them."""
    import numpy as np

    down, across = (
        np.array(matrices(outputs, taps)[1], float) for outputs, taps in zip(tile, kernel.shape[2:], strict=True)
    )
    points = np.einsum("pu,mcuv,qv->pqmc", down, kernel.astype(np.float64), across).astype(kernel.dtype)
    return np.stack([arranged(point[:, :, None, None], LANES) for point in points.reshape(-1, *kernel.shape[:2])])
