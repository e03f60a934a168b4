"""Average and max pooling."""

import math
from typing import Annotated, Any, Literal, TypeAlias

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
    tap,
)
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.program.plan import Call, Place, call, geometry

SymmetricPadding: TypeAlias = Literal["valid"] | Border | Annotated[tuple[Border, Border], LIST]


class Pool(LayerBase):
    """What both poolings share."""

    takes_flat = False
    name: Name | None = Field(None, description="Name of the layer in summaries.")
    size: Size = Field(description="Window height and width in pixels: one number or [height, width].")
    stride: Size | None = Field(
        None,
        description="Step of the window in pixels: one number or [vertical, horizontal]; null: the size.",
    )
    padding: SymmetricPadding = Field(
        "valid", description="Border in pixels: 'valid' (none), one number or [vertical, horizontal]."
    )

    @property
    def stem(self) -> str:
        """What both are called."""
        return "pool"

    @property
    def steps(self) -> tuple[int, int]:
        """Vertical and horizontal stride."""
        return pair(self.size if self.stride is None else self.stride)

    @property
    def takes_single_images(self) -> bool:
        """Whether there is no padding."""
        return self.padding == "valid" or not any(pair(self.padding))

    def margins(self, shape: Shape) -> Margins:
        """Return (top, left, bottom, right)."""
        vertical, horizontal = (0, 0) if self.padding == "valid" else pair(self.padding)
        return (vertical, horizontal, vertical, horizontal)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, ⌊(H + padding − size) / stride⌋ + 1, the same for W)."""
        top, left, bottom, right = self.margins(shape)
        height, width = shape[1] + top + bottom, shape[2] + left + right
        (kh, kw), (sh, sw) = pair(self.size), self.steps
        if top >= kh or left >= kw:
            raise ValueError(f"the padding {top}×{left} must be smaller than the {kh}×{kw} window")
        if kh > height or kw > width:
            raise ValueError(f"the {kh}×{kw} window is larger than its {height}×{width} input")
        if self.stride is None and ((height - kh) % sh or (width - kw) % sw):
            raise ValueError(
                f"the {kh}×{kw} window does not divide its {height}×{width} input; choose another size or padding, "
                "or give the stride to drop the remaining pixels"
            )
        return (shape[0], (height - kh) // sh + 1, (width - kw) // sw + 1)

    def forward(self, node: Node) -> list[Call]:
        """Return the forward call."""
        kernel = f"{self.kind}_forward" + "_pixels" * (node.x.unit == 1)
        return [call(kernel, self._geometry(node), x=node.x.padded, y=node.y.interior)]

    def backward(self, node: Node) -> list[Call]:
        """Return the input gradient; it is cleared first where windows overlap or leave pixels out."""
        y, dx, (kh, kw), (sh, sw) = node.y, node.dx, pair(self.size), self.steps
        if dx is None:
            return []
        given: dict[str, Place | str | int] = {"dy": node.dy.interior, "dx": dx.padded}
        given |= {"x": node.x.padded, "y": y.interior} if self.reads_output else {}
        clear = call("clear", dx=dx.padded, SIZE=dx.vectors)
        if node.x.unit == 1:
            return [clear, call(f"{self.kind}_backward_pixels", self._geometry(node), **given)]
        covered = (y.height * sh, y.width * sw) == (dx.rows, dx.row) and (kh, kw) == (sh, sw)
        given |= {"x": node.x.padded, "derivative": "none_derivative", "OVERLAP": kh > sh or kw > sw}
        return [clear] * (not covered) + [call(f"{self.kind}_backward", self._geometry(node), **given)]

    def equations(self, shape: Shape) -> Equations:
        """Return handout 003's or 004's equations."""
        (top, left, _, _), (vertical, horizontal) = self.margins(shape), self.steps
        window = f"{tap('i', 'u', vertical, top)}, {tap('j', 'v', horizontal, left)}"
        apart = all(stride >= size for stride, size in zip(self.steps, pair(self.size), strict=True))
        return self._written(window, "=" if apart else "+=")

    def _written(self, window: str, adds: str) -> Equations:
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """Return the window that slides over the image, and its stride: [vertical, horizontal] each."""
        return {"window": list(pair(self.size)), "stride": list(self.steps)}

    def _onnx_window(self, shape: Shape) -> dict[str, Any]:
        """Return the attributes that both poolings' operators have."""
        return {"kernel_shape": pair(self.size), "strides": self.steps, "pads": self.margins(shape)}

    def _geometry(self, node: Node) -> dict[str, int]:
        return geometry(node.x, node.y, pair(self.size), self.steps)


class AveragePool(Pool):
    """Average-pooling: the mean of each window (padding counts as zeros)."""

    type: Literal["average_pool"] = "average_pool"

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Take the mean of each window."""
        return find_twin(".layers.average_pool_forward")(x, pair(self.size), self.steps, self.margins(x.shape[1:]))

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Share each gradient among its window."""
        return find_twin(".layers.average_pool_backward")(
            x, dy, pair(self.size), self.steps, self.margins(x.shape[1:])
        ), {}

    def _written(self, window: str, adds: str) -> Equations:
        size = pair(self.size)[0] * pair(self.size)[1]
        return Equations(f"y_c(i,j) = 1/{size} Σ_u Σ_v x_c({window})", f"δx_c({window}) {adds} 1/{size} δ_c(i,j)", {})

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return an AveragePool that counts padding as zeros."""
        return [Operator("AveragePool", self._onnx_window(shape) | {"count_include_pad": 1})]


class MaxPool(Pool):
    """Max-pooling: the largest value of each window."""

    margin_value = -math.inf
    reads_output = True
    type: Literal["max_pool"] = "max_pool"

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Take the largest value of each window."""
        return find_twin(".layers.max_pool_forward")(x, pair(self.size), self.steps, self.margins(x.shape[1:]))

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Give each gradient to the value that was the largest."""
        return find_twin(".layers.max_pool_backward")(x, dy, pair(self.size), self.steps, self.margins(x.shape[1:])), {}

    def _written(self, window: str, adds: str) -> Equations:
        back = f"δx_c({window}) {adds} δ_c(i,j) at the maximum, else 0"
        return Equations(f"y_c(i,j) = max_uv x_c({window})", back, {})

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return a MaxPool."""
        return [Operator("MaxPool", self._onnx_window(shape))]
