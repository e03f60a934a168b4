"""The operations in floating-point numbers, in NumPy: what is calibrated with, and what the C file must give."""

from collections.abc import Callable, Iterator

import numpy as np

from lenumba.engine.deploy import sums
from lenumba.engine.deploy.graph import Graph, Operation
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.kernels.program.catalogue import find_twin

BLOCK = 64  # images at a time: their windows are copied side by side


def run(graph: Graph, images: np.ndarray) -> list[np.ndarray]:
    """Return every tensor, float32 [N, H, W, C], for images [N, H, W, C] as users have them."""
    scale, shift = graph.normalization
    tensors = [images.astype(np.float32) * scale + shift]
    for operation in graph.operations:
        tensors.append(output_of(operation, [tensors[tensor] for tensor in operation.inputs]))
    return tensors


def blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield images some at a time."""
    yield from (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))


def probabilities(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Return float32 [N, outputs]; of numbers, in their units."""
    rows = [run(graph, block)[-1].reshape(len(block), -1) for block in blocks(images)]
    return graph.in_units(ENDS[graph.end](np.concatenate(rows)))


def output_of(operation: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    """Return what one operation gives."""
    y = np.clip(FORWARD[operation.kind](operation, inputs), operation.low, operation.high)
    return y if operation.pool is None else FORWARD[operation.pool.kind](operation.pool, [y])


def before_limits(operation: Operation, x: np.ndarray) -> np.ndarray:
    """Return a weighted operation's sums with its bias."""
    assert operation.weight is not None
    assert operation.bias is not None
    return sums.SUMS[operation.kind](operation, x, operation.weight) + operation.bias


def average_pool(operation: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    """Return the means of the windows."""
    total, counts = sums.window_sums(operation, inputs[0])
    return (total / counts).astype(np.float32)


def activation(operation: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    """Return what the activation's twin gives."""
    own = find_twin(ACTIVATIONS[operation.function].kernels()[operation.function].twin)
    return np.asarray(find_twin(".steps.activation_forward")(own, inputs[0]))


def flatten(operation: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    """Return maps as a row of numbers, map by map."""
    return inputs[0].transpose(0, 3, 1, 2).reshape(len(inputs[0]), 1, 1, -1)


def _weighted(operation: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    return before_limits(operation, inputs[0])


FORWARD: dict[str, Callable[[Operation, list[np.ndarray]], np.ndarray]] = {
    "conv": _weighted,
    "depthwise": _weighted,
    "dense": _weighted,
    "add": lambda operation, inputs: inputs[0] + inputs[1],
    "average_pool": average_pool,
    "max_pool": lambda operation, inputs: sums.window_maxima(operation, inputs[0]),
    "limit": lambda operation, inputs: inputs[0],
    "activation": activation,
    "flatten": flatten,
}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the shares of e to the power of the logits [N, K]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


ENDS = {
    "softmax": softmax,
    "sigmoid": lambda logits: 1 / (1 + np.exp(-logits)),
    "none": lambda logits: logits,
}
