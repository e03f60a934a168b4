"""Average and max pooling."""

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from lenumba.engine.network.layers.base import LIST, Border, LayerBase, Margins, Name, Node, Shape, Size, pair
from lenumba.kernels.program.plan import Call, Place

SymmetricPadding: TypeAlias = Literal["valid"] | Border | Annotated[tuple[Border, Border], LIST]


class Pool(LayerBase):
    """What both poolings share."""

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
        if node.x.unit == 1:
            return [Call(f"{self.kind}_forward_pixels", [node.x.interior, node.y.interior], self._pixel_shapes(node))]
        return [Call(f"{self.kind}_forward", [node.x.padded, node.y.interior], self._shapes(node))]

    def backward(self, node: Node) -> list[Call]:
        """Return the input gradient; it is cleared first where windows overlap or leave pixels out."""
        dx, (kh, kw), (sh, sw) = node.dx, pair(self.size), self.steps
        if dx is None:
            return []
        compared: list[Place | str] = [node.x.padded, node.y.interior] if self.reads_output else []
        pointers: list[Place | str] = [node.dy.interior, dx.padded]
        if node.x.unit == 1:
            clear = Call("clear", [dx.padded], {"SIZE": dx.vectors})
            return [clear, Call(f"{self.kind}_backward_pixels", [*compared, *pointers], self._pixel_shapes(node))]
        overlap = kh > sh or kw > sw
        covered = (node.y.height * sh, node.y.width * sw) == (dx.rows, dx.row) and (kh, kw) == (sh, sw)
        calls = [] if covered else [Call("clear", [dx.padded], {"SIZE": dx.vectors})]
        pointers = [*(compared or [node.x.padded]), *pointers, "none_derivative"]
        return [*calls, Call(f"{self.kind}_backward", pointers, self._shapes(node) | {"OVERLAP": overlap})]

    def _pixel_shapes(self, node: Node) -> dict[str, int]:
        return {name: size for name, size in self._shapes(node).items() if not name.startswith("Y_")}

    def _shapes(self, node: Node) -> dict[str, int]:
        x, y, (kh, kw), (sh, sw) = node.x, node.y, pair(self.size), self.steps
        sizes = {"C": x.channels, "X_ROW": x.row, "X_PLANE": x.plane, "KH": kh, "KW": kw, "SH": sh, "SW": sw}
        return sizes | {"OH": y.height, "OW": y.width, "Y_ROW": y.row, "Y_PLANE": y.plane}


class AveragePool(Pool):
    """Average-pooling: the mean of each window (padding counts as zeros)."""

    type: Literal["average_pool"] = "average_pool"


class MaxPool(Pool):
    """Max-pooling: the largest value of each window."""

    margin_value = -math.inf
    reads_output = True
    type: Literal["max_pool"] = "max_pool"
