"""Weights of images: what each one's loss counts while training."""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES


@kernel
def weigh(order, first, count, weights, valid):
    """valid[lane] = weights[order[first + lane]], float32, in the lanes that hold an image (overwrites valid)."""
    for lane in range(LANES):
        if lane < count:
            valid[lane] = weights[order[first + lane]]
