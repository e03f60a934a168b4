"""Activation functions as layers."""

from typing import Any, Literal

from pydantic import Field

from lenumba.engine.network.activations import ACTIVATIONS, ActivationName
from lenumba.engine.network.layers.base import LayerBase, Name, Node, Shape
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.program.plan import Call, Place, call, geometry


class Activation(LayerBase):
    """An activation function as a layer of its own."""

    type: Literal["activation"] = "activation"
    name: Name | None = Field(None, description="Name of the layer in summaries.")
    function: ActivationName = Field(description="Function applied to each value.")

    @property
    def in_place(self) -> bool:  # type: ignore[override]
        """Whether nobody needs x afterwards."""
        return not ACTIVATIONS[self.function].from_input

    @property
    def reads_output(self) -> bool:  # type: ignore[override]
        """Whether the derivative is computed from y."""
        return self.in_place

    def forward(self, node: Node) -> list[Call]:
        """Return y = f(x)."""
        x, y = node.x.interior, node.y.interior
        return [call("activation_forward", elementwise(node), x=x, y=y, function=self.function)]

    def takes_channels(self, shape: Shape) -> bool:
        """Return True: it works value by value."""
        return True

    def backward(self, node: Node) -> list[Call]:
        """Return dx = dy · f′, from y or from x."""
        if node.dx is None:
            return []
        given: dict[str, Place | str | int]
        given = {"dy": node.dy.interior, "dx": node.dx.interior, "derivative": f"{self.function}_derivative"}
        if self.reads_output:
            return [call("activation_backward", elementwise(node), y=node.y.interior, **given)]
        return [call("activation_backward_of_input", elementwise(node), x=node.x.interior, **given)]

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Return f(x)."""
        return find_twin(".steps.activation_forward")(self._twin(self.function), x)

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return dy · f′."""
        slope, known = self._twin(f"{self.function}_derivative"), y if self.reads_output else x
        return find_twin(".steps.activation_backward")(slope, known, dy), {}

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
    return geometry(node.x.in_vectors, node.y.in_vectors)
