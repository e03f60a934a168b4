"""ONNX Runtime: inference alone, on a graph built with onnx.helper from the same weights."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .job import Job, starts


def make_graph(job: Job) -> bytes:
    """Return the network with its softmax as a serialised ONNX model for any batch size.

    Networks that branch or normalise are exported by lenumba; the runtime folds their norms itself.
    """
    if any(layer["type"] == "residual" or "norm" in layer for layer in job.layers):
        return exported(job)
    height, width, channels = job.shape
    nodes, value = [], "images"
    for name, layer in job.named_layers():
        result, parameters = f"{name}_out", [f"{name}.kernel", f"{name}.bias"]
        if layer["type"] == "conv":
            node = helper.make_node("Conv", [value, *parameters], [result], pads=[layer["padding"]] * 4)
        elif layer["type"] == "dense":
            node = helper.make_node("Gemm", [value, *parameters], [result], transB=1)
        elif layer["type"] == "flatten":
            node = helper.make_node("Flatten", [value], [result])
        else:
            kind = "AveragePool" if layer["type"] == "average_pool" else "MaxPool"
            size = [layer["size"]] * 2
            node = helper.make_node(kind, [value], [result], kernel_shape=size, strides=size)
        nodes.append(node)
        value = result
        if function := {"relu": "Relu", "softmax": "Softmax"}.get(layer.get("activation", "")):
            nodes.append(helper.make_node(function, [value], [f"{value}_{function}"]))
            value = f"{value}_{function}"
    tensor = helper.make_tensor_value_info
    inputs = [tensor("images", TensorProto.FLOAT, ["batch", channels, height, width])]
    outputs = [tensor(value, TensorProto.FLOAT, ["batch", 10])]
    weights = [numpy_helper.from_array(array, name) for name, array in job.weights.items()]
    graph = helper.make_graph(nodes, "network", inputs, outputs, weights)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def exported(job: Job) -> bytes:
    """Return lenumba's own graph, which takes float32 images as they are."""
    from common import lenumba_network

    from lenumba.engine.data.normalization import Normalization
    from lenumba.engine.models.onnx_graph import onnx_model
    from lenumba.engine.network.layers.base import torch_name

    network = lenumba_network("peers", job.layers, job.shape, target=job.target)
    weights = {torch_name(name): array for name, array in job.weights.items()}
    same = Normalization(np.zeros(job.shape[2]), np.full(job.shape[2], 1 / 255))
    classes = [str(number) for number in range(network.outputs)]
    return onnx_model(network, weights, same, classes, "0").SerializeToString()


class Peer:
    """Each request: one session.run on a view of the prepared float32 images."""

    def __init__(self, job: Job) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        self.session = onnxruntime.InferenceSession(make_graph(job), options, providers=["CPUExecutionProvider"])
        self.images = job.take_float_images()

    def reset(self) -> None:
        """Do nothing: the weights never change."""

    def infer(self, steps: int, batch: int) -> None:
        """Answer one request of `batch` images after the other."""
        for start in starts(steps, batch, len(self.images)):
            self.session.run(None, {"images": self.images[start : start + batch]})
