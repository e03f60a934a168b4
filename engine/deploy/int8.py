"""TensorFlow Lite's arithmetic of 8-bit numbers, in NumPy: the C file computes the same, bit for bit.

Source: TensorFlow Lite, 8-bit quantization specification; its reference kernels decide how is rounded. An int8 value q
stands for scale · (q − zero); sums of products are int32, brought to the output's scale by a fixed-point multiplier.
Arrays have the axes [N, H, W, C]. Sums are computed in floating-point numbers that hold them exactly.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lenumba.engine.deploy import sums
from lenumba.engine.deploy.floats import blocks
from lenumba.engine.deploy.graph import Graph, Operation

LOWEST, HIGHEST = -128, 127
FLOAT32_PRODUCTS = 2**24 // (255 * 128)  # so many are summed without rounding
SUM_SHIFT = 20  # the inputs of a sum are brought to one scale, 2²⁰ times as fine


class Scale(NamedTuple):
    """What the values of a tensor stand for: scale · (value − zero)."""

    scale: float
    zero: int


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """An operation in whole numbers.

    Attributes
    ----------
    weights
        int8 in the operation's layout; of an ``activation`` or ``limit`` what it gives for −128 to 127, [256].
    biases, multipliers, shifts
        int32, int32 and int8 [maps]; of a sum, the multipliers and shifts of both inputs and of the output.
    rounds_once
        Whether a sum of products is rounded once, halves up, as behind TensorFlow Lite's dense layers.
    zeros, out_zero
        The values that stand for 0: of the inputs, of the output.
    low, high
        The output's limits.
    """

    operation: Operation
    zeros: tuple[int, ...]
    out_zero: int
    low: int = LOWEST
    high: int = HIGHEST
    weights: np.ndarray | None = None
    biases: np.ndarray | None = None
    multipliers: np.ndarray | None = None
    shifts: np.ndarray | None = None
    rounds_once: bool = False


@dataclass(frozen=True, eq=False)
class Int8Network:
    """A network in whole numbers.

    Attributes
    ----------
    scales
        What the values of each tensor stand for.
    table
        int8 [channels, 256]: the value of each byte; None where bytes are taken as they are, less 128, and for signals.
    """

    graph: Graph
    layers: tuple[Int8Layer, ...]
    scales: tuple[Scale, ...]
    table: np.ndarray | None = None


def fixed_point(factor: float) -> tuple[int, int]:
    """Return (multiplier, shift): factor ≈ multiplier · 2^(shift − 31), 2³⁰ ≤ multiplier < 2³¹; 0, 0 below 2⁻³²."""
    part, shift = math.frexp(factor)
    multiplier = math.floor(part * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def scaled(total: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return total · multiplier · 2^(shift − 31) as int64: rounded to 2^min(shift, 0), then halves away from 0."""
    left, right = np.maximum(shift, 0).astype(np.int64), np.maximum(-shift, 0).astype(np.int64)
    high = (total.astype(np.int64) * (1 << left) * multiplier + (1 << 30)) >> 31
    mask = (1 << right) - 1
    return np.asarray((high >> right) + ((high & mask) > (mask >> 1) + (high < 0)))


