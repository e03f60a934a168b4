"""Batch normalisation."""

from typing import Literal

from pydantic import Field

from lenumba.engine.network.layers.base import (
    Epsilon,
    LayerBase,
    Momentum,
    Name,
    Node,
    Norm,
    NormSettings,
    Parameter,
    Shape,
)
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.program.plan import Argument, Call, Place, call, geometry

SUMS = 4  # rows of what a block leaves to the others; behind them are the batch's two moments


class BatchNorm(LayerBase):
    """Batch normalisation (Ioffe & Szegedy 2015): each map with mean 0 and variance 1 over the batch, then γ·x̂ + β.

    As in PyTorch, training takes the batch's own statistics and lets the running ones follow them, the variance as the
    unbiased one; everything else takes the running ones.
    """

    sees_batch = True
    type: Literal["batch_norm"] = "batch_norm"
    name: Name | None = Field(None, description="Name of the layer in summaries and checkpoints.")
    momentum: Momentum = NormSettings().momentum
    epsilon: Epsilon = NormSettings().epsilon

    @classmethod
    def of(cls, norm: Norm) -> "BatchNorm | None":
        """Return what a layer's field `norm` asks for."""
        if norm == "none":
            return None
        return cls() if norm == "batch" else cls(**norm.model_dump())

    @property
    def stem(self) -> str:
        """Return ``norm``."""
        return "norm"

    @property
    def takes_single_images(self) -> bool:
        """Return False: batches of many images are what it is for."""
        return False

    def parameters(self, shape: Shape) -> list[Parameter]:
        """Return γ ``weight``, β ``bias`` and the running statistics, [maps] each."""
        maps = (shape[0],)
        statistics = (
            Parameter("running_mean", maps, learned=False),
            Parameter("running_var", maps, start=1.0, learned=False),
        )
        return [Parameter("weight", maps, start=1.0), Parameter("bias", maps), *statistics]

    def scratch(self, shape: Shape, unit: int) -> int:
        """Return the size of a block's sums, and of the batch's moments."""
        return (SUMS + 2) * row_of(shape[0])

    def forward(self, node: Node) -> list[Call]:
        """Return a block's sums and, once all blocks have left theirs, y."""
        sizes, x = self._sizes(node), node.x.interior
        given = self._given(node) | {"moments": moments(node), "others": others(node), "share": self.momentum}
        return [
            call("norm_sums", sizes, x=x, sums=node.scratch),
            call("norm_forward", sizes, x=x, y=node.y.interior, **given),
        ]

    def evaluate(self, node: Node) -> list[Call]:
        """Return y from the running statistics; no call where they lie in the weights before."""
        if node.x.start == node.y.start:
            return []
        return [call("norm_evaluate", self._sizes(node), x=node.x.interior, y=node.y.interior, **self._given(node))]

    def backward(self, node: Node) -> list[Call]:
        """Return a block's sums and, once all blocks have left theirs, the input gradient."""
        sizes, gradients = self._sizes(node), node.gradients
        given: dict[str, Argument] = {"x": node.x.interior, "dy": node.dy.interior, "moments": moments(node)}
        given |= {"weight": node.parameters["weight"], "bias": node.parameters["bias"]}
        given |= {"function": "none", "derivative": "none_derivative"}
        own = {"dweight": gradients["weight"], "dbias": gradients["bias"], "sums": node.scratch}
        calls = [call("norm_backward_sums", sizes, **given, **own)]
        if node.dx is None:
            return calls
        given |= {"dx": node.dx.interior, "others": others(node)}
        return [*calls, call("norm_backward", sizes, **given)]

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Normalise with the running statistics."""
        return find_twin(".norm.norm_evaluate")(x, *_in_order(parameters), self.epsilon)  # type: ignore[no-any-return]

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return dy·γ/√(v + ε), and the gradients of γ and β."""
        weight, bias, mean, variance = _in_order(parameters)
        slope = find_twin(".norm.norm_evaluate")(dy, weight, 0 * bias, 0 * mean, variance, self.epsilon)
        gradients = find_twin(".norm.norm_weight_gradients")(x, dy, mean, variance, self.epsilon)
        return slope, dict(zip(("weight", "bias"), gradients, strict=True))

    def batch_forward(self, parameters: Arrays, x: Array) -> Array:
        """Normalise with the batch's statistics."""
        return find_twin(".norm.norm_forward")(x, parameters["weight"], parameters["bias"], self.epsilon)[0]  # type: ignore[no-any-return]

    def batch_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return the gradients, with the statistics' own part."""
        dx, weight, bias = find_twin(".norm.norm_backward")(x, parameters["weight"], dy, self.epsilon)
        return dx, {"weight": weight, "bias": bias}

    def equations(self, shape: Shape) -> Equations:
        """Return what it computes with the running statistics, which is what a single image gets."""
        root = f"√(v_c + {self.epsilon:g})"
        gradients = {"weight": f"Δγ_c = Σ_i Σ_j δ_c(i,j)·(x_c(i,j) − μ_c)/{root}", "bias": "Δβ_c = Σ_i Σ_j δ_c(i,j)"}
        return Equations(f"y_c = γ_c·(x_c − μ_c)/{root} + β_c", f"δx_c = δ_c·γ_c/{root}", gradients)

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return a BatchNormalization."""
        return [
            Operator(
                "BatchNormalization", {"epsilon": self.epsilon}, dict(zip(weights, _in_order(weights), strict=True))
            )
        ]

    def described(self) -> dict[str, float]:
        """Return ε."""
        return {"epsilon": self.epsilon}

    def _sizes(self, node: Node) -> dict[str, int]:
        return geometry(node.x, node.y) | {"ROW": row_of(node.x.channels)}

    def _given(self, node: Node) -> dict[str, Argument]:
        names = {"weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_variance": "running_var"}
        places: dict[str, Argument] = {argument: node.parameters[name] for argument, name in names.items()}
        return places | {"function": "none", "epsilon": self.epsilon}


def row_of(channels: int) -> int:
    """Return `channels` rounded up to whole vectors."""
    return -(-channels // LANES) * LANES


def moments(node: Node) -> Place:
    """Return where the batch's moments lie, [2, ROW]."""
    return node.scratch.part(SUMS * row_of(node.x.channels))


def others(node: Node) -> Place:
    """Return where the first block's sums lie."""
    return Place("blocks", node.scratch.offset, node.scratch.name)


def _in_order(arrays: Arrays) -> tuple[Array, Array, Array, Array]:
    return arrays["weight"], arrays["bias"], arrays["running_mean"], arrays["running_var"]
