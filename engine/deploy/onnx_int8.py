"""A network in whole numbers as ONNX, with QuantizeLinear and DequantizeLinear around every tensor.

A runtime computes between them as it likes, so that its rounding may differ by a step from TensorFlow Lite's.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import check_new_file, durable
from lenumba.engine.common.metrics import predicted_classes
from lenumba.engine.deploy import int8
from lenumba.engine.deploy.calibration import calibrate
from lenumba.engine.deploy.graph import Operation
from lenumba.engine.deploy.int8 import Int8Layer, Int8Network, Scale
from lenumba.engine.deploy.lowering import lower_run
from lenumba.engine.models.export import INSTALL, check_images, export_kind, open_session
from lenumba.engine.models.model import Model
from lenumba.engine.models.onnx_graph import onnx_file
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.tables import Arrays, Operator
from lenumba.engine.runs.trained import Trained
from lenumba.engine.training.buffers import planar

MOST_STEPS = 16  # by which a runtime's own rounding, layer after layer, may move an output

Listed = tuple[str, Operator, list[str], str]  # name, operator, names of the data that go in, of what comes out


def int8_model(network: Int8Network, trained: Trained) -> Any:
    """Return an ``onnx.ModelProto`` with the input and the outputs that a network has in float32."""
    units = trained.judge.units if trained.network.target == "numbers" else None
    names, own, normalization = trained.class_names, version("lenumba"), trained.normalization
    shape = (*trained.network.input_shape, network.graph.outputs)
    operators = list(list_operators(network))
    return onnx_file(operators, network.graph.end, shape, trained.network.name, normalization, names, own, units)


def list_operators(network: Int8Network) -> Iterator[Listed]:
    """Yield the operators in order; tensors have the axes [N, C, H, W]."""
    scale, shift = (array.astype(np.float32).reshape(1, -1, 1, 1) for array in network.graph.normalization)
    yield "images.scaled", Operator("Mul", constants={"scale": scale}), ["images"], "images.scaled.output"
    yield "images.normalized", Operator("Add", constants={"shift": shift}), ["images.scaled.output"], "images.output"
    ends = ["tensor0"]
    yield from rounded("images.output", "tensor0", network.scales[0])
    for k, layer in enumerate(network.layers):
        operation = layer.operation
        data, name = [ends[tensor] for tensor in operation.inputs], f"{operation.name}.{k}"
        for number, operator in enumerate(operators_of(operation)):
            found = f"{name}.{number}"
            if operator.kind in ("Conv", "Gemm"):
                for parameter, array, steps in parameters_of(network, layer, k):
                    constants: Arrays = {"whole": array, "scale": steps.astype(np.float32)}
                    constants["zero"] = np.zeros(len(steps), array.dtype)
                    own = f"{found}.{parameter}"
                    yield own, Operator("DequantizeLinear", {"axis": 0}, constants), [], f"{own}.output"
                    data = [*data, f"{own}.output"]
            if operator.beside is not None:
                yield f"{found}.beside", operator.beside, data, f"{found}.beside.output"
                data = [*data, f"{found}.beside.output"]
            yield found, operator, data, f"{found}.output"
            data = [f"{found}.output"]
        ends.append("logits" if k == len(network.layers) - 1 else f"tensor{k + 1}")
        yield from rounded(data[0], ends[-1], network.scales[k + 1])


def rounded(data: str, end: str, scale: Scale) -> Iterator[Listed]:
    """Yield a tensor's rounding to whole numbers, and back."""
    constants: Arrays = {"scale": np.array(scale.scale, np.float32), "zero": np.array(scale.zero, np.int8)}
    yield f"{end}.quantize", Operator("QuantizeLinear", constants=constants), [data], f"{end}.whole"
    yield f"{end}.dequantize", Operator("DequantizeLinear", constants=constants), [f"{end}.whole"], end


def operators_of(operation: Operation) -> list[Operator]:
    """Return an operation's operators, the weights left out."""
    found = [KINDS[operation.kind](operation)]
    if operation.kind == "dense":
        found.insert(0, Operator("Flatten", {"axis": 1}))
    if operation.kind in WITH_LIMITS and np.isfinite(operation.high):
        found.append(Operator("Clip", constants={"min": operation.low, "max": operation.high}))
    elif operation.kind in WITH_LIMITS and operation.low == 0:
        found.append(Operator("Relu"))
    return [*found, KINDS[operation.pool.kind](operation.pool)] if operation.pool else found


