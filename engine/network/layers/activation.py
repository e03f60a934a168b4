"""Activation functions as layers."""

from typing import Literal

from pydantic import Field

from lenumba.engine.network.layers.base import ActivationName, LayerBase, Name, Node
from lenumba.kernels.program.plan import Call, Tensor, call, geometry


class Activation(LayerBase):
    """An activation function as a layer of its own."""

    in_place = True
    reads_output = True
    type: Literal["activation"] = "activation"
    name: Name | None = Field(None, description="Name of the layer in summaries.")
    function: ActivationName = Field(description="Function applied to each value.")

    def forward(self, node: Node) -> list[Call]:
        """Return y = f(x)."""
        x, y = node.x.interior, node.y.interior
        return [call("activation_forward", elementwise(node), x=x, y=y, function=self.function)]

    def backward(self, node: Node) -> list[Call]:
        """Return dx = dy · f′(y)."""
        if node.dx is None:
            return []
        y, dy, dx = node.y.interior, node.dy.interior, node.dx.interior
        slope = f"{self.function}_derivative"
        return [call("activation_backward", elementwise(node), y=y, dy=dy, dx=dx, derivative=slope)]


def elementwise(node: Node) -> dict[str, int]:
    """Return the whole numbers of a pass value by value; a single image is one row of whole vectors."""
    return geometry(node.x, node.y) if node.x.unit > 1 else geometry(row := Tensor(1, 1, node.x.vectors), row)
