"""The layers that a network can have: one class each, with its configuration, shapes, parameters and kernel calls.

To add one: write its class beside the others and put it into :data:`LAYERS`.
"""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field

from lenumba.engine.layers.activation import Activation
from lenumba.engine.layers.base import LIST, LayerBase, Node, Parameter, Shape, Strictly, pair
from lenumba.engine.layers.conv import Conv
from lenumba.engine.layers.dense import Dense, Flatten
from lenumba.engine.layers.pool import AveragePool, MaxPool

LAYERS: tuple[Any, ...] = (Conv, MaxPool, AveragePool, Flatten, Dense, Activation)
Layer = Annotated[reduce(or_, LAYERS), Field(discriminator="type")]

__all__ = ["LAYERS", "LIST", "Layer", "LayerBase", "Node", "Parameter", "Shape", "Strictly", "activation_of", "pair"]


def activation_of(layer: Any) -> str:
    """Return the activation function that a layer applies to its output, ``"none"`` if it has none."""
    return layer.function if isinstance(layer, Activation) else getattr(layer, "activation", "none")
