"""The layers that a network can have, in one table.

Each class has everything about its kind: configuration, shapes, parameters, kernel calls, plain twin, equations and
ONNX operators, and beside its file lies its JavaScript.
"""

import functools
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter
from pydantic_core import core_schema

from lenumba.engine.network.layers.activation import Activation
from lenumba.engine.network.layers.base import LIST, LayerBase, Node, Parameter, Shape, Strictly, pair
from lenumba.engine.network.layers.conv import Conv
from lenumba.engine.network.layers.dense import Dense, Flatten
from lenumba.engine.network.layers.dropout import Dropout
from lenumba.engine.network.layers.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool

LAYERS: dict[str, type[LayerBase]] = {
    layer.model_fields["type"].default: layer
    for layer in (Conv, MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool, Flatten, Dense, Activation, Dropout)
}

__all__ = [
    "LAYERS",
    "LIST",
    "Activation",
    "AveragePool",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Layer",
    "LayerBase",
    "MaxPool",
    "Node",
    "Parameter",
    "Shape",
    "Strictly",
    "activation_of",
    "pair",
]


@functools.cache
def any_of(layers: tuple[type[LayerBase], ...]) -> TypeAdapter[Any]:
    """Return what checks a layer: its `type` says which class of `layers` it is."""
    one: Any = Annotated[Union[layers], Field(discriminator="type")]  # noqa: UP007 (of a tuple)
    return TypeAdapter(one)


class _OfTable:
    """Annotates a layer of any class that the table has at the time when it is checked."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda layer: any_of(tuple(LAYERS.values())).validate_python(layer)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return handler(any_of(tuple(LAYERS.values())).core_schema)  # type: ignore[no-any-return]


Layer = Annotated[LayerBase, _OfTable()]


def activation_of(layer: LayerBase) -> str:
    """Return the activation function that a layer applies to its output, ``"none"`` if it has none."""
    return layer.function if isinstance(layer, Activation) else getattr(layer, "activation", "none")
