"""A layer with kernels of its own: each channel times a number that is learned."""

from typing import Literal

from pydantic import Field

from lenumba.engine.network.layers.activation import elementwise
from lenumba.engine.network.layers.base import LayerBase, Name, Parameter
from lenumba.engine.network.tables import Equations, Operator
from lenumba.kernels.program import catalogue
from lenumba.kernels.program.catalogue import Kernel, find_twin
from lenumba.kernels.program.plan import call, geometry

KERNELS = {
    name: Kernel("extension.kernels", f"extension.twins.{name}", own=catalogue.elementwise(2))
    for name in ("scale_channels", "scale_weight_gradient")
}


class Scale(LayerBase):
    """y = w · x, with one w for each channel."""

    type: Literal["scale"] = "scale"
    name: Name | None = Field(None, description="Name of the layer in summaries.")

    @property
    def takes_single_images(self):
        return False

    def parameters(self, shape):
        return [Parameter("kernel", (shape[0],), start=1.0)]

    def multiply_adds(self, shape):
        return shape[0] * shape[1] * shape[2]

    def forward(self, node):
        w = node.parameters["kernel"]
        return [call("scale_channels", elementwise(node), x=node.x.interior, w=w, y=node.y.interior)]

    def backward(self, node):
        x, dy, dw = node.x.interior, node.dy.interior, node.gradients["kernel"]
        calls = [call("scale_weight_gradient", elementwise(node), x=x, dy=dy, dw=dw)]
        if node.dx is not None:
            back, w = geometry(node.dy, node.dx), node.parameters["kernel"]
            calls.append(call("scale_channels", back, x=dy, w=w, y=node.dx.interior))
        return calls

    def plain_forward(self, parameters, x):
        return find_twin(KERNELS["scale_channels"].twin)(x, parameters["kernel"])

    def plain_backward(self, parameters, x, y, dy):
        gradient = find_twin(KERNELS["scale_weight_gradient"].twin)(x, dy)
        return self.plain_forward(parameters, dy), {"kernel": gradient}

    def equations(self, shape):
        gradients = {"kernel": "ΔW_c = Σ_i Σ_j δ_c(i,j)·x_c(i,j)"}
        return Equations("y_c(i,j) = W_c·x_c(i,j)", "δx_c(i,j) = W_c·δ_c(i,j)", gradients)

    def operators(self, shape, weights):
        return [Operator("Mul", constants={"weight": weights["weight"].reshape(-1, 1, 1)})]
