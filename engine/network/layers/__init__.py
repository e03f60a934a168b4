"""The layers that a network can have, in one table.

Each class has everything about its kind: configuration, shapes, parameters, kernel calls, plain twin, equations and
ONNX operators, and beside its file lies its JavaScript.
"""

from lenumba.engine.network.layers.activation import Activation
from lenumba.engine.network.layers.base import LIST, LayerBase, Node, Parameter, Shape, pair
from lenumba.engine.network.layers.conv import Conv
from lenumba.engine.network.layers.dense import Dense, Flatten
from lenumba.engine.network.layers.depthwise import DepthwiseConv
from lenumba.engine.network.layers.dropout import Dropout
from lenumba.engine.network.layers.norm import BatchNorm
from lenumba.engine.network.layers.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from lenumba.engine.network.layers.residual import Add, Residual
from lenumba.engine.network.layers.strict import Strictly
from lenumba.engine.network.layers.table import LAYERS, Layer

for _layer in (
    Conv,
    DepthwiseConv,
    MaxPool,
    AveragePool,
    GlobalMaxPool,
    GlobalAveragePool,
    Flatten,
    Dense,
    BatchNorm,
    Residual,
    Activation,
    Dropout,
):
    LAYERS[_layer.model_fields["type"].default] = _layer

__all__ = [
    "LAYERS",
    "LIST",
    "Activation",
    "Add",
    "AveragePool",
    "BatchNorm",
    "Conv",
    "Dense",
    "DepthwiseConv",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Layer",
    "LayerBase",
    "MaxPool",
    "Node",
    "Parameter",
    "Residual",
    "Shape",
    "Strictly",
    "activation_of",
    "pair",
]


def activation_of(layer: LayerBase) -> str:
    """Return the activation function that a layer applies to its output, ``"none"`` if it has none."""
    return layer.function if isinstance(layer, Activation) else getattr(layer, "activation", "none")