def scaled_once(total: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return total · multiplier · 2^(shift − 31) as int64, rounded once, halves up."""
    down = 31 - shift.astype(np.int64)
    return np.asarray((total.astype(np.int64) * multiplier + (1 << (down - 1))) >> down)


def products(layer: Int8Layer, x: np.ndarray) -> np.ndarray:
    """Return a weighted layer's sums of products with its biases, as whole numbers in float64."""
    assert layer.weights is not None
    assert layer.biases is not None
    operation, each = layer.operation, layer.weights.size // layer.operation.maps
    centred = (x.astype(np.int16) - layer.zeros[0]).astype(np.float32 if each <= FLOAT32_PRODUCTS else np.float64)
    total = sums.SUMS[operation.kind](operation, centred, layer.weights)
    return np.asarray(total.astype(np.float64) + layer.biases)


def weighted(layer: Int8Layer, inputs: list[np.ndarray]) -> np.ndarray:
    """Return what a convolution with its pooling, or a dense layer, gives, before its limits."""
    assert layer.multipliers is not None
    assert layer.shifts is not None
    rounded, total, pool = (
        scaled_once if layer.rounds_once else scaled,
        products(layer, inputs[0]),
        layer.operation.pool,
    )
    if pool is not None:  # of sums, which lose nothing by rounding yet
        if pool.kind == "average_pool":
            total = sums.window_sums(pool, np.maximum(total, 0) if layer.operation.low == 0 else total)[0]
        else:
            total = sums.window_maxima(pool, total)
    return rounded(total, layer.multipliers, layer.shifts) + layer.out_zero


def add(layer: Int8Layer, inputs: list[np.ndarray]) -> np.ndarray:
    """Return the sum of two tensors, before its limits."""
    assert layer.multipliers is not None
    assert layer.shifts is not None
    fine = [(x.astype(np.int64) - zero) << SUM_SHIFT for x, zero in zip(inputs, layer.zeros, strict=True)]
    each = [scaled(x, m, s) for x, m, s in zip(fine, layer.multipliers, layer.shifts, strict=False)]
    return scaled(each[0] + each[1], layer.multipliers[2], layer.shifts[2]) + layer.out_zero


def average_pool(operation: Operation, x: np.ndarray, zero: int) -> np.ndarray:
    """Return the windows' means, halves away from zero; padding that counts stands for 0."""
    total, counts = sums.window_sums(operation, x.astype(np.int64) - zero * operation.counts_padding)
    counts = counts.astype(np.int64)
    total = total + zero * counts * operation.counts_padding
    return np.asarray(np.sign(total) * ((np.abs(total) + counts // 2) // counts))


def pooled(operation: Operation, x: np.ndarray, zero: int) -> np.ndarray:
    """Return what a pooling gives."""
    return average_pool(operation, x, zero) if operation.kind == "average_pool" else sums.window_maxima(operation, x)


def output_of(layer: Int8Layer, inputs: list[np.ndarray]) -> np.ndarray:
    """Return what one layer gives, int8."""
    operation = layer.operation
    if operation.kind in ("average_pool", "max_pool"):
        return pooled(operation, inputs[0], layer.zeros[0]).astype(np.int8)
    if operation.kind == "flatten":
        return inputs[0].transpose(0, 3, 1, 2).reshape(len(inputs[0]), 1, 1, -1)
    if operation.kind in ("activation", "limit"):
        assert layer.weights is not None
        return np.asarray(layer.weights[inputs[0].astype(np.int64) + 128])
    y = add(layer, inputs) if operation.kind == "add" else weighted(layer, inputs)
    return np.clip(y, layer.low, layer.high).astype(np.int8)


def read_input(network: Int8Network, images: np.ndarray) -> np.ndarray:
    """Return the first tensor, int8, for images [N, H, W, C] as users have them."""
    if network.graph.signals:
        factor, offset = signal_factors(network)
        steps = images.astype(np.float32) * factor + offset
        return (np.clip(steps, 0, 255).astype(np.int32) - 128).astype(np.int8)
    if network.table is None:
        return (images.astype(np.int16) - 128).astype(np.int8)
    return np.stack([row[images[..., k]] for k, row in enumerate(network.table)], axis=-1)


def signal_factors(network: Int8Network) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [channels] twice: signal · factor + offset, cut off, is the step above −128."""
    (scale, zero), (factor, shift) = network.scales[0], network.graph.normalization
    return (factor / scale).astype(np.float32), (shift / scale + zero + 128.5).astype(np.float32)


def run(network: Int8Network, first: np.ndarray) -> list[np.ndarray]:
    """Return every tensor, int8, of the first one."""
    tensors = [first]
    for layer in network.layers:
        tensors.append(output_of(layer, [tensors[tensor] for tensor in layer.operation.inputs]))
    return tensors


def logits(network: Int8Network, images: np.ndarray) -> np.ndarray:
    """Return the last tensor as rows, int8 [N, outputs]."""
    rows = [run(network, read_input(network, block))[-1].reshape(len(block), -1) for block in blocks(images)]
    return np.concatenate(rows)


def probabilities(network: Int8Network, images: np.ndarray) -> np.ndarray:
    """Return float32 [N, outputs], the same bits as the C file's; of numbers, in their units."""
    return network.graph.in_units(ENDS[network.graph.end](network, logits(network, images).astype(np.int64)))


def powers(network: Int8Network) -> np.ndarray:
    """Return float32 [8]: e to the power of −scale · 2^bit, for the scale of the last tensor."""
    return np.exp(-network.scales[-1].scale * 2.0 ** np.arange(8)).astype(np.float32)


def power(network: Int8Network, steps: np.ndarray) -> np.ndarray:
    """Return e to the power of −scale · steps, float32: the product of its parts."""
    found = np.ones(steps.shape, np.float32)
    for bit, part in enumerate(powers(network)):
        found = np.where(steps >> bit & 1, found * part, found)
    return found


def softmax(network: Int8Network, values: np.ndarray) -> np.ndarray:
    """Return the shares of e to the power of the outputs, summed in their order."""
    found = power(network, values.max(axis=1, keepdims=True) - values)
    total = np.zeros(len(found), np.float32)
    for column in found.T:
        total = total + column
    return np.asarray(found / total[:, None])


def sigmoid(network: Int8Network, values: np.ndarray) -> np.ndarray:
    """Return 1/(1 + e⁻ˣ)."""
    below = values < network.scales[-1].zero
    part = power(network, np.abs(values - network.scales[-1].zero))
    return np.asarray(np.where(below, part, np.float32(1)) / (np.float32(1) + part))


def plain(network: Int8Network, values: np.ndarray) -> np.ndarray:
    """Return the numbers that the outputs stand for."""
    scale, zero = network.scales[-1]
    return np.asarray((values - zero).astype(np.float32) * np.float32(scale))


ENDS = {"softmax": softmax, "sigmoid": sigmoid, "none": plain}
