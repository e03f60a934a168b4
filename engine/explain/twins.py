"""Each layer's plain twin: what it computes forward and backward, in loops that read like the handouts' formulas.

To add one for a new layer: write its two functions and put them into :data:`TWINS` under the layer's type.

``forward(layer, parameters, x)`` returns y; ``backward(layer, parameters, x, y, dy)`` returns ∂L/∂x and the
parameters' gradients for dy = ∂L/∂y. x and y have the axes [N, C, H, W]; parameters and gradients go by their short
names, ``kernel`` and ``bias``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.network.layers import pair
from lenumba.kernels.reference import layers as reference
from lenumba.kernels.reference import steps as reference_steps

Array = np.ndarray
Arrays = dict[str, np.ndarray]
Gradients = tuple[Array, Arrays]


class Twin(NamedTuple):
    """A layer's plain forward and backward pass."""

    forward: Callable[[Any, Arrays, Array], Array]
    backward: Callable[[Any, Arrays, Array, Array, Array], Gradients]


def conv_forward(layer: Any, parameters: Arrays, x: Array) -> Array:
    """Slide the kernels over the image (handout 003 §II–IV), in handout 004's orientation rotated by 180°."""
    bias = parameters.get("bias", np.zeros(layer.channels, x.dtype))
    margins = layer.margins(x.shape[1:])
    return reference.conv_forward(x, turned(layer, parameters["kernel"]), bias, pair(layer.stride), margins)


def conv_backward(layer: Any, parameters: Arrays, x: Array, y: Array, dy: Array) -> Gradients:
    """Return the three gradients of handout 004."""
    stride, margins = pair(layer.stride), layer.margins(x.shape[1:])
    dx = reference.conv_input_gradient(dy, turned(layer, parameters["kernel"]), x.shape[2:], stride, margins)
    dw = reference.conv_weight_gradient(x, dy, pair(layer.kernel_size), stride, margins)
    gradients = {"kernel": turned(layer, dw)}
    return dx, gradients | ({"bias": reference.conv_bias_gradient(dy)} if layer.bias else {})


def turned(layer: Any, kernel: Array) -> Array:
    """Rotate kernels by 180° where the layer's orientation is ``convolution``: the loops compute correlations."""
    return np.ascontiguousarray(kernel[:, :, ::-1, ::-1]) if layer.orientation == "convolution" else kernel


def average_pool_forward(layer: Any, parameters: Arrays, x: Array) -> Array:
    """Take the mean of each window."""
    return reference.average_pool_forward(x, pair(layer.size), layer.steps, layer.margins(x.shape[1:]))


def average_pool_backward(layer: Any, parameters: Arrays, x: Array, y: Array, dy: Array) -> Gradients:
    """Share each gradient among its window."""
    return reference.average_pool_backward(x, dy, pair(layer.size), layer.steps, layer.margins(x.shape[1:])), {}


def max_pool_forward(layer: Any, parameters: Arrays, x: Array) -> Array:
    """Take the largest value of each window."""
    return reference.max_pool_forward(x, pair(layer.size), layer.steps, layer.margins(x.shape[1:]))


def max_pool_backward(layer: Any, parameters: Arrays, x: Array, y: Array, dy: Array) -> Gradients:
    """Give each gradient to the value that was the largest."""
    return reference.max_pool_backward(x, dy, pair(layer.size), layer.steps, layer.margins(x.shape[1:])), {}


def flatten_forward(layer: Any, parameters: Arrays, x: Array) -> Array:
    """Return [N, C · H · W, 1, 1]: map by map and row by row."""
    return x.reshape(len(x), -1, 1, 1)


def flatten_backward(layer: Any, parameters: Arrays, x: Array, y: Array, dy: Array) -> Gradients:
    """Return dy in the shape of the maps."""
    return dy.reshape(x.shape), {}


def dense_forward(layer: Any, parameters: Arrays, x: Array) -> Array:
    """Multiply by the weights and add the biases (handout 004: F·W₁ + b₁)."""
    bias = parameters.get("bias", np.zeros(layer.units, x.dtype))
    return reference.dense_forward(x[:, :, 0, 0], parameters["kernel"], bias)[:, :, None, None]


def dense_backward(layer: Any, parameters: Arrays, x: Array, y: Array, dy: Array) -> Gradients:
    """Return handout 004's δ_F, ΔW₁ and Δb₁."""
    x, dy = x[:, :, 0, 0], dy[:, :, 0, 0]
    gradients = {"kernel": reference.dense_weight_gradient(x, dy)}
    gradients |= {"bias": reference.dense_bias_gradient(dy)} if layer.bias else {}
    return reference.dense_input_gradient(dy, parameters["kernel"])[:, :, None, None], gradients


def activation_forward(layer: Any, parameters: Arrays, x: Array) -> Array:
    """Return f(x)."""
    return reference_steps.activation_forward(getattr(reference_steps, layer.function), x)


def activation_backward(layer: Any, parameters: Arrays, x: Array, y: Array, dy: Array) -> Gradients:
    """Return dy · f′(y)."""
    derivative = getattr(reference_steps, f"{layer.function}_derivative")
    return reference_steps.activation_backward(derivative, y, dy), {}


def dropout_forward(layer: Any, parameters: Arrays, x: Array) -> Array:
    """Return x: the plain network computes what evaluation does, and that knows no dropout."""
    return x


def dropout_backward(layer: Any, parameters: Arrays, x: Array, y: Array, dy: Array) -> Gradients:
    """Return dy."""
    return dy, {}


TWINS = {
    "conv": Twin(conv_forward, conv_backward),
    "average_pool": Twin(average_pool_forward, average_pool_backward),
    "max_pool": Twin(max_pool_forward, max_pool_backward),
    "flatten": Twin(flatten_forward, flatten_backward),
    "dense": Twin(dense_forward, dense_backward),
    "activation": Twin(activation_forward, activation_backward),
    "dropout": Twin(dropout_forward, dropout_backward),
}
