"""Counting a kernel's work and traffic from the whole numbers of its calls, for the rows of the catalogue.

Work counts the multiply-adds of a block of 16 images as ``lenumba summary`` does: those of convolutions and dense
layers, the gradients each as many as the forward pass, in whatever form a kernel computes them. Traffic counts every
value that a step must read or write once: 64 bytes a vector, 4 bytes a weight; what a step reads of it more often comes
from the caches. Where batches are small, a block is one image (UNIT = 1) and the long rows of its convolutions also
compute what nobody needs: there the layer's own multiply-adds count.
"""

from collections.abc import Callable, Mapping

from lenumba.kernels.constants import LANES

VECTOR, WEIGHT = 4 * LANES, 4
Shapes = Mapping[str, int]
Count = Callable[[Shapes], int]


def nothing(s: Shapes) -> int:
    """Return 0."""
    return 0


def value(s: Shapes) -> int:
    """Return the bytes of one value: of a block's 16 images, or of one image where a call says so."""
    return WEIGHT * s.get("UNIT", LANES)


def maps(s: Shapes) -> int:
    """Return the rows of a call's range."""
    return s["M_TO"] - s["M_FROM"]


def columns(s: Shapes) -> int:
    """Return the columns of a call's range."""
    return s["J_TO"] - s["J_FROM"]


def filter_size(s: Shapes) -> int:
    """Return the weights of one map's filter."""
    return s["C"] * s["KH"] * s["KW"]


def whole(s: Shapes) -> int:
    """Return the multiply-adds of a convolution's pass over all of its maps, rows and columns."""
    return s["M"] * s["OH"] * s["OW"] * filter_size(s)


def through(s: Shapes) -> int:
    """Return the bytes of such a pass's input, with its margins, and output."""
    return VECTOR * (s["M"] * s["OH"] * s["OW"] + s["C"] * s["X_PLANE"])


def planes(count: str, plane: str) -> Count:
    """Return the count of the bytes of whole planes."""
    return lambda s: value(s) * s[count] * s[plane]


def elementwise(arrays: int) -> Count:
    """Return the count of the bytes of `arrays` tensors of C × H × W."""
    return lambda s: VECTOR * arrays * s["C"] * s["H"] * s["W"]


def pooling(inputs: int, outputs: int) -> Count:
    """Return the count of the bytes of a pooling's tensors: windows times their size, and windows."""

    def count(s: Shapes) -> int:
        windows = s["C"] * s["OH"] * s["OW"]
        return VECTOR * windows * (inputs * s["KH"] * s["KW"] + outputs)

    return count


def pooling_pixels(inputs: int, outputs: int) -> Count:
    """Return the same of a single image."""
    count = pooling(inputs, outputs)
    return lambda s: count(s) // LANES


def dense_part(s: Shapes) -> int:
    """Return the real columns of a part of the weight gradient; the last vector of a row reaches beyond them."""
    return maps(s) * (min(s["N"], LANES * s["V_TO"]) - LANES * s["V_FROM"])


def loss_bytes(s: Shapes) -> int:
    """Return the bytes of a loss: the last layer's output, its gradient and the network's outputs."""
    return 3 * VECTOR * s["K"]


def update_bytes(s: Shapes) -> int:
    """Return the bytes of an update.

    Each shard's gradient is read and cleared; parameters and the optimiser's state are read and written.
    """
    return WEIGHT * s["SIZE"] * (2 * s["SHARDS"] + 2 + 2 * s["STATES"])
