"""Convolution."""

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from lenumba.engine.network.activations import ActivationName
from lenumba.engine.network.layers import block_gradients, channels, long_rows
from lenumba.engine.network.layers.base import (
    INITIALIZER_HELP,
    LIST,
    Border,
    InitializerName,
    LayerBase,
    Margins,
    Name,
    Node,
    Norm,
    Parameter,
    Shape,
    Size,
    pair,
)
from lenumba.engine.network.layers.windows import Box, tap, window_at
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.program.plan import Argument, Call, call, geometry
from lenumba.kernels.vector.tiling import tiles

Padding: TypeAlias = (
    Literal["valid", "same"]
    | Border
    | Annotated[tuple[Border, Border], LIST]
    | Annotated[tuple[Border, Border, Border, Border], LIST]
)
Row = Annotated[tuple[float, ...], LIST]
Matrix = Annotated[tuple[Row, ...], LIST]
Filter = Annotated[tuple[Matrix, ...], LIST]
Kernel = Annotated[tuple[Filter, ...], LIST]


class Conv(LayerBase):
    """Convolution: several filters slide over the image, each with one kernel per input channel."""

    combines = "sum"
    takes_flat = False
    type: Literal["conv"] = "conv"
    name: Name | None = Field(None, description="Name of the layer in summaries and checkpoints.")
    channels: int = Field(ge=1, le=1024, description="Number of filters, which is the number of output maps.")
    kernel_size: Size = Field(description="Kernel height and width in pixels: one number or [height, width].")
    stride: Size = Field(1, description="Step of the kernel in pixels: one number or [vertical, horizontal].")
    padding: Padding = Field(
        "valid",
        description="Zeros around the image: 'valid' (none), 'same' (output size = input size / stride, "
        "rounded up), or pixels: one number, [vertical, horizontal] or [top, bottom, left, right].",
    )
    groups: int = Field(
        1, ge=1, le=1024, description="Groups of channels that see nothing of one another: a divisor of both counts."
    )
    bias: bool = Field(True, description="Whether each filter adds a trainable constant.")
    norm: Norm = Field(
        "none",
        description="'batch' or {momentum: …, epsilon: …}: a batch_norm behind it, before the activation.",
    )
    activation: ActivationName = Field("none", description="Function applied to each output value.")
    orientation: Literal["correlation", "convolution"] = Field(
        "correlation",
        description="'correlation' slides the kernel as it is, 'convolution' rotated by 180 degrees.",
    )
    initializer: InitializerName = Field("glorot_uniform", description=INITIALIZER_HELP)
    trainable: bool = Field(True, description="Whether training changes the weights and biases.")
    kernel: Kernel | None = Field(
        None,
        description="Given initial weights instead of drawn ones: [channels][input channels][height][width].",
    )

    @property
    def takes_single_images(self) -> bool:
        """Whether there is one group."""
        return self.groups == 1

    @property
    def answers_single_images(self) -> bool:
        """Return True."""
        return True

    @field_validator("kernel")
    @classmethod
    def _kernel_fits(cls, kernel: Kernel | None, info: ValidationInfo) -> Kernel | None:
        if kernel is None or not {"channels", "kernel_size"} <= info.data.keys():
            return kernel
        channels, (height, width) = info.data["channels"], pair(info.data["kernel_size"])
        expected = f"{channels} filters (channels) of {height}×{width} matrices (kernel_size)"
        if len(kernel) != channels:
            raise ValueError(f"expected {expected}, found {len(kernel)} filters")
        for index, maps in enumerate(kernel):
            if len(maps) == 0 or len(maps) != len(kernel[0]):
                count = f"{len(maps)} matrices in filter {index}"
                raise ValueError(f"expected {expected}, one matrix per input channel, found {count}")
            if any(len(matrix) != height or any(len(row) != width for row in matrix) for matrix in maps):
                raise ValueError(f"expected {expected}, found another matrix size in filter {index}")
        return kernel

    def margins(self, shape: Shape) -> Margins:
        """Return (top, left, bottom, right); 'same' puts an odd pixel at the bottom and right, as ONNX's SAME_UPPER."""
        if self.padding == "valid":
            return (0, 0, 0, 0)
        if self.padding == "same":
            top, bottom = same_padding(shape[1], pair(self.kernel_size)[0], pair(self.stride)[0])
            left, right = same_padding(shape[2], pair(self.kernel_size)[1], pair(self.stride)[1])
            return (top, left, bottom, right)
        if isinstance(self.padding, tuple) and len(self.padding) == 4:
            top, bottom, left, right = self.padding
            return (top, left, bottom, right)
        vertical, horizontal = pair(self.padding)
        return (vertical, horizontal, vertical, horizontal)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, ⌊(H + padding − kernel) / stride⌋ + 1, the same for W)."""
        top, left, bottom, right = self.margins(shape)
        height, width = shape[1] + top + bottom, shape[2] + left + right
        (kh, kw), (sh, sw) = pair(self.kernel_size), pair(self.stride)
        if kh > height or kw > width:
            padded = " with its padding" if (height, width) != shape[1:] else ""
            raise ValueError(
                f"the {kh}×{kw} kernel is larger than its {height}×{width} input{padded}; use a smaller one"
            )
        if shape[0] % self.groups or self.channels % self.groups:
            counts = f"its {shape[0]} input channels and {self.channels} channels"
            most = math.gcd(shape[0], self.channels)
            fitting = " or ".join(str(k) for k in range(1, most + 1) if most % k == 0)
            raise ValueError(f"groups: expected a divisor of {counts}, found {self.groups}; use {fitting}")
        if self.kernel is not None and len(self.kernel[0]) * self.groups != shape[0]:
            inputs = f"{shape[0] // self.groups} input channels" + (" of a group" if self.groups > 1 else "")
            raise ValueError(f"expected a kernel for {inputs}, found one for {len(self.kernel[0])}")
        return (self.channels, (height - kh) // sh + 1, (width - kw) // sw + 1)

    def known_shape(self, shape: Shape) -> Shape:
        """Return the output's shape where groups alone do not fit; zeros where more does not."""
        try:
            return self.model_copy(update={"groups": 1, "kernel": None}).output_shape(shape)
        except ValueError:
            return super().known_shape(shape)

    def parameters(self, shape: Shape) -> list[Parameter]:
        """Return the kernel [channels, input channels of a group, height, width] and the bias [channels]."""
        kh, kw = pair(self.kernel_size)
        inputs, outputs = shape[0] // self.groups, self.channels // self.groups
        fans = inputs * kh * kw, outputs * kh * kw
        flipped = self.orientation == "convolution"
        kernel = Parameter("kernel", (self.channels, inputs, kh, kw), *fans, self.initializer, flipped)
        return [kernel, Parameter("bias", (self.channels,))] if self.bias else [kernel]

    def multiply_adds(self, shape: Shape) -> int:
        """Return outputs times taps."""
        channels, height, width = self.output_shape(shape)
        kh, kw = pair(self.kernel_size)
        return channels * height * width * shape[0] // self.groups * kh * kw

    def scratch(self, shape: Shape, unit: int) -> int:
        """Return the size of a single image's long rows."""
        return long_rows.rows_for(self, shape, pair(self.kernel_size)).size if unit == 1 else 0

    def forward(self, node: Node) -> list[Call]:
        """Return the tiled forward calls."""
        if node.x.unit == 1:
            return long_rows.forward_calls(self, node, pair(self.kernel_size), pair(self.stride))
        given: dict[str, Argument] = {"x": node.x.padded, "w": node.parameters["kernel"], "b": node.bias}
        given |= {"y": node.y.interior, "function": "none", "BIAS": node.has_bias}
        maps, columns = self.channels // self.groups, 8 if node.registers >= 32 else 4
        return [
            call(self.kernel_of("conv_forward"), self.sizes(node), **given, **tile)
            for tile in tiles("M", maps, "J", node.y.width, columns, node.registers)
        ]

    @property
    def takes_planes(self) -> bool:  # type: ignore[override]
        """Whether there is one group."""
        return self.groups == 1

    def takes_channels(self, shape: Shape) -> bool:
        """Return whether there is one group, or as many as channels."""
        return self.groups == 1 or self.groups == shape[0] == self.channels

    def answer(self, node: Node, shape: Shape) -> list[Call]:
        """Return the calls of a pass with 16 maps in the lanes of a vector."""
        window = pair(self.kernel_size), pair(self.stride)
        if self.groups == 1:
            return channels.conv_calls(node, shape[0], *window)
        return channels.depthwise_calls(node, *window)

    def arrange(self, kernel: Array, shape: Shape, lanes: int) -> Array:
        """Return the kernel in the order of `conv_channels` or `depthwise_channels`."""
        return channels.arranged(kernel, lanes if self.groups == 1 else 1)

    def row_vectors(self, shape: Shape) -> int:
        """Return the vectors of long rows times the taps that each takes."""
        taps = self.multiply_adds(shape) // math.prod(self.output_shape(shape)[1:])
        return taps * long_rows.rows_for(self, shape, pair(self.kernel_size)).outputs

    def backward(self, node: Node) -> list[Call]:
        """Return the gradients with respect to kernel, bias and, where it is needed, the input."""
        if node.x.unit == 1:
            return long_rows.backward_calls(self, node, pair(self.kernel_size), pair(self.stride))
        given: dict[str, Argument] = {"dy": node.dy.interior, "M": self.channels}
        biased = self.bias and self.trainable and not node.centered
        bias = [call("conv_bias_gradient", self.sizes(node), db=node.gradients["bias"], **given)] if biased else []
        return bias + self._gradients(node)

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Slide the kernels over the image (handout 003 §II–IV), in handout 004's orientation rotated by 180°."""
        bias = parameters["bias"] if self.bias else x.dtype.type(0).repeat(self.channels)
        margins, kernel = self.margins(x.shape[1:]), self._slid(parameters["kernel"])
        each = zip(self._parts(x, 1), self._parts(kernel), self._parts(bias), strict=True)
        return joined([find_twin(".layers.conv_forward")(*parts, pair(self.stride), margins) for parts in each], 1)

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return the three gradients of handout 004."""
        stride, margins, size = pair(self.stride), self.margins(x.shape[1:]), pair(self.kernel_size)
        back, weigh = find_twin(".layers.conv_input_gradient"), find_twin(".layers.conv_weight_gradient")
        slopes, kernel = self._parts(dy, 1), self._slid(parameters["kernel"])
        each = zip(slopes, self._parts(kernel), strict=True)
        dx = joined([back(*parts, x.shape[2:], stride, margins) for parts in each], 1)
        each = zip(self._parts(x, 1), slopes, strict=True)
        dw = joined([weigh(*parts, size, stride, margins) for parts in each], 0)
        gradients = {"kernel": self._slid(dw)}
        return dx, gradients | ({"bias": find_twin(".layers.conv_bias_gradient")(dy)} if self.bias else {})

    def reads(self, shape: Shape, place: Shape) -> Box:
        """Return the kernel's window over the channels of the map's group."""
        each = shape[0] // self.groups
        first = place[0] * self.groups // self.channels * each
        return window_at(place, (first, first + each), pair(self.kernel_size), pair(self.stride), self.margins(shape))

    def weights(self, parameters: Arrays, shape: Shape, place: Shape) -> Array:
        """Return the map's kernel as it slides."""
        return self._slid(parameters["kernel"])[place[0]]

    def _parts(self, array: Array, axis: int = 0) -> list[Array]:
        """Return an array's parts, one for each group."""
        size = array.shape[axis] // self.groups
        parts = (slice(group * size, (group + 1) * size) for group in range(self.groups))
        return [array[part] if axis == 0 else array[:, part].copy() for part in parts]

    def _slid(self, kernel: Array) -> Array:
        """Rotate kernels by 180° where the orientation is ``convolution``: the loops compute correlations."""
        return kernel[:, :, ::-1, ::-1].copy() if self.orientation == "convolution" else kernel

    def equations(self, shape: Shape) -> Equations:
        """Return handout 003's equations, with handout 004's indices where the layer is a true convolution."""
        (top, left, _, _), strides = self.margins(shape), pair(self.stride)
        inputs = "Σ_c" if self.groups == 1 else f"Σ_c (of {self.groups} groups)"
        ends = [size - 1 if self.orientation == "convolution" else None for size in pair(self.kernel_size)]
        row, column = tap("i", "u", strides[0], top, ends[0]), tap("j", "v", strides[1], left, ends[1])
        gradients = {"kernel": f"ΔK_mc(u,v) = Σ_i Σ_j δ_m(i,j)·x_c({row}, {column})"}
        if self.bias:
            gradients["bias"] = "Δb_m = Σ_i Σ_j δ_m(i,j)"
        return Equations(
            f"y_m(i,j) = {inputs} Σ_u Σ_v x_c({row}, {column})·K_mc(u,v){' + b_m' if self.bias else ''}",
            f"δx_c(r,q) = Σ_m Σ δ_m(i,j)·K_mc(u,v), {row} = r, {column} = q",
            gradients,
        )

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return a Conv, which is a correlation."""
        window: dict[str, Any] = {"kernel_shape": pair(self.kernel_size), "strides": pair(self.stride)}
        window |= {"group": self.groups} if self.groups > 1 else {}
        return [Operator("Conv", window | {"pads": self.margins(shape)}, weights)]

    def described(self) -> dict[str, Any]:
        """Return the window that slides over the image and its stride, [vertical, horizontal] each, and the groups."""
        return {"window": list(pair(self.kernel_size)), "stride": list(pair(self.stride)), "groups": self.groups}

    def _gradients(self, node: Node) -> list[Call]:
        """Return the kernel's and the input's gradients."""
        kernel = self._weight_gradient(node) if self.trainable else []
        return kernel + (block_gradients.input_gradient(self, node, node.dx) if node.dx is not None else [])

    def _weight_gradient(self, node: Node) -> list[Call]:
        """Return the kernel's gradient."""
        return block_gradients.weight_gradient(self, node)

    def kernel_of(self, name: str) -> str:
        """Return the kernel that does for all groups what the one of this name does for one."""
        return name if self.groups == 1 else f"grouped_{name}"

    def sizes(self, node: Node) -> dict[str, int]:
        """Return the whole numbers of a pass; where there are groups, those of channels count one group's."""
        return self.of_group(geometry(node.x, node.y, pair(self.kernel_size), pair(self.stride)))

    def of_group(self, sizes: dict[str, int]) -> dict[str, int]:
        """Return the whole numbers of a pass for one of its groups, and how many there are."""
        parts = {name: sizes[name] // self.groups for name in "CM"}
        return sizes | parts | {"GROUPS": self.groups} if self.groups > 1 else sizes


def joined(parts: list[Array], axis: int) -> Array:
    """Return arrays side by side; a lone one as it is."""
    import numpy as np  # checking a configuration needs none

    return np.concatenate(parts, axis) if len(parts) > 1 else parts[0]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after, so that ⌈size / stride⌉ outputs fit."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2
