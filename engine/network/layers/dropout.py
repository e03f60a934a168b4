"""Dropout."""

import hashlib
from typing import Literal

from pydantic import Field

from lenumba.engine.network.layers.base import LayerBase, Name, Node, Shape
from lenumba.engine.network.tables import Array, Arrays, Equations, Operator
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Call, call, geometry

UNITY = 1 << 24  # the random numbers that decide are whole numbers below this: what float32 holds exactly


class Dropout(LayerBase):
    """Dropout (Srivastava et al. 2014): while training, set random values to zero and scale the others up.

    Which ones depends on the seed, the epoch, the image's place in the epoch, the layer and the value's place in it.
    """

    in_place = True
    type: Literal["dropout"] = "dropout"
    name: Name | None = Field(None, description="Name of the layer in summaries.")
    rate: float = Field(ge=0, lt=1, description="Probability of each value to be set to zero.")

    @property
    def takes_single_images(self) -> bool:
        """Return False: the random streams are lanes."""
        return False

    @property
    def answers_single_images(self) -> bool:
        """Return True: then it does nothing."""
        return True

    def scratch(self, shape: Shape, unit: int) -> int:
        """Return the size of the mask."""
        return shape[0] * shape[1] * shape[2] * LANES

    def forward(self, node: Node) -> list[Call]:
        """Return y = x · mask."""
        x, y, threshold = node.x.interior, node.y.interior, min(round(self.rate * UNITY), UNITY - 1)
        sizes = geometry(node.x, node.y)
        return [call("dropout_forward", sizes, x=x, y=y, mask=node.scratch, THRESHOLD=threshold, LAYER=node.number)]

    def evaluate(self, node: Node) -> list[Call]:
        """Return no call, or a copy where y may not lie where x lies."""
        if node.x.start == node.y.start:
            return []
        x, y = node.x.in_vectors, node.y.in_vectors
        return [call("copy", geometry(x, y), x=x.interior, y=y.interior)]

    def takes_channels(self, shape: Shape) -> bool:
        """Return True: it works value by value."""
        return True

    def backward(self, node: Node) -> list[Call]:
        """Return dx = dy · mask."""
        if node.dx is None:
            return []
        dy, dx = node.dy.interior, node.dx.interior
        return [call("dropout_backward", geometry(node.x, node.y), dy=dy, dx=dx, mask=node.scratch)]

    def plain_forward(self, parameters: Arrays, x: Array) -> Array:
        """Return x: the plain network computes what evaluation does, and that knows no dropout."""
        return x

    def plain_backward(self, parameters: Arrays, x: Array, y: Array, dy: Array) -> tuple[Array, Arrays]:
        """Return dy."""
        return dy, {}

    def equations(self, shape: Shape) -> Equations:
        """Return what dropout does here: nothing."""
        return Equations("y = x (dropout acts in training alone)", "δx = δ", {})

    def operators(self, shape: Shape, weights: Arrays) -> list[Operator]:
        """Return no operator: only training drops values."""
        return []


def epoch_key(seed: int, epoch: int) -> int:
    """Return the key of an epoch's random numbers, −2⁶³ ≤ key < 2⁶³: equal for equal arguments, on every machine."""
    digest = hashlib.blake2b(f"dropout {seed} {epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
