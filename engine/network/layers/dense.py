"""Flatten and dense (fully connected) layers."""

from typing import Literal

from pydantic import Field

from lenumba.engine.network.layers.base import (
    ActivationName,
    InitializerName,
    LayerBase,
    Name,
    Node,
    Parameter,
    Shape,
    ranges,
)
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Call
from lenumba.kernels.vector.tiling import rows_beside, split, tiles

FAR_WEIGHTS = 1 << 16  # from 256 KiB on, weights come from beyond half of a usual second-level cache
PREFETCH_ROWS = 16


class Flatten(LayerBase):
    """Flatten: turn the maps into one vector, map by map and row by row."""

    in_place = True
    passes_through = True
    type: Literal["flatten"] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels · height · width, 1, 1)."""
        return (shape[0] * shape[1] * shape[2], 1, 1)

    def forward(self, node: Node) -> list[Call]:
        """Return no call: the values lie in that order already."""
        return []

    def backward(self, node: Node) -> list[Call]:
        """Return no call either."""
        return []


class Dense(LayerBase):
    """Dense (fully connected) layer: every output depends on every input."""

    type: Literal["dense"] = "dense"
    name: Name | None = Field(None, description="Name of the layer in summaries and checkpoints.")
    units: int = Field(ge=1, le=65536, description="Number of outputs.")
    bias: bool = Field(True, description="Whether each output adds a trainable constant.")
    activation: ActivationName = Field("none", description="Function applied to the outputs.")
    initializer: InitializerName = Field("glorot_uniform", description="Distribution of the initial weights.")
    trainable: bool = Field(True, description="Whether training changes the weights and biases.")

    def output_shape(self, shape: Shape) -> Shape:
        """Return (units, 1, 1)."""
        if shape[1:] != (1, 1):
            raise ValueError(
                f"a dense layer needs a flat input, found {shape[1]}×{shape[2]} maps; put 'flatten' before it"
            )
        return (self.units, 1, 1)

    def parameters(self, shape: Shape) -> list[Parameter]:
        """Return the kernel [units, inputs] and the bias [units]."""
        kernel = Parameter("kernel", (self.units, shape[0]), shape[0], self.units, self.initializer)
        return [kernel, Parameter("bias", (self.units,))] if self.bias else [kernel]

    def multiply_adds(self, shape: Shape) -> int:
        """Return inputs times units."""
        return shape[0] * self.units

    def scratch(self, shape: Shape, unit: int) -> int:
        """Return the size of a block's transposed input, rows padded to whole vectors."""
        return LANES * padded_row(shape[0]) if unit > 1 else 0

    def forward(self, node: Node) -> list[Call]:
        """Return the tiled forward calls."""
        inputs = node.x.channels
        if node.x.unit == 1:
            return self._forward_pixels(node)
        pointers = [node.x.interior, node.parameters["kernel"], node.parameters.get("bias", "theta"), node.y.interior]
        return [
            Call("dense_forward", pointers, {"N": inputs, "BIAS": self.bias} | limits("M", rows))
            # Not more: 16 rows of 4096 bytes would compete for the 8 places of one set of the cache.
            for rows in split(self.units, min(8, node.registers - 2))
        ]

    def backward(self, node: Node) -> list[Call]:
        """Return the gradients with respect to kernel, bias and, where it is needed, the input."""
        inputs, row, dy = node.x.channels, padded_row(node.x.channels), node.dy.interior
        calls = []
        if self.trainable:
            block = node.x.unit > 1
            if block:
                calls.append(Call("transpose_lanes", [node.x.interior, node.scratch], {"N": inputs, "ROW": row}))
            calls += [
                Call(
                    "dense_weight_gradient",
                    [node.scratch if block else node.x.interior, dy, node.gradients["kernel"]],
                    {"N": inputs, "ROW": row, "UNIT": node.x.unit} | ranges("M", "V", tile),
                )
                for tile in tiles(self.units, row // LANES, 4 if node.registers >= 32 else 2, node.registers)
            ]
            if self.bias:
                kernel = "dense_bias_gradient" if block else "dense_bias_gradient_pixels"
                calls.append(Call(kernel, [dy, node.gradients["bias"]], {"M": self.units}))
        if node.dx is not None and node.x.unit == 1:
            pointers = [dy, node.parameters["kernel"], node.dx.interior]
            calls += [
                Call(
                    "dense_input_gradient_pixels", pointers, {"N": inputs, "M": self.units} | limits("V", rows, "COLS")
                )
                for rows in split(row // LANES, min(8, rows_beside(1, node.registers)))
            ]
        elif node.dx is not None:
            pointers = [dy, node.parameters["kernel"], node.dx.interior]
            ahead = PREFETCH_ROWS if inputs * self.units >= FAR_WEIGHTS else 0
            calls += [
                Call(
                    "dense_input_gradient", pointers, {"N": inputs, "M": self.units, "AHEAD": ahead} | limits("N", rows)
                )
                for rows in split(inputs, min(16, rows_beside(1, node.registers)))
            ]
        return calls

    def _forward_pixels(self, node: Node) -> list[Call]:
        """Return the forward calls for a single image."""
        inputs, x = node.x.channels, node.x.interior
        pointers = [x, node.parameters["kernel"], node.parameters.get("bias", "theta"), node.y.interior]
        return [
            Call("clear_tail", [x], {"N": inputs, "ROW": padded_row(inputs)}),
            Call("dense_forward_pixels", pointers, {"N": inputs, "M": self.units, "BIAS": self.bias}),
        ]


def padded_row(inputs: int) -> int:
    """Return `inputs` rounded up to whole vectors."""
    return -(-inputs // LANES) * LANES


def limits(name: str, rows: tuple[int, int, int], size: str = "MAPS") -> dict[str, int]:
    """Name a range and its tile as the kernels do."""
    return {f"{name}_FROM": rows[0], f"{name}_TO": rows[1], size: rows[2]}
