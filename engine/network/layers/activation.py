"""Activation functions as layers."""

from typing import Literal

from pydantic import Field

from lenumba.engine.network.layers.base import ActivationName, LayerBase, Name, Node
from lenumba.kernels.program.plan import Call, Place


class Activation(LayerBase):
    """An activation function as a layer of its own."""

    in_place = True
    reads_output = True
    type: Literal["activation"] = "activation"
    name: Name | None = Field(None, description="Name of the layer in summaries.")
    function: ActivationName = Field(description="Function applied to each value.")

    def forward(self, node: Node) -> list[Call]:
        """Return y = f(x)."""
        return [Call("activation_forward", [node.x.interior, node.y.interior, self.function], shapes(node))]

    def backward(self, node: Node) -> list[Call]:
        """Return dx = dy · f′(y)."""
        if node.dx is None:
            return []
        pointers: list[Place | str] = [
            node.y.interior,
            node.dy.interior,
            node.dx.interior,
            f"{self.function}_derivative",
        ]
        return [Call("activation_backward", pointers, shapes(node))]


def shapes(node: Node) -> dict[str, int]:
    """Name the extents and strides as the kernels do; a single image is one row of whole vectors."""
    x, y = node.x, node.y
    if x.unit == 1:
        return {"C": 1, "H": 1, "W": x.vectors, "X_ROW": 0, "X_PLANE": 0, "Y_ROW": 0, "Y_PLANE": 0}
    extents = {"C": x.channels, "H": x.height, "W": x.width, "X_ROW": x.row, "X_PLANE": x.plane}
    return extents | {"Y_ROW": y.row, "Y_PLANE": y.plane}
