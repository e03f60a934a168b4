"""Average and max pooling and their gradients, for one block of 16 images.

x[C, ·, ·] is stored with its padding around it: zeros for the average, −∞ for the maximum.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.simd import load, splat, store, where_equal, where_greater


@kernel
def average_pool_forward(x, y, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE):
    """y[c, i, j] = mean of the KH × KW window of x at (i·SH, j·SW) (overwrites y)."""
    scale = splat(1.0 / (KH * KW))
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                total = splat(0.0)
                for u in range(KH):
                    for v in range(KW):
                        total = total + load(x, c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v)
                store(y, c * Y_PLANE + i * Y_ROW + j, scale * total)


@kernel
def average_pool_backward(x, dy, dx, derivative, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE, OVERLAP):
    """Dx of every pixel in a window gets dy / (KH · KW), times the derivative of what made x.

    Overwrites dx; where windows overlap (OVERLAP) it accumulates.
    """
    scale = splat(1.0 / (KH * KW))
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                share = scale * load(dy, c * Y_PLANE + i * Y_ROW + j)
                for u in range(KH):
                    for v in range(KW):
                        pixel = c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v
                        slope = share * derivative(load(x, pixel))
                        store(dx, pixel, load(dx, pixel) + slope if OVERLAP else slope)


@kernel
def max_pool_forward(x, y, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE):
    """y[c, i, j] = maximum of the KH × KW window of x at (i·SH, j·SW) (overwrites y)."""
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                corner = c * X_PLANE + i * SH * X_ROW + j * SW
                best = load(x, corner)
                for u in range(KH):
                    for v in range(KW):
                        value = load(x, corner + u * X_ROW + v)
                        best = where_greater(value, best, value, best)
                store(y, c * Y_PLANE + i * Y_ROW + j, best)


@kernel
def max_pool_backward(x, y, dy, dx, derivative, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE, OVERLAP):
    """Send the gradient to the element that was the maximum, times the derivative of what made x (handout 003 §IX).

    Of equal maxima the first in reading order gets it. Overwrites dx; where windows overlap (OVERLAP) it accumulates.
    """
    zero = splat(0.0)
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                place = c * Y_PLANE + i * Y_ROW + j
                best = load(y, place)
                rest = load(dy, place)
                for u in range(KH):
                    for v in range(KW):
                        pixel = c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v
                        value = load(x, pixel)
                        share = where_equal(value, best, rest, zero) * derivative(value)
                        rest = where_equal(value, best, zero, rest)
                        store(dx, pixel, load(dx, pixel) + share if OVERLAP else share)


@kernel
def clear(dx, SIZE):
    """Set SIZE vectors to zero, before gradients accumulate in them."""
    zero = splat(0.0)
    for k in range(SIZE):
        store(dx, k, zero)