def parameters_of(network: Int8Network, layer: Int8Layer, k: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return weights and biases, each with what its steps stand for, float64 [maps]."""
    assert layer.multipliers is not None
    assert layer.shifts is not None
    assert layer.biases is not None
    factor = network.scales[k + 1].scale * layer.operation.pooled_sums
    steps = layer.multipliers * 2.0 ** (layer.shifts - 31.0) * factor
    own = steps / network.scales[layer.operation.inputs[0]].scale
    return [("weight", onnx_weights(layer), own), ("bias", layer.biases, steps)]


def onnx_weights(layer: Int8Layer) -> np.ndarray:
    """Return weights in ONNX's order: [maps, channels of a group, height, width], or [outputs, inputs] map by map."""
    weights, (height, width, channels) = np.asarray(layer.weights), layer.operation.shape
    if layer.operation.kind == "dense":
        return weights.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(weights.shape)
    return weights.transpose(2, 0, 1)[:, None] if weights.ndim == 3 else weights.transpose(0, 3, 1, 2)


def windowed(kind: str) -> Any:
    """Return what makes an operator with a window."""

    def make(operation: Operation) -> Operator:
        window, (height, width, _) = operation.window, operation.unpooled
        bottom = (height - 1) * window.down + window.height - window.top - operation.shape[0]
        right = (width - 1) * window.right + window.width - window.left - operation.shape[1]
        pads = [window.top, window.left, max(0, bottom), max(0, right)]
        found: dict[str, Any] = {"kernel_shape": window[:2], "strides": window[2:4], "pads": pads}
        if kind == "Conv" and operation.groups > 1:
            found["group"] = operation.groups
        if kind == "AveragePool":
            found["count_include_pad"] = int(operation.counts_padding)
        return Operator(kind, found)

    return make


WITH_LIMITS = ("conv", "depthwise", "dense", "add")
KINDS: dict[str, Any] = {
    "conv": windowed("Conv"),
    "depthwise": windowed("Conv"),
    "dense": lambda operation: Operator("Gemm", {"transB": 1}),
    "add": lambda operation: Operator("Add"),
    "average_pool": windowed("AveragePool"),
    "max_pool": windowed("MaxPool"),
    "flatten": lambda operation: Operator("Flatten", {"axis": 1}),
    "limit": lambda operation: ACTIVATIONS[operation.function].onnx,
    "activation": lambda operation: ACTIVATIONS[operation.function].onnx,
}


def export_onnx(
    folder: Path,
    out: Path | None = None,
    checkpoint: str = "best",
    *,
    force: bool = False,
    overrides: Sequence[str] = (),
) -> tuple[Path, list[str]]:
    """Write a run's network in whole numbers as an ONNX file; return it, and what to tell of it.

    Raises
    ------
    ConfigError
        Where the file exists already.
    DataError
        Where the run is damaged, the training images or a package are missing, or a runtime's answers are others.
    """
    if find_spec("onnx") is None:
        raise DataError(f"export to ONNX: expected the package onnx, found none; {INSTALL}")
    out = Path(f"{folder.resolve().name}-int8.onnx") if out is None else out
    export_kind("onnx", out)
    check_new_file(out, force)
    model = Model(folder, checkpoint, overrides=overrides)
    found, notes = calibrate(model, lower_run(model.trained))
    data = int8_model(found.network, model.trained).SerializeToString()
    if find_spec("onnxruntime") is None:
        notes.append("int8: not checked, as onnxruntime is not installed")
    else:
        images, source = check_images(model)
        given = open_session(data)(planar(images).astype(np.float32))[0]
        scale, zero = found.network.scales[-1]
        steps, own = np.rint(given / scale).astype(int) + zero, int8.logits(found.network, images)
        differing = int((predicted_classes(steps) != predicted_classes(own)).sum()) if own.shape[1] > 1 else 0
        largest = int(np.abs(steps - own).max())
        notes.append(
            f"checked in onnxruntime on {len(images)} {source}: {(steps != own).mean():.2%} of the outputs are others, "
            f"by at most {largest} of 255 steps; {differing} classes differ"
        )
        if largest > MOST_STEPS:
            raise DataError(f"{out}: not written, as it would differ by more than {MOST_STEPS} steps: {notes[-1]}")
    with durable(out) as temporary:
        temporary.write_bytes(data)
    return out, notes
