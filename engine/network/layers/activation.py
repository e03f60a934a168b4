"""Activation functions as layers."""

from typing import Any, Literal

from pydantic import Field

from lenumba.engine.network.activations import ACTIVATIONS, ActivationName
from lenumba.engine.network.layers.base import LayerBase, Name, Node, Shape
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.program.catalogue import find_twin
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

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Return f(x)."""
        return find_twin(".steps.activation_forward")(self._twin(self.function), x)

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return dy · f′(y)."""
        return find_twin(".steps.activation_backward")(self._twin(f"{self.function}_derivative"), y, dy), {}

    def equations(self, shape: Shape) -> Equations:
        """Return the function and its derivative."""
        y, slope = ACTIVATIONS[self.function].equations
        return Equations(y, f"δx = δ·f′, f′ = {slope}", {})

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return the function's operator."""
        return [ACTIVATIONS[self.function].onnx]

    def described(self) -> dict[str, Any]:
        """Return the function's name."""
        return {"function": self.function}

    def _twin(self, kernel: str) -> Any:
        return find_twin(ACTIVATIONS[self.function].kernels()[kernel].twin)


def elementwise(node: Node) -> dict[str, int]:
    """Return the whole numbers of a pass value by value; a single image is one row of whole vectors."""
    return geometry(node.x, node.y) if node.x.unit > 1 else geometry(row := Tensor(1, 1, node.x.vectors), row)
