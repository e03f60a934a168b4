"""Residual connections: what some layers compute is added to what came in."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from lenumba.engine.network.activations import ActivationName
from lenumba.engine.network.layers.base import LIST, LayerBase, Name, Node, Shape
from lenumba.engine.network.layers.table import Layer
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.program.pieces import MEMORY, WHOLE, cut
from lenumba.kernels.program.plan import Argument, Call, Tensor, call, geometry, shape_text

Layers = Annotated[tuple[Layer, ...], LIST]


class Residual(LayerBase):
    """A residual connection (He et al. 2016): y = layers(x) + shortcut(x); an empty shortcut is x itself."""

    type: Literal["residual"] = "residual"
    name: Name | None = Field(None, description="Name of the sum in summaries.")
    layers: Layers = Field(min_length=1, max_length=64, description="The layers of the long way, in order.")
    shortcut: Layers = Field((), max_length=64, description="The layers of the short way; none: the input as it is.")
    activation: ActivationName = Field("none", description="Function applied to the sum.")

    def assemble(self, assembly: Any, name: str, path: str, tensor: int) -> int:
        """Add the units of both ways, and their sum; return its number."""
        ends = (
            assembly.chain(self.layers, f"{path}.layers", tensor, inside=True),
            assembly.chain(self.shortcut, f"{path}.shortcut", tensor, inside=True),
        )
        shapes = [assembly.shapes[end] for end in ends]
        if shapes[0] != shapes[1] and all(map(all, shapes)):  # one of zeros is not known
            ways = f"{shape_text(*shapes[0])} from its layers and {shape_text(*shapes[1])} from its shortcut"
            remedy = "give the shortcut a conv with as many channels and the same stride"
            remedy = "change one of them" if self.shortcut else remedy
            raise assembly.error(path, f"expected equal shapes to add, found {ways}; {remedy}")
        return assembly.unit(name, path, Add(), ends)  # type: ignore[no-any-return]

    def inner(self) -> dict[str, tuple[LayerBase, ...]]:
        """Return both ways."""
        return {"layers": self.layers, "shortcut": self.shortcut}

    @classmethod
    def example(cls) -> "Residual":
        """Return one whose shortcut is its input."""
        return cls.model_validate({"type": "residual", "layers": [{"type": "activation", "function": "relu"}]})


class Add(LayerBase):
    """The sum of two tensors: what a residual connection ends with."""

    in_place = True
    passes_gradient = True
    type: Literal["add"] = "add"

    def forward(self, node: Node) -> list[Call]:
        """Return y = a + b."""
        return [add_call(node.x, node.more[0], node.y)]

    def takes_channels(self, shape: Shape) -> bool:
        """Return True: it works value by value."""
        return True

    def backward(self, node: Node) -> list[Call]:
        """Return no call: both inputs have the sum's gradient."""
        return []

    def answer(self, node: Node, shape: Shape) -> list[Call]:
        """Return y = a + b in pieces."""
        y = node.y
        return [add_call(node.x, node.more[0], y, cut(MEMORY * y.channels * y.height * y.width, y.height))]

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Return the sum of the two arrays in x."""
        return find_twin(".moves.add")(*x)  # type: ignore[no-any-return]

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Any, Arrays]:
        """Return dy for both."""
        return (dy, dy), {}

    def equations(self, shape: Shape) -> Equations:
        """Return the sum."""
        return Equations("y = a + b, from its layers and its shortcut", "δa = δb = δ", {})

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return an Add."""
        return [Operator("Add")]


def add_call(a: Tensor, b: Tensor, y: Tensor, pieces: Mapping[str, Argument] | None = None) -> Call:
    """Return the call that writes a + b to y, or one of its pieces."""
    a, b, y = a.in_vectors, b.in_vectors, y.in_vectors
    sizes = geometry(a, y) | {"A_ROW": a.row, "A_PLANE": a.plane, "B_ROW": b.row, "B_PLANE": b.plane}
    return call("add", sizes, a=a.interior, b=b.interior, y=y.interior, function="none", **(pieces or WHOLE))
