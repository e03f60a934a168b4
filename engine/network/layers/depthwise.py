"""Depthwise convolution."""

from typing import Any, Literal

from pydantic import Field

from lenumba.engine.network.activations import ActivationName
from lenumba.engine.network.layers.base import INITIALIZER_HELP, InitializerName, LayerBase, Name, Norm, Shape, Size
from lenumba.engine.network.layers.conv import Conv, Padding

MAX_CHANNELS = 1024  # a convolution's


class DepthwiseConv(LayerBase):
    """Depthwise convolution: every channel has filters of its own. A `conv` with as many groups as input channels."""

    takes_flat = False
    type: Literal["depthwise_conv"] = "depthwise_conv"
    name: Name | None = Field(None, description="Name of the layer in summaries and checkpoints.")
    kernel_size: Size = Field(description="Kernel height and width in pixels: one number or [height, width].")
    multiplier: int = Field(1, ge=1, le=1024, description="Number of filters of each channel.")
    stride: Size = Field(1, description="Step of the kernel in pixels: one number or [vertical, horizontal].")
    padding: Padding = Field("valid", description="Zeros around the image, as for conv.")
    bias: bool = Field(True, description="Whether each filter adds a trainable constant.")
    norm: Norm = Field(
        "none",
        description="'batch' or {momentum: …, epsilon: …}: a batch_norm behind it, before the activation.",
    )
    activation: ActivationName = Field("none", description="Function applied to each output value.")
    initializer: InitializerName = Field("glorot_uniform", description=INITIALIZER_HELP)
    trainable: bool = Field(True, description="Whether training changes the weights and biases.")

    @property
    def stem(self) -> str:
        """Return ``depthwise``."""
        return "depthwise"

    def output_shape(self, shape: Shape) -> Shape:
        """Return that of the convolution."""
        return self.as_conv(shape).output_shape(shape)

    def as_conv(self, shape: Shape) -> Conv:
        """Return the convolution that it is for an input of `shape`."""
        same = self.model_dump(exclude={"type", "name", "multiplier", "norm", "activation"})
        return Conv(channels=shape[0] * self.multiplier, groups=shape[0], **same)

    @classmethod
    def javascript(cls) -> str:
        """Return the convolution's."""
        return Conv.javascript()

    def assemble(self, assembly: Any, name: str, path: str, tensor: int) -> int:
        """Add the convolution."""
        shape = assembly.shapes[tensor]
        if shape[0] * self.multiplier > MAX_CHANNELS:
            found = f"{shape[0]} × {self.multiplier}"
            raise assembly.error(path, f"multiplier: expected at most {MAX_CHANNELS} channels, found {found}; use less")
        layer = self.as_conv(shape) if all(shape) else self  # zeros are not known
        return assembly.unit(name, path, layer, (tensor,))  # type: ignore[no-any-return]
