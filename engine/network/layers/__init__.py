"""The layers that a network can have: one class each, with its configuration, shapes, parameters and kernel calls.

To add one: write its class beside the others and put it into :data:`LayerUnion`.
"""

from typing import Annotated, Any, TypeAlias, get_args

from pydantic import Field

from lenumba.engine.network.layers.activation import Activation
from lenumba.engine.network.layers.base import LIST, LayerBase, Node, Parameter, Shape, Strictly, pair
from lenumba.engine.network.layers.conv import Conv
from lenumba.engine.network.layers.dense import Dense, Flatten
from lenumba.engine.network.layers.dropout import Dropout
from lenumba.engine.network.layers.pool import AveragePool, MaxPool

LayerUnion: TypeAlias = Conv | MaxPool | AveragePool | Flatten | Dense | Activation | Dropout
Layer = Annotated[LayerUnion, Field(discriminator="type")]
LAYERS: tuple[type[Any], ...] = get_args(LayerUnion)

__all__ = [
    "LAYERS",
    "LIST",
    "Activation",
    "AveragePool",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerBase",
    "LayerUnion",
    "MaxPool",
    "Node",
    "Parameter",
    "Shape",
    "Strictly",
    "activation_of",
    "pair",
]


def activation_of(layer: LayerUnion) -> str:
    """Return the activation function that a layer applies to its output, ``"none"`` if it has none."""
    return layer.function if isinstance(layer, Activation) else getattr(layer, "activation", "none")
