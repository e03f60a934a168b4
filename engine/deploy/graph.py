"""What runs on a device: few kinds of operations, on tensors with the axes [height, width, channels].

Norms lie in the weights before them, activations that only limit are limits of the operation before, and a pooling
whose windows lie side by side belongs to the convolution before it, of which then nothing else need be stored.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

Shape = tuple[int, int, int]  # height, width, channels
MOST_PRODUCTS = 1 << 15  # of two int8 numbers, in one int32 sum with some room


class Window(NamedTuple):
    """A window that slides over a map: its size, its steps, and the padding above it and on its left."""

    height: int
    width: int
    down: int
    right: int
    top: int = 0
    left: int = 0


POINT = Window(1, 1, 1, 1)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation.

    Attributes
    ----------
    kind
        Name of a row of :data:`lenumba.engine.deploy.kinds.KINDS`.
    inputs
        The tensors that it reads: number 0 is the image, number k + 1 the output of operation k.
    shape, output
        The shapes of its first input and of its output.
    weight, bias
        float32: ``conv`` [maps, height, width, channels of a group], ``depthwise`` [height, width, maps], ``dense``
        [outputs, inputs]; the bias [maps].
    low, high
        The limits of what it gives: those of the activation behind it.
    pool
        The pooling behind it: ``average_pool`` or ``max_pool`` with windows side by side.
    function
        Name of an activation, where it is one.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    shape: Shape
    output: Shape
    window: Window = POINT
    groups: int = 1
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    low: float = -math.inf
    high: float = math.inf
    pool: "Operation | None" = None
    counts_padding: bool = True
    function: str = ""

    @property
    def unpooled(self) -> Shape:
        """Shape of the output before the pooling."""
        return self.pool.shape if self.pool else self.output

    @property
    def maps(self) -> int:
        """How many channels come out, or outputs of a dense layer."""
        return self.output[2]

    @property
    def pooled_sums(self) -> int:
        """Of how many sums an output is the mean."""
        return self.pool.window.height * self.pool.window.width if self.pool and self.pool.kind == "average_pool" else 1

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image; the products with padding count, too."""
        if self.weight is None:
            return 0
        height, width, _ = self.unpooled
        return height * width * self.weight.size

    def __str__(self) -> str:
        """Write what it does, as a comment."""
        text = f"{self.name}: {written(self.shape)} -> {written(self.unpooled)}"
        return f"{text}, pooled to {written(self.output)}" if self.pool else text


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations in their order, for images of one shape.

    `normalization` is (scale, shift), float32 [channels] each: the first tensor is image · scale + shift. `end` is the
    activation that makes probabilities of the last tensor: ``softmax``, ``sigmoid`` or ``none``. `signals`: whether
    images are floating-point numbers, not bytes. `units`: (factor, offset), float32 [outputs] each, of outputs that are
    numbers: they bring them to the targets' own units.
    """

    operations: tuple[Operation, ...]
    shape: Shape
    normalization: tuple[np.ndarray, np.ndarray]
    end: str
    signals: bool = False
    units: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def shapes(self) -> list[Shape]:
        """The tensors' shapes."""
        return [self.shape, *(operation.output for operation in self.operations)]

    @property
    def outputs(self) -> int:
        """How many numbers come out."""
        return int(np.prod(self.shapes[-1]))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image."""
        return sum(operation.multiply_adds for operation in self.operations)

    @property
    def parameter_count(self) -> int:
        """Number of all weights and biases."""
        arrays = [array for each in self.operations for array in (each.weight, each.bias) if array is not None]
        return sum(array.size for array in arrays)

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs [N, outputs] in the units of the targets."""
        return outputs if self.units is None else outputs * self.units[0] + self.units[1]

    def readers(self, tensor: int) -> list[int]:
        """Return the operations that read a tensor."""
        return [k for k, operation in enumerate(self.operations) if tensor in operation.inputs]


def written(shape: Shape) -> str:
    """Write a shape: 28x28x1, or 96 for a row of numbers."""
    return "x".join(map(str, shape if shape[:2] != (1, 1) else shape[2:]))


def merged(graph: Graph) -> Graph:
    """Return a graph whose limits and poolings belong to the operations before them, where nothing else reads these."""
    operations: list[Operation] = []
    places = [0]  # of each tensor in the new graph
    for k, operation in enumerate(graph.operations):
        operation = replace(operation, inputs=tuple(places[tensor] for tensor in operation.inputs))
        number = operation.inputs[0]
        alone = number == len(operations) > 0 and graph.readers(graph.operations[k].inputs[0]) == [k]
        if alone and (joint := _joined(operations[-1], operation)):
            operations[-1] = joint
        else:
            operations.append(operation)
        places.append(len(operations))
    return replace(graph, operations=tuple(operations))


def _joined(first: Operation, second: Operation) -> Operation | None:
    """Return one operation in the place of two, where that is possible."""
    if first.kind not in ("conv", "depthwise", "dense", "add") or first.pool:
        return None
    if second.kind == "limit":
        return replace(first, low=max(first.low, second.low), high=min(first.high, second.high))
    window = second.window
    apart = (window.height, window.width) == (window.down, window.right) and not window.top and not window.left
    if first.kind not in ("conv", "depthwise") or not apart:
        return None
    joint = replace(first, output=second.output, pool=second)
    # Means are taken of sums, before they are rounded: what limits these must be 0, and they must fit into 32 bits.
    products = first.weight.size // first.unpooled[2] if first.weight is not None else 0
    mean = first.low in (0, -math.inf) and first.high == math.inf and products * joint.pooled_sums <= MOST_PRODUCTS
    return joint if second.kind == "max_pool" or (second.kind == "average_pool" and mean) else None
