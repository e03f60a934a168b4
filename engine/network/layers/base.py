"""What every layer offers, and what it gets to print its kernel calls."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, Strict

from lenumba.engine.network.layers.strict import Strictly
from lenumba.engine.network.layers.windows import Box
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.program.plan import Call, Place, Tensor

if TYPE_CHECKING:
    import numpy as np

Shape = tuple[int, int, int]  # channels, height, width
Margins = tuple[int, int, int, int]  # top, left, bottom, right

InitializerName = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "zeros"]
INITIALIZER_HELP = (
    "Distribution of the initial weights, of variance 2 / inputs (he) or 2 / (inputs + outputs) (glorot); as in "
    "PyTorch, normal ones have all their tails, which Keras cuts off at two deviations, keeping the variance."
)

LIST = Strict(False)  # YAML has lists where the frozen models hold tuples; the items stay strict
Extent = Annotated[int, Field(ge=1, le=64)]
Border = Annotated[int, Field(ge=0, le=64)]
Size = Extent | Annotated[tuple[Extent, Extent], LIST]
Name = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return ``(height, width)`` of a size that may be given as one number."""
    return (size, size) if isinstance(size, int) else size


Momentum = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="Share of each batch in the running statistics (as in PyTorch; Keras counts from the other end).",
    ),
]
Epsilon = Annotated[float, Field(gt=0, description="Added to the variance.")]


class NormSettings(Strictly):
    """What a layer's own batch norm may be told."""

    momentum: Momentum = 0.1
    epsilon: Epsilon = 1e-5


Norm = Literal["none", "batch"] | NormSettings


