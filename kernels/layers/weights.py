"""What comes with images, beside classes: weights, which their losses count while training, and targets."""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES


@kernel
def weigh(order, first, count, weights, valid):
    """valid[lane] = weights[order[first + lane]], float32, in the lanes that hold an image (overwrites valid)."""
    for lane in range(LANES):
        if lane < count:
            valid[lane] = weights[order[first + lane]]


@kernel
def pack_targets(labels, order, first, count, target, K):
    """target[k, lane] = labels[order[first + lane], k], float32 [N, K]; lanes without an image repeat the last one."""
    for lane in range(LANES):
        sample = order[first + min(lane, count - 1)]
        for k in range(K):
            target[k * LANES + lane] = labels[sample * K + k]
