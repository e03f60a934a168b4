"""Flatten and dense (fully connected) layers."""

from typing import Literal

from pydantic import Field

from lenumba.engine.network.activations import ActivationName
from lenumba.engine.network.layers import channels
from lenumba.engine.network.layers.base import (
    INITIALIZER_HELP,
    InitializerName,
    LayerBase,
    Name,
    Node,
    Norm,
    Parameter,
    Shape,
)
from lenumba.engine.network.layers.windows import Box
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.program.plan import Call, Place, call, geometry
from lenumba.kernels.vector.tiling import rows_beside, span, split, tiles

FAR_WEIGHTS = 1 << 16  # from 256 KiB on, weights come from beyond half of a usual second-level cache
PREFETCH_ROWS = 16
CHAIN = 4  # cycles that a sum takes; without waiting, one of them


class Flatten(LayerBase):
    """Flatten: turn the maps into one vector, map by map and row by row."""

    in_place = True
    passes_through = True
    takes_row = True
    gives_flat = True
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

    def reads(self, shape: Shape, place: Shape) -> Box:
        """Return the place that the value has in the maps."""
        rest, column = divmod(place[0], shape[2])
        channel, row = divmod(rest, shape[1])
        return ((channel, channel + 1), (row, row + 1), (column, column + 1))

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Return [N, C · H · W, 1, 1]: map by map and row by row."""
        return x.reshape(len(x), -1, 1, 1)

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return dy in the shape of the maps."""
        return dy.reshape(x.shape), {}

    def equations(self, shape: Shape) -> Equations:
        """Return what flattening does, in words."""
        return Equations("y = all x, map by map, row by row", "δx = δ in the shape of the maps", {})

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return a Flatten."""
        return [Operator("Flatten", {"axis": 1})]


class Dense(LayerBase):
    """Dense (fully connected) layer: every output depends on every input."""

    combines = "sum"
    takes_row = True
    takes_planes = True
    gives_flat = True
    type: Literal["dense"] = "dense"
    name: Name | None = Field(None, description="Name of the layer in summaries and checkpoints.")
    units: int = Field(ge=1, le=65536, description="Number of outputs.")
    bias: bool = Field(True, description="Whether each output adds a trainable constant.")
    norm: Norm = Field(
        "none",
        description="'batch' or {momentum: …, epsilon: …}: a batch_norm behind it, before the activation.",
    )
    activation: ActivationName = Field("none", description="Function applied to the outputs.")
    initializer: InitializerName = Field("glorot_uniform", description=INITIALIZER_HELP)
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
        x, y, sizes = node.x.interior, node.y.interior, geometry(node.x, node.y)
        given: dict[str, Place | str | int] = {"x": x, "w": node.parameters["kernel"], "b": node.bias, "y": y}
        given["BIAS"] = node.has_bias
        if node.x.unit == 1:
            clear = call("clear_tail", sizes, x=x, ROW=padded_row(node.x.size))
            return [clear, call("dense_forward_pixels", sizes, **given)]
        return [
            call("dense_forward", sizes, **given, **span("M", rows))
            # Not more: 16 rows of 4096 bytes would compete for the 8 places of one set of the cache.
            for rows in split(self.units, min(8, node.registers - 2))
        ]

    def takes_channels(self, shape: Shape) -> bool:
        """Return True."""
        return True

    def answer(self, node: Node, shape: Shape) -> list[Call]:
        """Return the calls of a convolution whose kernel covers all maps."""
        return channels.conv_calls(node, shape[0], shape[1:], (1, 1))

    def arrange(self, kernel: Array, shape: Shape, lanes: int) -> Array:
        """Return the kernel in the order of `conv_channels`."""
        return channels.arranged(kernel.reshape(len(kernel), *shape), lanes)

    def row_vectors(self, shape: Shape) -> int:
        """Return the products of 16 inputs at a time, each of which waits for the sum before."""
        return CHAIN * self.units * padded_row(shape[0]) // LANES

    def backward(self, node: Node) -> list[Call]:
        """Return the gradients with respect to kernel, bias and, where it is needed, the input."""
        sizes, row, dy = geometry(node.x, node.y), padded_row(node.x.size), node.dy.interior
        block, calls = node.x.unit > 1, []
        if self.trainable:
            xt = node.scratch if block else node.x.interior
            calls += [call("transpose_lanes", sizes, x=node.x.interior, xt=xt, ROW=row)] * block
            calls += [
                call("dense_weight_gradient", sizes, xt=xt, dy=dy, dw=node.gradients["kernel"], ROW=row, **tile)
                for tile in tiles("M", self.units, "V", row // LANES, 4 if node.registers >= 32 else 2, node.registers)
            ]
            if self.bias and not node.centered:
                kernel = "dense_bias_gradient" if block else "dense_bias_gradient_pixels"
                calls.append(call(kernel, sizes, dy=dy, db=node.gradients["bias"]))
        if node.dx is None:
            return calls
        given = {"dy": dy, "w": node.parameters["kernel"], "dx": node.dx.interior}
        if not block:
            return calls + [
                call("dense_input_gradient_pixels", sizes, **given, **span("V", rows, "COLS"))
                for rows in split(row // LANES, min(8, rows_beside(1, node.registers)))
            ]
        ahead = PREFETCH_ROWS if node.x.size * self.units >= FAR_WEIGHTS else 0
        return calls + [
            call("dense_input_gradient", sizes, **given, AHEAD=ahead, **span("N", rows))
            for rows in split(node.x.size, min(16, rows_beside(1, node.registers)))
        ]

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Multiply by the weights and add the biases (handout 004: F·W₁ + b₁)."""
        bias = parameters["bias"] if self.bias else x.dtype.type(0).repeat(self.units)
        return find_twin(".layers.dense_forward")(x[:, :, 0, 0], parameters["kernel"], bias)[:, :, None, None]

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return handout 004's δ_F, ΔW₁ and Δb₁."""
        x, dy = x[:, :, 0, 0], dy[:, :, 0, 0]
        gradients = {"kernel": find_twin(".layers.dense_weight_gradient")(x, dy)}
        gradients |= {"bias": find_twin(".layers.dense_bias_gradient")(dy)} if self.bias else {}
        return find_twin(".layers.dense_input_gradient")(dy, parameters["kernel"])[:, :, None, None], gradients

    def reads(self, shape: Shape, place: Shape) -> Box:
        """Return all inputs."""
        return ((0, shape[0]), (0, 1), (0, 1))

    def weights(self, parameters: Arrays, shape: Shape, place: Shape) -> Array:
        """Return the output's row of the matrix."""
        return parameters["kernel"][place[0]].reshape(-1, 1, 1)

    def equations(self, shape: Shape) -> Equations:
        """Return handout 004's equations; its W is the transpose of the kernel."""
        gradients = {"kernel": "ΔW_mk = δ_m·x_k"} | ({"bias": "Δb_m = δ_m"} if self.bias else {})
        y = "y_m = Σ_k W_mk·x_k" + (" + b_m" if self.bias else "")
        return Equations(y, "δx_k = Σ_m δ_m·W_mk", gradients)

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return a Gemm with the weights [outputs, inputs]."""
        return [Operator("Gemm", {"transB": 1}, weights)]


def padded_row(inputs: int) -> int:
    """Return `inputs` rounded up to whole vectors."""
    return -(-inputs // LANES) * LANES
