"""Fast convolution in two dimensions: the calls of its kernels."""

import math
from typing import ClassVar

from lenumba.engine.network.layers import channels
from lenumba.engine.network.layers.base import Node, Shape, pair
from lenumba.engine.network.layers.fast_conv import OUTPUTS, FastConv
from lenumba.engine.network.tables import Array
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Argument, Call, call, geometry
from lenumba.kernels.vector.tiling import largest_divisor, rows_beside

TOGETHER = 1 << 20  # bytes of the points that are taken together: about a second-level cache
MOST = 1 << 26  # bytes of a worker's points of weights, at most
# What a point costs in a training step of a block, in multiply-adds of a vector, measured: of an image's tile, of a
# result's, of both together (three products and the sums over lanes), and of a kernel.
PER_IMAGE, PER_RESULT, PER_PAIR, PER_KERNEL = 17, 8, 3.25, 2.2
SIDE = 4  # of a tile of registers: one that divides the maps, as another for a remainder would have to be compiled, too


class WinogradConv(FastConv):
    """A convolution at points in both directions (Winograd 1980; Lavin & Gray 2016)."""

    gain: ClassVar[float] = 0.7

    def fits(self, shape: Shape) -> bool:
        """Return whether there are enough pairs of maps, and not too many, and results for a tile."""
        window, output = pair(self.kernel_size), self.output_shape(shape)
        if not self.is_plain or window == (1, 1) or any(taps not in OUTPUTS for taps in window):
            return False
        (height, width), (down, across), pairs = self.tile, self.points, shape[0] * output[0]
        if output[1] < height or output[2] < width or pairs < LANES or 8 * down * across * pairs > MOST:
            return False
        return not any(maps > SIDE and largest_divisor(maps, SIDE) == 1 for maps in (shape[0], output[0]))

    @property
    def tile(self) -> tuple[int, int]:
        """Pixels of a tile of results, height and width."""
        height, width = pair(self.kernel_size)
        return OUTPUTS[height], OUTPUTS[width]

    @property
    def transforms(self) -> list[tuple[int, int]]:
        """Outputs and taps, down and across."""
        return list(zip(self.tile, pair(self.kernel_size), strict=True))

    @property
    def points(self) -> tuple[int, int]:
        """Points of a tile, down and across."""
        (height, width), (down, across) = self.tile, pair(self.kernel_size)
        return height + down - 1, width + across - 1

    @property
    def form(self) -> str:
        """Its name: F(4×4, 3×3)."""
        return "Winograd F({}×{}, {}×{})".format(*self.tile, *pair(self.kernel_size))

    def cost(self, shape: Shape, slopes: bool = True) -> float:
        """Return the estimated time of a training step, with or without ∂L/∂x, as a share of a direct convolution's."""
        (maps, height, width), passes = self.output_shape(shape), 3 if slopes else 2
        (down, across), (high, wide) = self.points, self.tile
        tiles, channels = -(-height // high) * -(-width // wide), shape[0]
        each = PER_IMAGE * channels + PER_RESULT * maps + PER_PAIR * channels * maps * passes / 3
        points = down * across * (tiles * each + PER_KERNEL * channels * maps)
        return points / (passes * self.multiply_adds(shape))

    def temporary(self, shape: Shape, unit: int) -> int:
        """Return the floats of what it computes at points."""
        if unit == 1:
            return super().temporary(shape, unit)
        output = self.output_shape(shape)
        sizes, points = self._tiling(shape, output), self.points[0] * self.points[1]
        (down, across), (_, taps) = self.points, pair(self.kernel_size)
        rows = max(down * (output[2] + taps), down * across, taps + down * across)
        return 2 * points * sizes["PAIRS"] + LANES * (points * (sizes["T"] * (shape[0] + output[0]) + 2) + rows)

    def answer(self, node: Node, shape: Shape) -> list[Call]:
        """Return the call for 16 maps in the lanes of a vector, where that pays."""
        if not self.answers_at_points(shape, node.x.unit):
            return super().answer(node, shape)
        return [channels.winograd_call(node, shape[0], pair(self.kernel_size), self.tile, self.points)]

    def answer_temporary(self, shape: Shape) -> int:
        """Return the floats of what it computes at points."""
        return channels.winograd_memory(shape, self.output_shape(shape), self.tile, self.points)

    def arrange(self, kernel: Array, shape: Shape, lanes: int) -> Array:
        """Return the kernel's points in the order of `winograd_channels`, where that is called."""
        if not self.answers_at_points(shape, lanes):
            return super().arrange(kernel, shape, lanes)
        return channels.arranged_points(kernel, self.tile)

    def answers_at_points(self, shape: Shape, lanes: int) -> bool:
        """Return whether the products that points save outweigh the transforms."""
        if lanes == 1:
            return False
        (maps, height, width), (high, wide) = self.output_shape(shape), self.tile
        vectors, rows = -(-shape[0] // LANES), -(-maps // LANES)
        each = PER_IMAGE * vectors + PER_RESULT * rows + shape[0] * rows
        points = math.prod(self.points) * -(-height // high) * -(-width // wide) * each
        return points < self.gain * shape[0] * rows * height * width * math.prod(pair(self.kernel_size))

    def forward(self, node: Node) -> list[Call]:
        """Return the forward call."""
        if node.x.unit == 1:
            return super().forward(node)
        sizes = self._sizes(node, 8 if node.registers >= 32 else 4)
        sizes |= {"MAPS": largest_divisor(node.y.channels, rows_beside(sizes["COLS"], node.registers))}
        given: dict[str, Argument] = {"x": node.x.padded, "w": node.parameters["kernel"], "b": node.bias}
        given |= {"y": node.y.interior, "function": "none", "none": "none", "points": node.temporary}
        return [call("winograd_forward", sizes, **given, BIAS=node.has_bias)]

    def _gradients(self, node: Node) -> list[Call]:
        """Return the call for the gradients of the kernel and of the input: one for both, as they share a transform."""
        if not self.trainable and node.dx is None:
            return []
        side = 4 if node.registers >= 32 else 2
        sizes = self._sizes(node, side) | {"MAPS": largest_divisor(node.y.channels, side)}
        sizes |= {"SIDE": largest_divisor(node.x.channels, side)}
        sizes |= {"LEARNS": int(self.trainable), "SLOPES": int(node.dx is not None)}
        dx = node.dx or node.x
        given: dict[str, Argument] = {"x": node.x.padded, "w": node.parameters["kernel"], "dy": node.dy.interior}
        given |= {"dx": dx.padded, "dw": node.gradients.get("kernel", "gradient"), "points": node.temporary}
        clear = [call("clear", dx=dx.whole, SIZE=dx.vectors)] if node.dx is not None else []
        return [*clear, call("winograd_backward", sizes, **given)]

    def _sizes(self, node: Node, columns: int) -> dict[str, int]:
        sizes = geometry(node.x, node.y, pair(self.kernel_size)) | self._tiling(node.x.shape, node.y.shape)
        return sizes | {"COLS": largest_divisor(sizes["T"], columns)}

    def _tiling(self, shape: Shape, output: Shape) -> dict[str, int]:
        """Return the tiles of a map, and how many of them are taken together."""
        (high, wide), (tall, broad) = self.tile, self.points
        down, across = -(-output[1] // high), -(-output[2] // wide)
        while largest_divisor(across, 8) < min(across, 4):
            across += 1  # once more than needed, rather than columns that no register tile divides
        vectors = tall * broad * (shape[0] + output[0]) * across
        bands = [rows for rows in range(1, down + 1) if down % rows == 0 and 4 * LANES * vectors * rows <= TOGETHER]
        band = max(bands, default=1)
        sizes = {"EH": high, "EW": wide, "NH": tall, "NW": broad, "PAIRS": shape[0] * output[0]}
        return sizes | {"BANDS": down // band, "BAND": band, "ACROSS": across, "T": band * across}
