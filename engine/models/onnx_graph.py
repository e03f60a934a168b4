"""A network as an ONNX graph, self-contained: pixels go in, logits and probabilities come out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lenumba.engine.data.normalization import Normalization
from lenumba.engine.data.targets import Units
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.layers.base import torch_name
from lenumba.engine.network.network import Network
from lenumba.engine.network.tables import Operator

OPSET, IR_VERSION = 13, 7  # the oldest with today's Softmax, so that old runtimes read the file, too
Arrays = Mapping[str, np.ndarray]


def list_operators(
    network: Network, weights: Arrays, normalization: Normalization
) -> list[tuple[str, Operator, list[str], str]]:
    """Return the graph's operators in order: name, operator, names of the data that go in, name of what comes out.

    Those of layers have the layers' names.

    Parameters
    ----------
    weights
        Float32 arrays by PyTorch's names, such as ``conv1.weight``; kernels are those of correlations.
    """
    # The same two float32 numbers per channel as the compiled program has.
    scale, shift = (
        value.astype(np.float32).reshape(1, -1, 1, 1) for value in (normalization.scale, normalization.shift)
    )
    found = [
        ("images.scaled", Operator("Mul", constants={"scale": scale}), ["images"], "images.scaled.output"),
        ("images.normalized", Operator("Add", constants={"shift": shift}), ["images.scaled.output"], "images.output"),
    ]
    flatten = Operator("Flatten", {"axis": 1})
    ends, flat = ["images.output"], [False]  # of each tensor: the value that it is, and whether it has two axes
    for unit in network.units:
        values, is_flat = [ends[tensor] for tensor in unit.inputs], any(flat[tensor] for tensor in unit.inputs)
        names = [torch_name(parameter.name) for parameter in unit.parameters]
        own = {name: weights[f"{unit.name}.{name}"] for name in names}
        for number, operator in enumerate(unit.layer.operators(unit.shape, own)):
            if operator.kind == "Gemm" and not is_flat:  # 1×1 maps need no 'flatten' here, but ONNX wants two axes
                found.append((f"{unit.name}.flatten", flatten, values, f"{unit.name}.flat"))
                values = [f"{unit.name}.flat"]
            is_flat = is_flat or operator.kind in ("Flatten", "Gemm")
            name = f"{unit.name}.{operator.kind.lower()}" if number else unit.name
            if (beside := operator.beside) is not None:
                found.append((f"{name}.{beside.kind.lower()}", beside, values, f"{name}.beside"))
                values = [*values, f"{name}.beside"]
            found.append((name, operator, values, f"{unit.name}.output{number or ''}"))
            values = [found[-1][3]]
        ends.append(values[0])
        flat.append(is_flat)
    if not flat[-1]:
        found.append(("logits.flatten", flatten, [ends[-1]], "logits"))
    name, operator, values, _ = found.pop()
    return [*found, (name, operator, values, "logits")]


def as_array(constant: np.ndarray | float) -> np.ndarray:
    """Return a constant of an operator as ONNX wants it: a number without axes, in float32."""
    return np.array(constant, order="C") if isinstance(constant, np.ndarray) else np.array(constant, np.float32)


def onnx_model(
    network: Network,
    weights: Arrays,
    normalization: Normalization,
    class_names: Sequence[str],
    version: str,
    units: Units | None = None,
) -> Any:
    """Return an ``onnx.ModelProto``; arguments as for :func:`list_operators`.

    Input ``images`` float32 [N, C, H, W], pixels from 0 to 255, or signals as they are, H being 1:
    normalising is a part of the graph. Outputs float32
    [N, K]: ``logits``, what the loss takes, and ``probabilities``, what ``predict_proba`` returns. For
    ``mean_squared_error``, which knows no logits, both are the network's outputs. With `units`, ``numbers`` float32
    [N, K] are those in the targets' units.
    """
    operators, end = list_operators(network, weights, normalization), network.loss.fused or "none"
    shape, outputs = network.input_shape, network.outputs
    return onnx_file(operators, end, (*shape, outputs), network.name, normalization, class_names, version, units)


def onnx_file(
    operators: Sequence[tuple[str, Operator, list[str], str]],
    end: str,
    shape: tuple[int, int, int, int],
    name: str,
    normalization: Normalization,
    class_names: Sequence[str],
    version: str,
    units: Units | None = None,
) -> Any:
    """Return an ``onnx.ModelProto`` of operators that end in ``logits``; `end` is the activation behind them.

    `shape` is (channels, height, width, outputs).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []
    # A dot keeps the values' names apart from any layer's.
    for own, operator, values, output in operators:
        inputs = [*values, *(f"{own}.{constant}" for constant in operator.constants)]
        constants += [
            numpy_helper.from_array(as_array(array), f"{own}.{constant}")
            for constant, array in operator.constants.items()
        ]
        nodes.append(helper.make_node(operator.kind, inputs, [output], name=own, **operator.attributes))
    last = ACTIVATIONS[end].onnx
    nodes.append(
        helper.make_node(last.kind, ["logits"], ["probabilities"], name="outputs.probabilities", **last.attributes)
    )

    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *shape[:3]])
    outputs = [
        helper.make_tensor_value_info(each, TensorProto.FLOAT, ["N", shape[3]])
        for each in ("logits", "probabilities", *(["numbers"] if units else []))
    ]
    if units is not None:
        both = {"deviation": units.deviation, "mean": units.mean}
        constants += [
            numpy_helper.from_array(value.astype(np.float32), f"numbers.{key}") for key, value in both.items()
        ]
        nodes.append(helper.make_node("Mul", ["probabilities", "numbers.deviation"], ["numbers.scaled"]))
        nodes.append(helper.make_node("Add", ["numbers.scaled", "numbers.mean"], ["numbers"]))
    graph = helper.make_graph(nodes, name, [images], outputs, constants)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lenumba",
        producer_version=version,
        doc_string="images: float32 [N, C, H, W], pixels from 0 to 255, normalised inside."
        if normalization.levels == 255
        else f"images: float32 [N, C, {'1, L' if shape[1] == 1 else 'H, W'}], values as they are, normalised inside.",
    )
    facts = {
        "class_names": json.dumps(list(class_names), ensure_ascii=False),
        "mean": json.dumps(normalization.mean.tolist()),
        "std": json.dumps(normalization.deviation.tolist()),
        "lenumba_version": version,
    }
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model
