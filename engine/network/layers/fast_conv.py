"""Fast convolution: which convolutions are computed at points, and the calls of their kernels."""

from lenumba.engine.network.layers.base import Node, Shape, pair
from lenumba.engine.network.layers.conv import Conv
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Argument, Call, call, geometry
from lenumba.kernels.vector.tiling import rows_beside

# Outputs of a tile for each number of taps: with one more, points would be needed that cost too many digits.
OUTPUTS = {1: 1, 3: 4, 5: 4, 7: 2}
TOGETHER = 1 << 20  # bytes of the points that are taken together: about a second-level cache
MOST = 1 << 26  # bytes of a worker's points of weights, at most
# What a point costs in a training step of a block, in multiply-adds of a vector, measured: of an image's tile, of a
# result's, of both together (three products and the sums over lanes), and of a kernel.
PER_IMAGE, PER_RESULT, PER_PAIR, PER_KERNEL = 17, 8, 3.25, 2.2
GAIN = 0.7  # of a direct step's time, at most
SIDE = 4  # of a tile of registers: one that divides the maps, as another for a remainder would have to be compiled, too


class FastConv(Conv):
    """A convolution that a network computes at points, in blocks of 16 images."""

    @classmethod
    def instead_of(cls, layer: Conv, shape: Shape) -> Conv:
        """Return the layer as a network computes it: by this class where that pays, a function of shapes alone."""
        window, output = pair(layer.kernel_size), layer.output_shape(shape)
        plain = pair(layer.stride) == (1, 1) and layer.groups == 1
        if not plain or window == (1, 1) or any(taps not in OUTPUTS for taps in window):
            return layer
        found = cls(**dict(layer))
        (height, width), (down, across), pairs = found.tile, found.points, shape[0] * output[0]
        if output[1] < height or output[2] < width or pairs < LANES or 8 * down * across * pairs > MOST:
            return layer
        if any(maps > SIDE and largest_divisor(maps, SIDE) == 1 for maps in (shape[0], output[0])):
            return layer
        return found if found.cost(shape) <= GAIN else layer

    @property
    def tile(self) -> tuple[int, int]:
        """Pixels of a tile of results, height and width."""
        height, width = pair(self.kernel_size)
        return OUTPUTS[height], OUTPUTS[width]

    @property
    def points(self) -> tuple[int, int]:
        """Points of a tile, down and across."""
        (height, width), (down, across) = self.tile, pair(self.kernel_size)
        return height + down - 1, width + across - 1

    @property
    def form(self) -> str:
        """Its name: F(4×4, 3×3)."""
        return "Winograd F({}×{}, {}×{})".format(*self.tile, *pair(self.kernel_size))

    def cost(self, shape: Shape) -> float:
        """Return the estimated time of a training step, as a share of a direct convolution's."""
        maps, height, width = self.output_shape(shape)
        (down, across), (high, wide) = self.points, self.tile
        tiles, channels = -(-height // high) * -(-width // wide), shape[0]
        each = PER_IMAGE * channels + PER_RESULT * maps + PER_PAIR * channels * maps
        points = down * across * (tiles * each + PER_KERNEL * channels * maps)
        return points / (3 * self.multiply_adds(shape))

    def temporary(self, shape: Shape, unit: int) -> int:
        """Return the floats of what it computes at points."""
        if unit == 1:
            return super().temporary(shape, unit)
        output = self.output_shape(shape)
        sizes, points = self._tiling(shape, output), self.points[0] * self.points[1]
        (down, across), (_, taps) = self.points, pair(self.kernel_size)
        rows = max(down * (output[2] + taps), down * across, taps + down * across)
        return 2 * points * sizes["PAIRS"] + LANES * (points * (sizes["T"] * (shape[0] + output[0]) + 2) + rows)

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


def largest_divisor(extent: int, limit: int) -> int:
    """Return the largest divisor of a number that is not above a limit."""
    return max(size for size in range(1, limit + 1) if extent % size == 0)
