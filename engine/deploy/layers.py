"""An operation in whole numbers, of its weights and of what its tensors stand for."""

from collections.abc import Sequence

import numpy as np

from lenumba.engine.deploy.floats import output_of
from lenumba.engine.deploy.graph import Operation
from lenumba.engine.deploy.int8 import HIGHEST, LOWEST, SUM_SHIFT, Int8Layer, Scale, fixed_point

MAPS_AXIS = {"conv": 0, "dense": 0, "depthwise": 2}  # of the weights
WEAKEST = 2.0**-20  # what a step of a sum counts at least, in steps of the output: maps without weights have a bias
SAME_SCALE = ("average_pool", "max_pool", "flatten")  # what comes out of these stands for what went in


def make_layer(operation: Operation, inputs: Sequence[Scale], output: Scale) -> Int8Layer:
    """Return an operation in whole numbers, with symmetric weights of a scale for each map."""
    zeros = tuple(scale.zero for scale in inputs)
    if operation.weight is not None and operation.bias is not None:
        axis = MAPS_AXIS[operation.kind]
        weight = np.moveaxis(operation.weight.astype(np.float64), axis, 0)
        largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        scales = np.maximum(largest / HIGHEST, WEAKEST * output.scale / inputs[0].scale).astype(np.float32)
        steps = scales.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
        rounded = np.clip(np.rint(weight / steps), -HIGHEST, HIGHEST).astype(np.int8)
        biases = np.rint(operation.bias / (inputs[0].scale * scales.astype(np.float64)))
        return weighted_layer(
            operation,
            np.ascontiguousarray(np.moveaxis(rounded, 0, axis)),
            np.clip(biases, -(2**30), 2**30).astype(np.int32),
            scales,
            inputs[0],
            output,
        )
    if operation.kind == "add":
        return sum_layer(operation, inputs, output)
    if operation.kind in ("activation", "limit"):
        steps = ((np.arange(LOWEST, HIGHEST + 1) - zeros[0]) * inputs[0].scale).astype(np.float32)
        values = output_of(operation, [steps.reshape(1, 1, 1, -1)]).ravel()
        return Int8Layer(operation, zeros, output.zero, weights=quantized(values, output))
    return Int8Layer(operation, zeros, output.zero)


def quantized(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Return the nearest int8 values."""
    return np.clip(np.rint(values / scale.scale) + scale.zero, LOWEST, HIGHEST).astype(np.int8)


def weighted_layer(
    operation: Operation,
    weights: np.ndarray,
    biases: np.ndarray,
    scales: np.ndarray,
    first: Scale,
    output: Scale,
) -> Int8Layer:
    """Return a weighted layer of int8 weights with a scale for each map."""
    products = first.scale * scales.astype(np.float64)
    if operation.kind == "dense":  # TensorFlow Lite rounds these alone
        products = products.astype(np.float32).astype(np.float64)
    # Behind a mean of sums, these are shares of it.
    pairs = [fixed_point(float(product) / (output.scale * operation.pooled_sums)) for product in products]
    multipliers, shifts = (np.array(column) for column in zip(*pairs, strict=True))
    low, high = limits(operation, output)
    return Int8Layer(
        operation,
        (first.zero,),
        output.zero,
        low,
        high,
        weights,
        biases,
        multipliers.astype(np.int32),
        shifts.astype(np.int8),
        rounds_once=operation.kind == "dense",
    )


def sum_layer(operation: Operation, inputs: Sequence[Scale], output: Scale) -> Int8Layer:
    """Return the sum of two tensors: both are brought to twice the larger scale first."""
    twice = 2 * max(scale.scale for scale in inputs)
    factors = [*(scale.scale / twice for scale in inputs), twice / (2**SUM_SHIFT * output.scale)]
    multipliers, shifts = (np.array(column) for column in zip(*map(fixed_point, factors), strict=True))
    low, high = limits(operation, output)
    zeros = tuple(scale.zero for scale in inputs)
    arrays = multipliers.astype(np.int32), shifts.astype(np.int8)
    return Int8Layer(operation, zeros, output.zero, low, high, None, None, *arrays)


def limits(operation: Operation, output: Scale) -> tuple[int, int]:
    """Return the limits of an operation as int8 values."""
    low, high = LOWEST, HIGHEST
    if np.isfinite(operation.low):
        low = max(low, output.zero + round(operation.low / output.scale))
    if np.isfinite(operation.high):
        high = min(high, output.zero + round(operation.high / output.scale))
    return low, high
