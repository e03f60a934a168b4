"""The table of layers, and a layer of any class that it has."""

import functools
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter
from pydantic_core import core_schema

from lenumba.engine.network.layers.base import LayerBase

LAYERS: dict[str, type[LayerBase]] = {}  # filled by the package, which knows the classes


MAX_LAYERS = 96  # those inside of others included; so every resolved configuration is short enough to be read again
NESTED = {"$comment": "a layer"}  # stands for a layer in the schema of one that holds layers


@functools.cache
def any_of(layers: tuple[type[LayerBase], ...]) -> TypeAdapter[Any]:
    """Return what checks a layer: its `type` says which class of `layers` it is."""
    one: Any = Annotated[Union[layers], Field(discriminator="type")]  # noqa: UP007 (of a tuple)
    return TypeAdapter(one)


def expand_layer(layer: Any) -> Any:
    """Return ``{"type": layer}`` for a layer that is given by its type alone, and anything else as it is."""
    return {"type": layer} if isinstance(layer, str) else layer


class _OfTable:
    """Annotates a layer of any class that the table has at the time when it is checked."""

    inside = False  # while the schema of layers is written, of which some hold layers

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda layer: any_of(tuple(LAYERS.values())).validate_python(expand_layer(layer))
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        if _OfTable.inside:
            return dict(NESTED)
        _OfTable.inside = True
        try:
            written = handler(any_of(tuple(LAYERS.values())).core_schema)
        finally:
            _OfTable.inside = False
        complete = [
            name
            for name, layer in LAYERS.items()
            if not any(field.is_required() for field in layer.model_fields.values())
        ]
        return {"anyOf": [written, {"enum": complete}]}


Layer = Annotated[LayerBase, _OfTable()]


def nested(layers: Iterable[LayerBase], path: str = "") -> Iterator[tuple[str, LayerBase]]:
    """Yield every layer, those inside of others, too, by the path to it: 3, 3.shortcut.0."""
    for index, layer in enumerate(layers):
        yield f"{path}{index}", layer
        for field, inner in layer.inner().items():
            yield from nested(inner, f"{path}{index}.{field}.")
