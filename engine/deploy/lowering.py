"""A trained network as the operations of a device."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.deploy.graph import Graph, Operation, Shape, Window, merged
from lenumba.engine.models.export import torch_tensors
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.layers.activation import Activation
from lenumba.engine.network.layers.base import torch_name
from lenumba.engine.network.network import Network
from lenumba.engine.network.tables import Operator
from lenumba.engine.network.units import Unit
from lenumba.engine.runs.trained import Trained

Fields = dict[str, Any]  # of an operation, beyond its name, inputs and shapes


def lower_run(trained: Trained) -> Graph:
    """Return a run's network as operations; see :func:`lower`."""
    graph = lower(trained.network, trained.theta, trained.normalization, signals=trained.loaded.config.floats)
    if trained.network.target != "numbers":
        return graph
    units = trained.judge.units
    return replace(graph, units=(units.deviation.astype(np.float32), units.mean.astype(np.float32)))


def lower(network: Network, theta: np.ndarray, normalization: Normalization, *, signals: bool = False) -> Graph:
    """Return a network with parameters float32 [network.size] as operations.

    Layers are known by their ONNX operators, so one that another program adds is taken where its operators are.

    Raises
    ------
    ConfigError
        Where a layer has an operator that no operation stands for.
    """
    operations, shape = _Lowering(network, theta).operations, network.image_shape
    scales = (normalization.scale.astype(np.float32), normalization.shift.astype(np.float32))
    return merged(Graph(tuple(operations), shape, scales, network.loss.fused or "none", signals))


class _Lowering:
    """Collects the operations of a network's units."""

    def __init__(self, network: Network, theta: np.ndarray) -> None:
        # With every folded norm's scale; what the norm adds comes with the norm's own unit.
        self.weights = torch_tensors(network, network.views(network.evaluated(theta)))
        self.shapes: list[Shape] = [network.image_shape]
        self.operations: list[Operation] = []
        tensors = [0]  # of the network's: their numbers among the graph's
        folded = {id(norm) for norm in network.folded.values()}
        for unit in network.units:
            inputs = tuple(tensors[tensor] for tensor in unit.inputs)
            if id(unit) in folded:
                self._bias(inputs[0], self.weights[f"{unit.name}.bias"])
                tensors.append(inputs[0])
            else:
                tensors.append(self._unit(unit, inputs))
        self._flat(tensors[-1], "output")

    def _bias(self, tensor: int, bias: np.ndarray) -> None:
        """Give the operation before a folded norm the norm's bias, which holds its own."""
        before = self.operations[tensor - 1]
        self.operations[tensor - 1] = replace(before, bias=bias)

    def _unit(self, unit: Unit, inputs: tuple[int, ...]) -> int:
        """Add a unit's operations; return the number of the tensor that comes out."""
        names = [torch_name(parameter.name) for parameter in unit.parameters]
        own = {name: self.weights[f"{unit.name}.{name}"] for name in names}
        channels, height, width = unit.output
        if isinstance(unit.layer, Activation):
            function = unit.layer.function
            limits = limits_of(ACTIVATIONS[function].onnx)
            kind = {"kind": "limit", "low": limits[0], "high": limits[1]} if limits else {"kind": "activation"}
            return self._add(unit.name, inputs, self.shapes[inputs[0]], kind | {"function": function})
        for operator in unit.layer.operators(unit.shape, own):
            if operator.kind in ("Flatten", "Identity"):
                continue
            if operator.kind not in OPERATORS or operator.beside:
                known = ", ".join(sorted(OPERATORS))
                raise ConfigError(
                    f"{unit.name} ({unit.layer.kind}): expected layers of the ONNX operators {known}, "
                    f"found {operator.kind}; no C can be written for it"
                )
            if operator.kind != "Gemm" and unit.shape[1:] == (1, 1):  # of channels, not of any order of numbers
                inputs = tuple(self._flat(tensor, unit.name) for tensor in inputs)
            fields = OPERATORS[operator.kind](operator, self.shapes[inputs[0]])
            inputs = (self._add(unit.name, inputs, (height, width, channels), fields),)
        return inputs[0]

    def _flat(self, tensor: int, name: str) -> int:
        """Return a tensor as a row of numbers, map by map, where it is flat for the network but not here."""
        height, width, channels = self.shapes[tensor]
        if (height, width) == (1, 1):
            return tensor
        return self._add(f"{name}_flat", (tensor,), (1, 1, height * width * channels), {"kind": "flatten"})

    def _add(self, name: str, inputs: tuple[int, ...], output: Shape, fields: Fields) -> int:
        self.operations.append(
            Operation(name=name, inputs=inputs, shape=self.shapes[inputs[0]], output=output, **fields)
        )
        self.shapes.append(output)
        return len(self.operations)


