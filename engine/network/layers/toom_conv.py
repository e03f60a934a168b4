"""Fast convolution along rows: the calls of its kernels."""

from typing import ClassVar

from lenumba.engine.network.layers.base import Node, Shape, pair
from lenumba.engine.network.layers.fast_conv import OUTPUTS, FastConv
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Argument, Call, call
from lenumba.kernels.vector.tiling import largest_divisor, rows_beside

BAND_BYTES = 1 << 18  # of the points of y's gradient that are taken together: a part of a second-level cache
# What a point costs in a block, in multiply-adds of a vector, measured: of an image's tile, of a result's, of a
# result's gradient, and to fetch and keep a sum.
PER_IMAGE, PER_RESULT, PER_SLOPE, PER_SUM = 5, 1.05, 2.75, 2


class ToomConv(FastConv):
    """A convolution at points along the rows (Toom 1963, Cook 1966); ∂L/∂x by the definition."""

    gain: ClassVar[float] = 0.9

    @property
    def transforms(self) -> list[tuple[int, int]]:
        """Outputs and taps along a row."""
        taps = pair(self.kernel_size)[1]
        return [(OUTPUTS[taps], taps)]

    def fits(self, shape: Shape) -> bool:
        """Return whether kernels are wide, results fill a tile, and there are enough taps of other rows and maps."""
        if not self.is_plain or (taps := pair(self.kernel_size)[1]) == 1 or taps not in OUTPUTS:
            return False
        output = self.output_shape(shape)
        return output[2] >= OUTPUTS[taps] and self._sizes_of(shape, output)["PAIRS"] >= LANES

    def cost(self, shape: Shape, slopes: bool = True) -> float:
        """Return the estimated time of a training step, with or without ∂L/∂x, as a share of a direct convolution's."""
        output = self.output_shape(shape)
        sizes, rows = self._sizes_of(shape, output), pair(self.kernel_size)[0]
        band, again = sizes["BAND"], 1 + (rows - 1) / sizes["BAND"]  # rows of x that the next band needs once more
        each = PER_IMAGE * shape[0] * (1 + again) + (PER_RESULT + PER_SLOPE) * output[0] + 2 * sizes["PAIRS"]
        points = output[1] * sizes["NW"] * (sizes["ACROSS"] * each + PER_SUM * sizes["PAIRS"] / band)
        return (points / self.multiply_adds(shape) + slopes) / (3 if slopes else 2)

    @property
    def form(self) -> str:
        """Its name."""
        return "Toom–Cook F({}, {}) along rows".format(*self.transforms[0])

    def temporary(self, shape: Shape, unit: int) -> int:
        """Return the floats of what it computes at points."""
        if unit == 1:
            return super().temporary(shape, unit)
        sizes = self._sizes_of(shape, self.output_shape(shape))
        band, maps = sizes["BAND"], self.output_shape(shape)[0]
        rows = (band + pair(self.kernel_size)[0] - 1) * sizes["ACROSS"]
        vectors = (shape[0] * rows + 1) + (maps * band * sizes["ACROSS"] + 1) + sizes["PAIRS"]
        return sizes["NW"] * (sizes["PAIRS"] + LANES * vectors) + LANES

    def forward(self, node: Node) -> list[Call]:
        """Return the forward call."""
        if node.x.unit == 1:
            return super().forward(node)
        sizes = self.sizes(node) | self._sizes_of(node.x.shape, node.y.shape)
        sizes |= {"MAPS": largest_divisor(node.y.channels, 2 if node.registers >= 32 else 1)}
        sizes |= {"T": sizes["KH"] * sizes["ACROSS"]}
        given: dict[str, Argument] = {"x": node.x.padded, "w": node.parameters["kernel"], "b": node.bias}
        given |= {"y": node.y.interior, "function": "none", "points": node.temporary}
        return [call("toom_forward", sizes, **given, BIAS=node.has_bias)]

    def _weight_gradient(self, node: Node) -> list[Call]:
        sizes = self.sizes(node) | self._sizes_of(node.x.shape, node.y.shape)
        sizes |= {"MAPS": largest_divisor(node.y.channels, rows_beside(sizes["KH"], node.registers))}
        sizes |= {"T": (sizes["BAND"] + sizes["KH"] - 1) * sizes["ACROSS"]}
        given: dict[str, Argument] = {"x": node.x.padded, "dy": node.dy.interior, "dw": node.gradients["kernel"]}
        return [call("toom_weight_gradient", sizes, **given, points=node.temporary)]

    def _sizes_of(self, shape: Shape, output: Shape) -> dict[str, int]:
        """Return the tiles of a row, and the rows of y that are taken together."""
        height, width = pair(self.kernel_size)
        wide = OUTPUTS[width]
        points, across = wide + width - 1, -(-output[2] // wide)
        limit = max(1, BAND_BYTES // (4 * LANES * points * output[0] * across))
        sizes = {"EW": wide, "NW": points, "PAIRS": shape[0] * output[0] * height, "ACROSS": across}
        return sizes | {"BAND": largest_divisor(output[1], limit)}