@dataclass(frozen=True)
class Parameter:
    """One tensor of trainable numbers.

    Attributes
    ----------
    name
        ``kernel``, which weight decay pulls towards zero, or ``bias``.
    shape
        Axes ``[maps, input maps, height, width]`` of a convolution's kernel, ``[outputs, inputs]`` of a dense
        layer's, ``[maps]`` or ``[outputs]`` of a bias.
    fan_in, fan_out
        Inputs and outputs of one unit, for the initial distribution; 0 for biases, which start at zero.
    initializer
        Name of the initial distribution.
    flipped
        Whether memory holds the kernels rotated by 180°, so that the kernels' correlation is a convolution.
    start
        What it starts from where nothing is drawn.
    learned
        Whether it has a gradient; else it is a statistic that training keeps up to date.
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int = 0
    fan_out: int = 0
    initializer: InitializerName = "zeros"
    flipped: bool = False
    start: float = 0.0
    learned: bool = True

    def draw(self, generator: "np.random.Generator") -> Array:
        """Draw its initial values: Glorot & Bengio 2010 or He et al. 2015, uniform or normal, or `start`."""
        import numpy as np

        if self.initializer == "zeros" or not self.fan_in:
            return np.full(self.shape, self.start)
        family, distribution = self.initializer.split("_")
        variance = 2 / (self.fan_in + self.fan_out) if family == "glorot" else 2 / self.fan_in
        if distribution == "normal":
            return generator.standard_normal(self.shape) * np.sqrt(variance)
        return (2 * generator.random(self.shape) - 1) * np.sqrt(3 * variance)


@dataclass(frozen=True)
class Node:
    """A layer at its place in a network: where its tensors, parameters and gradients lie.

    `dx` is None where nobody needs the gradient with respect to the input; `number` counts the layers from 0. A layer
    of several inputs finds the others in `more`. Where it is `centered`, a batch norm alone reads y, and takes any
    constant away again: a bias has no gradient.
    """

    x: Tensor
    y: Tensor
    dx: Tensor | None
    dy: Tensor
    parameters: dict[str, Place]
    gradients: dict[str, Place]
    scratch: Place
    temporary: Place
    registers: int
    number: int = 0
    more: tuple[Tensor, ...] = ()
    centered: bool = False

    @property
    def has_bias(self) -> bool:
        """Whether a bias is added."""
        return "bias" in self.parameters

    @property
    def bias(self) -> Place | str:
        """Where the bias lies; anywhere in `theta` where there is none."""
        return self.parameters.get("bias", "theta")


class LayerBase(Strictly):
    """A layer: its configuration, shapes, parameters and kernel calls, plain twin, equations, ONNX and JavaScript.

    Each class adds its own `type`. In plain loops, x and y have the axes [N, C, H, W], parameters and their gradients
    go by their short names, and dy is ∂L/∂y. A layer of several inputs takes and returns tuples for x and ∂L/∂x.
    """

    margin_value: ClassVar[float] = 0.0  # what the padding around the input holds
    in_place: ClassVar[bool] = False  # whether y may lie where x lies
    passes_through: ClassVar[bool] = False  # whether y is x, where it lies: no kernel runs
    reads_output: ClassVar[bool] = False  # whether the backward pass needs y, so that nothing may overwrite it
    passes_gradient: ClassVar[bool] = False  # whether ∂L/∂y is ∂L/∂x of every input, where it lies
    sees_batch: ClassVar[bool] = False  # whether what it does to an image depends on the others of its batch

    combines: ClassVar[str] = ""  # how a value comes from its window: "sum" of products, "max"; "" value by value

    takes_row: ClassVar[bool] = False  # whether it reads its input as one row of numbers, so without margins
    takes_flat: ClassVar[bool] = True  # whether it may follow a flat layer
    gives_flat: ClassVar[bool] = False  # whether no layer of maps may follow it

    @property
    def kind(self) -> str:
        """The layer's type, as configurations write it."""
        return self.type  # type: ignore[attr-defined, no-any-return]

    @property
    def stem(self) -> str:
        """What layers without a name are called, with a number behind."""
        return self.kind

    @property
    def takes_single_images(self) -> bool:
        """Whether it can take images one by one, which pays for small batches."""
        return True

    @property
    def answers_single_images(self) -> bool:
        """Whether it can do so where nothing is learned."""
        return self.takes_single_images

    def output_shape(self, shape: Shape) -> Shape:
        """Return the output's (channels, height, width); raise ValueError with the reason if there is none."""
        return shape

    def known_shape(self, shape: Shape) -> Shape:
        """Return the output's shape as far as it is known where `output_shape` raises; zeros where it is not."""
        return (0, 0, 0)

    def note(self, shape: Shape) -> str:
        """Return what users should know of it at an input of `shape`, such as what it leaves out; "" if nothing."""
        return ""

    def margins(self, shape: Shape) -> Margins:
        """Return the padding that the input needs around it."""
        return (0, 0, 0, 0)

    def assemble(self, assembly: Any, name: str, path: str, tensor: int) -> int:
        """Add its units to a :class:`lenumba.engine.network.units.Assembly`; return the number of their output."""
        return assembly.unit(name, path, self, (tensor,))  # type: ignore[no-any-return]

    def inner(self) -> "dict[str, tuple[LayerBase, ...]]":
        """Return the layers that it holds, by the field that has them."""
        return {}

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        """Return the tensors that it has for an input of `shape`."""
        return ()

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one image's forward pass."""
        return 0

    @property
    def form(self) -> str:
        """How it is computed, where that is not what its equations say."""
        return ""

    def scratch(self, shape: Shape, unit: int) -> int:
        """Return how many floats of a block's memory the layer needs beside its tensors, for `unit` images."""
        return 0

    def temporary(self, shape: Shape, unit: int) -> int:
        """Return how many floats it needs while a step lasts: a worker's own, which all layers share."""
        return 0

    def forward(self, node: Node) -> list[Call]:
        """Return the kernel calls of the forward pass."""
        raise NotImplementedError

    def evaluate(self, node: Node) -> list[Call]:
        """Return the kernel calls of the forward pass when nothing is learned."""
        return self.forward(node)

    takes_planes: ClassVar[bool] = False  # whether `answer` also takes an image's planes of floats

    def takes_channels(self, shape: Shape) -> bool:
        """Return whether it can answer with 16 channels in the lanes of a vector (:meth:`answer`)."""
        return False

    def answer(self, node: Node, shape: Shape) -> list[Call]:
        """Return the calls of the forward pass of one image with 16 channels in the lanes of a vector.

        The input's (channels, height, width) are those of the maps that a flat one was made from.
        """
        return self.evaluate(node)

    def answers_at_points(self, shape: Shape, lanes: int) -> bool:
        """Return whether `answer` computes it at points (:attr:`form`) where so many channels lie side by side."""
        return False

    def answer_temporary(self, shape: Shape) -> int:
        """Return how many floats `answer` needs while a step lasts, as :meth:`temporary`."""
        return 0

    def arrange(self, kernel: Array, shape: Shape, lanes: int) -> Array:
        """Return the kernel's weights in the order in which `answer` reads them, with zeros for what is not there."""
        raise NotImplementedError

    def row_vectors(self, shape: Shape) -> int:
        """Return how many vector operations the forward pass takes where images lie in long rows."""
        return 0

    def backward(self, node: Node) -> list[Call]:
        """Return the kernel calls of the backward pass."""
        raise NotImplementedError

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Return y."""
        raise NotImplementedError

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return ∂L/∂x and the parameters' gradients."""
        raise NotImplementedError

    def batch_forward(self, parameters: Arrays, x: Array) -> Array:
        """Return y as training computes it, where that depends on the batch."""
        return self.plain_forward(parameters, x)

    def batch_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return ∂L/∂x and the parameters' gradients of :meth:`batch_forward`."""
        return self.plain_backward(parameters, x, y, dy)

    def reads(self, shape: Shape, place: Shape) -> Box | None:
        """Return the window of an input of `shape` that the output at (channel, row, column) is made of.

        Unless a layer says otherwise it is the value at the same place; None: nothing is known of it.
        """
        one: Box = tuple((at, at + 1) for at in place)  # type: ignore[assignment]
        return one if self.output_shape(shape) == shape else None

    def weights(self, parameters: Arrays, shape: Shape, place: Shape) -> Array:
        """Return what the values of a window are multiplied by before they are summed, float64 of its shape."""
        raise NotImplementedError

    def equations(self, shape: Shape) -> Equations:
        """Return its equations, as the handouts write them, with the sizes of an input of `shape`."""
        raise NotImplementedError

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return its ONNX operators; `weights` has PyTorch's names, ``weight`` and ``bias``."""
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """Return what its JavaScript needs of its configuration."""
        return {}

    @classmethod
    def example(cls) -> Self:
        """Return a layer for the self-test."""
        return cls.model_validate({"type": cls.model_fields["type"].default})

    @classmethod
    def javascript(cls) -> str:
        """Return the JavaScript that puts it into the page's table `LAYERS`: the ``.js`` file beside its module."""
        return Path(str(sys.modules[cls.__module__].__file__)).with_suffix(".js").read_text(encoding="utf-8")


def torch_name(name: str) -> str:
    """Return what PyTorch calls a parameter: ``conv1.weight`` for ``conv1.kernel``."""
    layer, dot, own = name.rpartition(".")
    return f"{layer}{dot}weight" if own == "kernel" else name
