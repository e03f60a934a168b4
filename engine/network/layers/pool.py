"""Average and max pooling, of windows and of whole maps."""

import math
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from lenumba.engine.network.layers.base import (
    LIST,
    Border,
    LayerBase,
    Margins,
    Name,
    Node,
    Shape,
    Size,
    pair,
)
from lenumba.engine.network.layers.windows import Box, tap, window_at
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.program.plan import Call, Place, call, geometry

SymmetricPadding: TypeAlias = Literal["valid"] | Border | Annotated[tuple[Border, Border], LIST]


class Pool(LayerBase):
    """What all poolings share: windows on each map, of whose pixels `Average` or `Maximum` makes one value."""

    takes_flat = False
    pooling: ClassVar[str]  # what the names of its kernels and twins begin with
    name: Name | None = Field(None, description="Name of the layer in summaries.")

    @property
    def stem(self) -> str:
        """What all are called."""
        return "pool"

    def windows(self, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the (vertical, horizontal) size of the windows, and their stride, for an input of `shape`."""
        raise NotImplementedError

    def forward(self, node: Node) -> list[Call]:
        """Return the forward call."""
        return [self._call(f"{self.pooling}_forward", node, x=node.x.padded, y=node.y.interior)]

    def takes_channels(self, shape: Shape) -> bool:
        """Return True: it works map by map."""
        return True

    def backward(self, node: Node) -> list[Call]:
        """Return the input gradient; it is cleared first where windows overlap or leave pixels out."""
        y, dx, ((kh, kw), (sh, sw)) = node.y, node.dx, self.windows(node.x.shape)
        if dx is None:
            return []
        given: dict[str, Place | str | int] = {"dy": node.dy.interior, "dx": dx.padded}
        given |= {"x": node.x.padded, "y": y.interior} if self.reads_output else {}
        clear, kernel = call("clear", dx=dx.whole, SIZE=dx.vectors), f"{self.pooling}_backward"
        if node.x.unit == 1:
            return [clear, self._call(kernel, node, **given)]
        covered = (y.height * sh, y.width * sw) == (dx.rows, dx.row) and (kh, kw) == (sh, sw)
        given |= {"x": node.x.padded, "derivative": "none_derivative", "OVERLAP": kh > sh or kw > sw}
        return [clear] * (not covered) + [self._call(kernel, node, **given)]

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Make one value of each window."""
        return find_twin(f".layers.{self.pooling}_forward")(x, *self._plain(x.shape[1:]))

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Send each window's gradient back to its pixels."""
        return find_twin(f".layers.{self.pooling}_backward")(x, dy, *self._plain(x.shape[1:])), {}

    def reads(self, shape: Shape, place: Shape) -> Box:
        """Return the window on the same map."""
        return window_at(place, (place[0], place[0] + 1), *self.windows(shape), self.margins(shape))

    def _call(self, kernel: str, node: Node, **given: Place | str | int) -> Call:
        numbers = geometry(node.x, node.y, *self.windows(node.x.shape)) | self._numbers(node)
        return call(kernel + "_pixels" * (node.x.unit == 1), numbers, **given)

    def _numbers(self, node: Node) -> dict[str, int]:
        """Return whole numbers that only some of the kernels take."""
        return {}

    def _plain(self, shape: Shape) -> tuple[Any, ...]:
        """Return what the twins take behind their arrays."""
        return *self.windows(shape), self.margins(shape)

    def _onnx(self, kind: str, shape: Shape, **attributes: int) -> list[Operator]:
        """Return the operators of a pooling of a kind; the attributes are those of sliding windows."""
        raise NotImplementedError

    def _written(self, shape: Shape, place: str, taps: str, pixel: str, adds: str) -> Equations:
        """Write the equations of the output at `place`, over the taps, two letters, of which each reads a pixel."""
        raise NotImplementedError


class Sliding(Pool):
    """Windows that slide over the map."""

    size: Size = Field(description="Window height and width in pixels: one number or [height, width].")
    stride: Size | None = Field(
        None,
        description="Step of the window in pixels: one number or [vertical, horizontal]; null: the size. Rows and "
        "columns at the end that fill no window are dropped.",
    )
    padding: SymmetricPadding = Field(
        "valid", description="Border in pixels: 'valid' (none), one number or [vertical, horizontal]."
    )

    @property
    def steps(self) -> tuple[int, int]:
        """Vertical and horizontal stride."""
        return pair(self.size if self.stride is None else self.stride)

    @property
    def takes_single_images(self) -> bool:
        """Whether there is no padding."""
        return self.padding == "valid" or not any(pair(self.padding))

    def windows(self, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return size and stride."""
        return pair(self.size), self.steps

    def margins(self, shape: Shape) -> Margins:
        """Return (top, left, bottom, right)."""
        vertical, horizontal = (0, 0) if self.padding == "valid" else pair(self.padding)
        return (vertical, horizontal, vertical, horizontal)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, ⌊(H + padding − size) / stride⌋ + 1, the same for W)."""
        top, left, bottom, right = self.margins(shape)
        height, width = shape[1] + top + bottom, shape[2] + left + right
        (kh, kw), (sh, sw) = self.windows(shape)
        if top >= kh or left >= kw:
            raise ValueError(f"the padding {top}×{left} must be smaller than the {kh}×{kw} window; use less")
        if kh > height or kw > width:
            raise ValueError(f"the {kh}×{kw} window is larger than its {height}×{width} input; use a smaller one")
        return (shape[0], (height - kh) // sh + 1, (width - kw) // sw + 1)

    def note(self, shape: Shape) -> str:
        """Say how many rows and columns at the end fill no window."""
        dropped = []
        for what, extent, border, size, step in zip(
            ("row", "column"), shape[1:], self.margins(shape), *self.windows(shape), strict=False
        ):
            rest = (extent + 2 * border - size) % step - border
            dropped += [f"last {what}" if rest == 1 else f"last {rest} {what}s"] * (rest > 0)
        return f"drops the {' and the '.join(dropped)} of its {shape[1]}×{shape[2]} input" if dropped else ""

    def equations(self, shape: Shape) -> Equations:
        """Return handout 003's or 004's equations."""
        (top, left, _, _), (vertical, horizontal) = self.margins(shape), self.steps
        window = f"{tap('i', 'u', vertical, top)}, {tap('j', 'v', horizontal, left)}"
        apart = all(stride >= size for stride, size in zip(self.steps, pair(self.size), strict=True))
        return self._written(shape, "(i,j)", "uv", window, "=" if apart else "+=")

    def described(self) -> dict[str, Any]:
        """Return the window that slides over the image, and its stride: [vertical, horizontal] each."""
        return {"window": list(pair(self.size)), "stride": list(self.steps)}

    def _onnx(self, kind: str, shape: Shape, **attributes: int) -> list[Operator]:
        window = {"kernel_shape": pair(self.size), "strides": self.steps, "pads": self.margins(shape)}
        return [Operator(kind, window | attributes)]


class Global(Pool):
    """One window, the whole map: of each map one value is left."""

    gives_flat = True

    def windows(self, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return height and width of the map, twice."""
        return shape[1:], shape[1:]

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, 1, 1)."""
        return (shape[0], 1, 1)

    def equations(self, shape: Shape) -> Equations:
        """Return the equations of a window that is the whole map."""
        return self._written(shape, "", "ij", "i,j", "=")

    def _onnx(self, kind: str, shape: Shape, **attributes: int) -> list[Operator]:
        return [Operator(f"Global{kind}"), Operator("Flatten", {"axis": 1})]


class Average(Pool):
    """The mean of a window's pixels."""

    combines = "sum"
    pooling = "average_pool"

    @property
    def counts_padding(self) -> bool:
        """Whether padding counts, as zeros; whole maps have none."""
        return getattr(self, "count_padding", True)

    def weights(self, parameters: Arrays, shape: Shape, place: Shape) -> Array:
        """Return 1 / n for every pixel of the window; those that do not count get 0."""
        import numpy as np  # checking a configuration needs none

        (_, *spans) = self.reads(shape, place)
        counts = np.ones([1, *(stop - start for start, stop in spans)])
        if not self.counts_padding:
            for axis, ((start, stop), extent) in enumerate(zip(spans, shape[1:], strict=True), 1):
                inside = np.arange(start, stop)
                counts = counts * np.expand_dims((inside >= 0) & (inside < extent), (0, 3 - axis))
        return counts / counts.sum()

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return an AveragePool."""
        return self._onnx("AveragePool", shape, count_include_pad=int(self.counts_padding))

    def _numbers(self, node: Node) -> dict[str, int]:
        top, left, _, _ = self.margins(node.x.shape)
        return {"TOP": top, "LEFT": left, "COUNT_PADDING": self.counts_padding}

    def _written(self, shape: Shape, place: str, taps: str, pixel: str, adds: str) -> Equations:
        (height, width), _ = self.windows(shape)
        return self._of_shares(f"1/{height * width}", place, taps, pixel, adds)

    def _of_shares(self, share: str, place: str, taps: str, pixel: str, adds: str) -> Equations:
        y = f"y_c{place} = {share} Σ_{taps[0]} Σ_{taps[1]} x_c({pixel})"
        return Equations(y, f"δx_c({pixel}) {adds} {share} δ_c{place}", {})


class Maximum(Pool):
    """The largest of a window's pixels."""

    combines = "max"
    margin_value = -math.inf
    reads_output = True
    pooling = "max_pool"

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return a MaxPool."""
        return self._onnx("MaxPool", shape)

    def _written(self, shape: Shape, place: str, taps: str, pixel: str, adds: str) -> Equations:
        back = f"δx_c({pixel}) {adds} δ_c{place} at the maximum, else 0"
        return Equations(f"y_c{place} = max_{taps} x_c({pixel})", back, {})


class AveragePool(Average, Sliding):
    """Average-pooling: the mean of each window."""

    type: Literal["average_pool"] = "average_pool"
    count_padding: bool = Field(
        True,
        description="Whether padding counts, as zeros (PyTorch's default); false: divide by the number of real pixels "
        "in the window (Keras's and ONNX's default).",
    )

    def _plain(self, shape: Shape) -> tuple[Any, ...]:
        return *super()._plain(shape), self.count_padding

    def _written(self, shape: Shape, place: str, taps: str, pixel: str, adds: str) -> Equations:
        if self.count_padding or not any(self.margins(shape)):
            return super()._written(shape, place, taps, pixel, adds)
        written = self._of_shares("1/n", place, taps, pixel, adds)
        return written._replace(y=f"{written.y}, n: pixels of the window inside the map")

    def described(self) -> dict[str, Any]:
        """Return also whether padding counts."""
        return super().described() | {"countPadding": self.count_padding}


class MaxPool(Maximum, Sliding):
    """Max-pooling: the largest value of each window."""

    type: Literal["max_pool"] = "max_pool"


class GlobalAveragePool(Average, Global):
    """Global average pooling (Lin et al. 2014): the mean of each map."""

    takes_row = True
    type: Literal["global_average_pool"] = "global_average_pool"

    def forward(self, node: Node) -> list[Call]:
        """Return the call of a kernel of its own, which sums parts of the map: one long sum would be less exact."""
        return [self._call("map_mean", node, x=node.x.interior, y=node.y.interior)]

    def _numbers(self, node: Node) -> dict[str, int]:
        return super()._numbers(node) | {"PART": math.isqrt(node.x.plane - 1) + 1}


class GlobalMaxPool(Maximum, Global):
    """Global max pooling: the largest value of each map."""

    type: Literal["global_max_pool"] = "global_max_pool"
