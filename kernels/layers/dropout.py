"""Dropout and its gradient, for one block of 16 images.

Inverted dropout: values are kept with probability q and then divided by q, so that evaluation needs no scaling.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.bits import lane_streams, random_bits, splat_bits, to_float
from lenumba.kernels.vector.simd import load, splat, store, where_greater


@kernel
def dropout_forward(x, y, mask, key, first, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE, THRESHOLD, LAYER):
    """y[c, i, j] = x[c, i, j] · mask[c, i, j] (overwrites y, which may be x, and the mask).

    The mask is 0 with probability THRESHOLD / 2²⁴, else 1 / q. It is a function of the epoch's key, the image's place
    in the epoch (first + lane), the layer's number and the value's number.
    """
    low, high = lane_streams(key, first, LAYER)
    threshold, zero = splat(THRESHOLD), splat(0.0)
    scale = splat(16777216.0 / (16777216 - THRESHOLD))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                number = (c * H + i) * W + j
                draw = to_float(random_bits(low, high, number) >> splat_bits(8))
                keep = where_greater(threshold, draw, zero, scale)
                store(mask, number, keep)
                store(y, c * Y_PLANE + i * Y_ROW + j, load(x, c * X_PLANE + i * X_ROW + j) * keep)


@kernel
def dropout_backward(dy, dx, mask, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE):
    """dx[c, i, j] = dy[c, i, j] · mask[c, i, j] (overwrites dx, which may be dy)."""
    for c in range(C):
        for i in range(H):
            for j in range(W):
                keep = load(mask, (c * H + i) * W + j)
                store(dx, c * X_PLANE + i * X_ROW + j, load(dy, c * Y_PLANE + i * Y_ROW + j) * keep)


@kernel
def copy(x, y, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE):
    """y[c, i, j] = x[c, i, j]: what dropout does in evaluation (overwrites y)."""
    for c in range(C):
        for i in range(H):
            for j in range(W):
                store(y, c * Y_PLANE + i * Y_ROW + j, load(x, c * X_PLANE + i * X_ROW + j))
