"""Post-training quantisation: what int8 values stand for, found on training images.

Scales come from the smallest and largest values, or from less than these, whichever changes the answers to validation
images less: their cross-entropy is taken with the network's own probabilities, less its least. With labels it would
favour a network that is less sure, and cut off what makes this one sure. Biases make up for what rounding the weights
changes on average (Nagel et al., "Data-free quantization through weight equalization and bias
correction", ICCV 2019, section 4.2).
"""

from dataclasses import dataclass, replace

import numpy as np

from lenumba.engine.deploy import floats, int8
from lenumba.engine.deploy.graph import Graph, Operation
from lenumba.engine.deploy.int8 import HIGHEST, LOWEST, Int8Layer, Int8Network, Scale
from lenumba.engine.deploy.layers import MAPS_AXIS, SAME_SCALE, make_layer

KEPT = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)  # of the range that values have: which are tried
WEIGHTED = tuple(MAPS_AXIS)
STEPS = HIGHEST - LOWEST
TINY = 2.0**-60
LEAST = 1e-12  # probability


@dataclass(frozen=True, eq=False)
class Quantized:
    """A network in whole numbers, and how its scales were found.

    Attributes
    ----------
    kept
        The share of the range of every tensor that int8 values reach.
    corrected
        Whether biases were corrected.
    losses
        Of every trial: (kept, corrected, how much it changes the answers).
    """

    network: Int8Network
    kept: float
    corrected: bool
    losses: list[tuple[float, bool, float]]


def quantize(graph: Graph, images: np.ndarray, judged: np.ndarray) -> Quantized:
    """Quantise a network.

    Parameters
    ----------
    images
        Training images [N, H, W, C] to calibrate with.
    judged
        Images to choose the scales with.
    """
    expected = floats.probabilities(graph, judged)
    graph = with_whole_input(graph)
    ranges, means = observe(graph, images)
    trials, losses = [], []
    for kept in KEPT:
        plain = whole_network(graph, ranges, kept)
        for corrected in (False, True):
            network = correct_biases(plain, images, means) if corrected else plain
            losses.append((kept, corrected, change(graph.end, expected, int8.probabilities(network, judged))))
            trials.append(network)
    best = min(range(len(trials)), key=lambda k: losses[k][2])
    return Quantized(trials[best], *losses[best][:2], losses)


def change(end: str, expected: np.ndarray, found: np.ndarray) -> float:
    """Return the mean divergence of probabilities [N, outputs] from those expected; of numbers the mean square."""
    if end == "none":
        return float(np.square(expected - found).mean())
    pairs = [(expected, found)] if end == "softmax" else [(expected, found), (1 - expected, 1 - found)]
    wanted, given = (
        np.maximum(np.concatenate(each, axis=1).astype(np.float64), LEAST) for each in zip(*pairs, strict=True)
    )
    return float((wanted * np.log(wanted / given)).sum(axis=1).mean())


# ------------------------------------------------------------------------------------------------------------- input


def with_whole_input(graph: Graph) -> Graph:
    """Return the same network with one scale for all channels, and a whole number that stands for 0, where that works.

    Then bytes go in as they are, less 128. What this shifts, the biases of the first layers take; only next to edges,
    where padding stands for 0, up to half a step is lost. It does not work where channels differ and padding is needed.
    """
    readers = [graph.operations[k] for k in graph.readers(0)]
    scale, shift = (array.astype(np.float64) for array in graph.normalization)
    alike = np.ptp(scale) == 0 == np.ptp(shift)
    weighted = all(each.kind in WEIGHTED for each in readers)
    if graph.signals or not weighted or not (alike or not any(reaches_out(each) for each in readers)):
        return graph
    step = float(np.float32(scale.mean()))
    zero = int(np.clip(np.rint(-shift.mean() / step), 0, 255))
    operations = list(graph.operations)
    for k in graph.readers(0):
        operations[k] = absorbed(operations[k], scale / step, shift + scale * zero)
    normalization = (np.array([step], np.float32), np.array([-step * zero], np.float32))
    return replace(graph, operations=tuple(operations), normalization=normalization)