def limits_of(operator: Operator) -> tuple[float, float] | None:
    """Return the limits that an activation is, or None where it is more."""
    if operator.kind == "Relu":
        return 0.0, math.inf
    return (operator.constants["min"], operator.constants["max"]) if operator.kind == "Clip" else None  # type: ignore[return-value]


# ------------------------------------------------------------------------------- what an ONNX operator is, by its kind


def _window(operator: Operator) -> Window:
    top, left, _, _ = operator.attributes["pads"]
    (height, width), (down, right) = operator.attributes["kernel_shape"], operator.attributes["strides"]
    return Window(height, width, down, right, top, left)


def _bias(operator: Operator, maps: int) -> np.ndarray:
    return np.asarray(operator.constants.get("bias", np.zeros(maps, np.float32)))


def conv(operator: Operator, shape: Shape) -> Fields:
    """Return a Conv: ``depthwise`` where every channel has filters of its own."""
    weight, groups = np.asarray(operator.constants["weight"]), operator.attributes.get("group", 1)
    found = {"window": _window(operator), "groups": groups, "bias": _bias(operator, len(weight))}
    if groups == shape[2] > 1:
        return found | {"kind": "depthwise", "weight": np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))}
    return found | {"kind": "conv", "weight": np.ascontiguousarray(weight.transpose(0, 2, 3, 1))}


def dense(operator: Operator, shape: Shape) -> Fields:
    """Return a Gemm; its inputs stand in the order of the tensor before: pixel by pixel, not map by map."""
    weight, (height, width, channels) = np.asarray(operator.constants["weight"]), shape
    turned = weight.reshape(len(weight), channels, height, width).transpose(0, 2, 3, 1)
    bias = _bias(operator, len(weight))
    return {"kind": "dense", "weight": np.ascontiguousarray(turned.reshape(weight.shape)), "bias": bias}


def norm(operator: Operator, shape: Shape) -> Fields:
    """Return a BatchNormalization that no weights before take: a product and a sum for every channel."""
    weight, bias, mean, variance = (np.asarray(array, np.float64) for array in operator.constants.values())
    scale = weight / np.sqrt(variance + operator.attributes["epsilon"])
    arrays = {"weight": scale.reshape(1, 1, -1), "bias": bias - mean * scale}
    return {"kind": "depthwise", "groups": shape[2]} | {name: a.astype(np.float32) for name, a in arrays.items()}


def average_pool(operator: Operator, shape: Shape) -> Fields:
    """Return an AveragePool."""
    counts = bool(operator.attributes["count_include_pad"])
    return {"kind": "average_pool", "window": _window(operator), "counts_padding": counts}


def global_pool(kind: str) -> Any:
    """Return what makes the fields of a pooling of whole maps."""
    return lambda operator, shape: {"kind": kind, "window": Window(shape[0], shape[1], shape[0], shape[1])}


OPERATORS: dict[str, Any] = {
    "Conv": conv,
    "Gemm": dense,
    "BatchNormalization": norm,
    "Add": lambda operator, shape: {"kind": "add"},
    "AveragePool": average_pool,
    "MaxPool": lambda operator, shape: {"kind": "max_pool", "window": _window(operator)},
    "GlobalAveragePool": global_pool("average_pool"),
    "GlobalMaxPool": global_pool("max_pool"),
}
