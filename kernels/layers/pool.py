"""Average and max pooling and their gradients, for one block of 16 images.

x[C, ·, ·] is stored with its padding around it: zeros for the average, −∞ for the maximum.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.simd import load, splat, store, where_equal, where_greater


@kernel
def share(i, j, H, W, KH, KW, SH, SW, TOP, LEFT, COUNT_PADDING):
    """Return one pixel's share in the window of output (i, j): 1 / its pixels, if COUNT_PADDING of the padding too."""
    if COUNT_PADDING:
        return 1.0 / (KH * KW)
    row, column = i * SH - TOP, j * SW - LEFT
    return 1.0 / ((min(row + KH, H) - max(row, 0)) * (min(column + KW, W) - max(column, 0)))


@kernel
def average_pool_forward(
    x, y, C, H, W, X_ROW, X_PLANE, KH, KW, SH, SW, TOP, LEFT, OH, OW, Y_ROW, Y_PLANE, COUNT_PADDING
):
    """y[c, i, j] = mean of the KH × KW window of x at (i·SH, j·SW) (overwrites y)."""
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                total = splat(0.0)
                for u in range(KH):
                    for v in range(KW):
                        total = total + load(x, c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v)
                scale = splat(share(i, j, H, W, KH, KW, SH, SW, TOP, LEFT, COUNT_PADDING))
                store(y, c * Y_PLANE + i * Y_ROW + j, scale * total)


@kernel
def average_pool_backward(
    x,
    dy,
    dx,
    derivative,
    C,
    H,
    W,
    X_ROW,
    X_PLANE,
    KH,
    KW,
    SH,
    SW,
    TOP,
    LEFT,
    OH,
    OW,
    Y_ROW,
    Y_PLANE,
    OVERLAP,
    COUNT_PADDING,
):
    """Dx of every pixel in a window gets its share of dy, times the derivative of what made x.

    Overwrites dx; where windows overlap (OVERLAP) it accumulates.
    """
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                scale = splat(share(i, j, H, W, KH, KW, SH, SW, TOP, LEFT, COUNT_PADDING))
                part = scale * load(dy, c * Y_PLANE + i * Y_ROW + j)
                for u in range(KH):
                    for v in range(KW):
                        pixel = c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v
                        slope = part * derivative(load(x, pixel))
                        store(dx, pixel, load(dx, pixel) + slope if OVERLAP else slope)


@kernel
def map_mean(x, y, C, X_PLANE, Y_PLANE, PART):
    """y[c] = mean of the map x[c]; sums of PART pixels first, as one sum of all would round more (overwrites y)."""
    for c in range(C):
        total = splat(0.0)
        for first in range(0, X_PLANE, PART):
            part = splat(0.0)
            for p in range(first, min(first + PART, X_PLANE)):
                part = part + load(x, c * X_PLANE + p)
            total = total + part
        store(y, c * Y_PLANE, splat(1.0 / X_PLANE) * total)


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
