"""What the rows of the tables are made of, and names that must be in a table.

The tables are dictionaries by name: `ACTIVATIONS`, `LOSSES`, `OPTIMIZERS`, `LAYERS`, and the `CATALOGUE` of kernels.
Everything looks a name up when it needs it, so a row that a program adds to one of them counts from then on:
configurations take its name, and it trains, explains and checks itself, and shows in exports and pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    import numpy as np  # checking a configuration needs none

Array: TypeAlias = "np.ndarray"
Arrays: TypeAlias = "dict[str, np.ndarray]"


class Equations(NamedTuple):
    """What a layer computes: `y` forward, `x` for ∂L/∂x, and by its short name the gradient of each parameter.

    x is a layer's input and y its output, δ = ∂L/∂y comes from the layer above, δx = ∂L/∂x goes to the one below, Δθ
    is the gradient of a parameter θ. Indices count from 0.
    """

    y: str
    x: str
    gradients: dict[str, str]


@dataclass(frozen=True)
class Operator:
    """One ONNX operator: its constants, arrays or single float32 numbers, follow the data among its inputs.

    `beside` is an operator on the same data, whose output is the second input.
    """

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: "Arrays | dict[str, float]" = field(default_factory=dict)
    beside: "Operator | None" = None


class NameIn:
    """Annotates a string that must be one of a table's names at the time when it is checked, or one of `more`."""

    def __init__(self, table: Mapping[str, Any], *more: str) -> None:
        self.table, self.more = table, more

    def _check(self, name: str) -> str:
        if name not in self.table and name not in self.more:
            raise PydanticCustomError("unknown_name", "expected a name of the table")
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "enum": [*self.more, *self.table]}
