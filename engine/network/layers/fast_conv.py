"""Fast convolution: what its forms have in common."""

from typing import ClassVar

from lenumba.engine.network.layers.base import Shape, pair
from lenumba.engine.network.layers.conv import Conv

# Outputs of a tile for each number of taps: with one more, points would be needed that cost too many digits.
OUTPUTS = {1: 1, 3: 4, 5: 4, 7: 2}


class FastConv(Conv):
    """A convolution that a network computes at points, in blocks of 16 images."""

    gain: ClassVar[float]  # the most that it may take of a direct step's time

    @property
    def transforms(self) -> list[tuple[int, int]]:
        """Outputs and taps of each direction that is computed at points."""
        raise NotImplementedError

    def fits(self, shape: Shape) -> bool:
        """Return whether its kernels can compute the layer for inputs of a shape."""
        raise NotImplementedError

    def cost(self, shape: Shape, slopes: bool = True) -> float:
        """Return the estimated time of a training step, with or without ∂L/∂x, as a share of a direct convolution's."""
        raise NotImplementedError

    @property
    def is_plain(self) -> bool:
        """Whether it has stride 1 and one group."""
        return pair(self.stride) == (1, 1) and self.groups == 1