def absorbed(operation: Operation, factor: np.ndarray, offset: np.ndarray) -> Operation:
    """Return an operation for inputs x that stand for factor · x + offset, by channel."""
    assert operation.weight is not None
    assert operation.bias is not None
    weight, channels = operation.weight.astype(np.float64), len(factor)
    if operation.kind == "depthwise":
        filters = weight.shape[2] // channels
        shift = weight.sum(axis=(0, 1)) * np.repeat(offset, filters)
        weight = weight * np.repeat(factor, filters)
    else:  # the channels lie last, those of one group behind the other's
        rows = weight.reshape(operation.groups, len(weight) // operation.groups, -1, channels // operation.groups)
        by_group = (operation.groups, 1, 1, -1)
        shift = (rows * offset.reshape(by_group)).sum(axis=(2, 3)).ravel()
        weight = (rows * factor.reshape(by_group)).reshape(weight.shape)
    return replace(operation, weight=weight.astype(np.float32), bias=(operation.bias + shift).astype(np.float32))


def reaches_out(operation: Operation) -> bool:
    """Return whether a window of an operation reaches beyond the edges."""
    window, (height, width, _) = operation.window, operation.unpooled
    if operation.kind == "dense":
        return False
    bottom = (height - 1) * window.down + window.height - window.top
    right = (width - 1) * window.right + window.width - window.left
    return bool(window.top or window.left or bottom > operation.shape[0] or right > operation.shape[1])


# ------------------------------------------------------------------------------------------------------------ scales


def observe(graph: Graph, images: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Return the range of every tensor, [tensors, 2], and the mean of each map of weighted operations, by their number.

    The means are taken before limits and poolings, the ranges behind them.
    """
    ranges = np.zeros((len(graph.operations) + 1, 2))
    means: dict[int, np.ndarray] = {}
    for block in floats.blocks(images):
        scale, shift = graph.normalization
        tensors = [block.astype(np.float32) * scale + shift]
        widen(ranges[0], tensors[0])
        for k, operation in enumerate(graph.operations):
            inputs = [tensors[tensor] for tensor in operation.inputs]
            if operation.kind in WEIGHTED:
                total = floats.before_limits(operation, inputs[0])
                sums = total.sum(axis=(0, 1, 2), dtype=np.float64) / (total.size / total.shape[3] / len(block))
                means[k] = means.get(k, 0) + sums / len(images)
            tensors.append(floats.output_of(operation, inputs))
            widen(ranges[k + 1], tensors[-1])
    return ranges, means


def widen(limits: np.ndarray, values: np.ndarray) -> None:
    """Widen limits [2] so that values lie within."""
    limits[:] = min(limits[0], float(values.min())), max(limits[1], float(values.max()))


def finest(operation: Operation, inputs: list[Scale]) -> float:
    """Return the finest scale that the inputs can tell; the output's range may be empty, where nothing gets through."""
    if operation.weight is not None:
        return inputs[0].scale * float(np.abs(operation.weight).max()) / HIGHEST
    return max(scale.scale for scale in inputs) / STEPS


def scale_for(low: float, high: float, finest: float = TINY) -> Scale:
    """Return the scale by which int8 values reach from low ≤ 0 to high ≥ 0."""
    scale = float(np.float32(max((high - low) / STEPS, finest, TINY)))
    return Scale(scale, int(np.clip(np.rint(LOWEST - low / scale), LOWEST, HIGHEST)))


def whole_network(graph: Graph, ranges: np.ndarray, kept: float) -> Int8Network:
    """Return a network in whole numbers whose values reach so much of every range."""
    scales, table = [scale_for(*ranges[0])], None
    if not graph.signals:
        scales[0], table = of_pixels(graph)
    layers: list[Int8Layer] = []
    for k, operation in enumerate(graph.operations):
        inputs = [scales[tensor] for tensor in operation.inputs]
        output = inputs[0]
        if operation.kind not in SAME_SCALE:
            low, high = kept * ranges[k + 1]
            output = scale_for(low, high, finest(operation, inputs))
        layers.append(make_layer(operation, inputs, output))
        scales.append(output)
    return Int8Network(graph, tuple(layers), tuple(scales), table)


def of_pixels(graph: Graph) -> tuple[Scale, np.ndarray | None]:
    """Return what the first tensor's values stand for, and that of each byte, where it is not the byte less 128."""
    scale, shift = (array.astype(np.float64) for array in graph.normalization)
    zero = -shift / scale
    if len(scale) == 1 and abs(zero[0] - round(zero[0])) < 1e-3 and 0 <= round(zero[0]) <= STEPS:
        return Scale(float(scale[0]), round(zero[0]) + LOWEST), None
    bytes_as = np.arange(256) * np.broadcast_to(scale, graph.shape[2])[:, None] + shift[:, None]
    found = scale_for(min(0.0, bytes_as.min()), max(0.0, bytes_as.max()))
    steps = np.rint(bytes_as / found.scale) + found.zero
    return found, np.clip(steps, LOWEST, HIGHEST).astype(np.int8)


def correct_biases(network: Int8Network, images: np.ndarray, means: dict[int, np.ndarray]) -> Int8Network:
    """Return a network whose sums of products have the means of the floating-point network's, map by map."""
    tensors = [[int8.read_input(network, block)] for block in floats.blocks(images)]
    layers: list[Int8Layer] = []
    for k, layer in enumerate(network.layers):
        found = [[each[tensor] for tensor in layer.operation.inputs] for each in tensors]
        if layer.biases is not None and layer.multipliers is not None and layer.shifts is not None:
            total = sum(int8.products(layer, inputs[0]).sum(axis=(0, 1, 2)) for inputs in found)
            height, width, _ = layer.operation.unpooled
            # A sum counts so much of the output's scale.
            steps = layer.multipliers * 2.0 ** (layer.shifts - 31.0) * network.scales[k + 1].scale
            steps = steps * layer.operation.pooled_sums
            wrong = means[k] / np.where(steps > 0, steps, 1) - total / (len(images) * height * width)
            biases = np.rint(np.where(steps > 0, layer.biases + wrong, layer.biases))
            layer = replace(layer, biases=np.clip(biases, -(2**30), 2**30).astype(np.int32))
        for each, inputs in zip(tensors, found, strict=True):
            each.append(int8.output_of(layer, inputs))
        layers.append(layer)
    return replace(network, layers=tuple(layers))
