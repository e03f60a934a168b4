"""The layers that a configuration can name."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationInfo, field_validator

ActivationName = Literal["none", "relu", "leaky_relu", "tanh", "sigmoid", "softmax"]
InitializerName = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "zeros"]

LIST = Strict(False)  # YAML has lists where the frozen models hold tuples; the items stay strict
Extent = Annotated[int, Field(ge=1, le=64)]
Border = Annotated[int, Field(ge=0, le=64)]
Size = Extent | Annotated[tuple[Extent, Extent], LIST]
SymmetricPadding = Literal["valid"] | Border | Annotated[tuple[Border, Border], LIST]
Padding = (
    Literal["valid", "same"]
    | Border
    | Annotated[tuple[Border, Border], LIST]
    | Annotated[tuple[Border, Border, Border, Border], LIST]
)
Row = Annotated[tuple[float, ...], LIST]
Matrix = Annotated[tuple[Row, ...], LIST]
Filter = Annotated[tuple[Matrix, ...], LIST]
Kernel = Annotated[tuple[Filter, ...], LIST]
Name = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Strictly(BaseModel):
    """Base of every part of a configuration: frozen, without unknown keys, conversions, NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return ``[height, width]`` of a size that may be given as one number."""
    return (size, size) if isinstance(size, int) else size


class Conv(Strictly):
    """Convolution: several filters slide over the image, each with one kernel per input channel."""

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
    bias: bool = Field(True, description="Whether each filter adds a trainable constant.")
    activation: ActivationName = Field("none", description="Function applied to each output value.")
    orientation: Literal["correlation", "convolution"] = Field(
        "correlation",
        description="'correlation' slides the kernel as it is, 'convolution' rotated by 180 degrees.",
    )
    initializer: InitializerName = Field("glorot_uniform", description="Distribution of the initial weights.")
    trainable: bool = Field(True, description="Whether training changes the weights and biases.")
    kernel: Kernel | None = Field(
        None,
        description="Given initial weights instead of drawn ones: [channels][input channels][height][width].",
    )

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


class _Pool(Strictly):
    type: str  # here only to come first
    name: Name | None = Field(None, description="Name of the layer in summaries.")
    size: Size = Field(description="Window height and width in pixels: one number or [height, width].")
    stride: Size | None = Field(
        None,
        description="Step of the window in pixels: one number or [vertical, horizontal]; null: the size.",
    )
    padding: SymmetricPadding = Field(
        "valid", description="Border in pixels: 'valid' (none), one number or [vertical, horizontal]."
    )


class MaxPool(_Pool):
    """Max-pooling: the largest value of each window."""

    type: Literal["max_pool"] = "max_pool"


class AveragePool(_Pool):
    """Average-pooling: the mean of each window."""

    type: Literal["average_pool"] = "average_pool"


class Flatten(Strictly):
    """Flatten: turn the maps into one vector."""

    type: Literal["flatten"] = "flatten"


class Dense(Strictly):
    """Dense (fully connected) layer: every output depends on every input."""

    type: Literal["dense"] = "dense"
    name: Name | None = Field(None, description="Name of the layer in summaries and checkpoints.")
    units: int = Field(ge=1, le=65536, description="Number of outputs.")
    bias: bool = Field(True, description="Whether each output adds a trainable constant.")
    activation: ActivationName = Field("none", description="Function applied to the outputs.")
    initializer: InitializerName = Field("glorot_uniform", description="Distribution of the initial weights.")
    trainable: bool = Field(True, description="Whether training changes the weights and biases.")


class Dropout(Strictly):
    """Dropout: during training, set random values to zero and scale up the others."""

    type: Literal["dropout"] = "dropout"
    rate: float = Field(ge=0, lt=1, description="Fraction of the values that are set to zero.")


class Activation(Strictly):
    """An activation function as a layer of its own."""

    type: Literal["activation"] = "activation"
    function: ActivationName = Field(description="Function applied to each value.")


LayerUnion = Conv | MaxPool | AveragePool | Flatten | Dense | Dropout | Activation
Layer = Annotated[LayerUnion, Field(discriminator="type")]
LAYERS: tuple[type[Any], ...] = get_args(LayerUnion)


def activation_of(layer: LayerUnion) -> str:
    """Return the activation function that a layer applies to its output, ``"none"`` if it has none."""
    return layer.function if isinstance(layer, Activation) else getattr(layer, "activation", "none")
