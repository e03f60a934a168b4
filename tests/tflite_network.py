"""The published int8 networks of TensorFlow Lite, as networks in whole numbers."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from lenumba.engine.deploy.graph import Graph, Operation, Window
from lenumba.engine.deploy.int8 import Int8Network, Scale
from lenumba.engine.deploy.layers import make_layer, sum_layer, weighted_layer

KINDS = {
    "CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "dense",
    "ADD": "add", "AVERAGE_POOL_2D": "average_pool",
}  # fmt: skip


def read_tflite(folder: Path, name: str) -> tuple[Int8Network, list[int], dict]:
    """Return a network, the number of each of its tensors in the file, and the file's description."""
    described = json.loads((folder / f"{name}-int8.json").read_text())
    arrays = load_file(folder / f"{name}-int8.safetensors")
    tensors = {each["index"]: each for each in described["tensors"]}
    numbers, scales, layers = [described["input"]], [scale_of(tensors[described["input"]])], []
    shapes, same, end = [shape_of(tensors[described["input"]])], {}, "none"
    for operator in described["operators"]:
        data = [same.get(tensor, tensor) for tensor in operator["inputs"]]
        if operator["op"] == "RESHAPE":
            same[operator["outputs"][0]] = data[0]
            continue
        if operator["op"] == "SOFTMAX":
            end = "softmax"
            continue
        options, derived, kind = operator["options"], operator["derived"], KINDS[operator["op"]]
        read = tuple(numbers.index(tensor) for tensor in (data if kind == "add" else data[:1]))
        output = tensors[operator["outputs"][0]]
        low = 0.0 if options["fusedActivationFunction"] == "RELU" else -np.inf
        fields = {"kind": kind, "name": f"layer{len(layers) + 1}", "inputs": read, "shape": shapes[read[0]], "low": low}
        fields["output"] = shape_of(output)
        inputs, own = [scales[number] for number in read], scale_of(output)
        if kind in ("conv", "depthwise", "dense"):
            weights, biases = (arrays[tensors[index]["key"]] for index in data[1:3])
            if kind == "conv":
                weights = weights.transpose(0, 2, 3, 1)
            elif kind == "depthwise":
                weights, fields["groups"] = weights[:, 0].transpose(1, 2, 0), shapes[read[0]][2]
            if kind != "dense":
                top, _, left, _ = derived["padding"]
                size = weights.shape[:2] if kind == "depthwise" else weights.shape[1:3]
                fields["window"] = Window(*size, options["strideH"], options["strideW"], top, left)
            weights = np.ascontiguousarray(weights)
            steps = np.resize(np.array(tensors[data[1]]["scale"]), len(biases))
            operation = Operation(weight=weights, bias=biases, **fields)
            layers.append(weighted_layer(operation, weights, biases, steps, inputs[0], own))
            assert set(derived["multiplier"]) == set(layers[-1].multipliers.tolist())
        elif kind == "add":
            layers.append(sum_layer(Operation(**fields), inputs, own))
        else:
            size = (options["filterHeight"], options["filterWidth"], options["strideH"], options["strideW"])
            layers.append(make_layer(Operation(window=Window(*size), **fields), inputs, own))
        numbers.append(operator["outputs"][0])
        scales.append(own)
        shapes.append(fields["output"])
    graph = Graph(tuple(layer.operation for layer in layers), shapes[0], (np.ones(1), np.zeros(1)), end)
    return Int8Network(graph, tuple(layers), tuple(scales)), numbers, described


def scale_of(tensor: dict) -> Scale:
    return Scale(tensor["scale"][0], tensor["zero_point"][0])


def shape_of(tensor: dict) -> tuple[int, int, int]:
    shape = tensor["shape"][1:]
    return (*[1] * (3 - len(shape)), *shape)
