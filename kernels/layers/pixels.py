"""Kernels for one image at a time, when a batch is too small to fill 16 lanes with images.

A tensor x[C, H, W] is plain floats without margins; the lanes of a vector are 16 neighbouring pixels. A convolution
takes the whole plane as one long row: output p = i · ROW + j needs the inputs p + u · ROW + v, whatever i and j, so
rows need no edge cases. What it computes for the columns between two rows is dropped when the rows are copied out.
The loops are those of :mod:`lenumba.kernels.layers.conv` with UNIT = 1.
"""

from numba import types

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import sum_lanes
from lenumba.kernels.vector.tile import outer_fma, product_fma, store_tile, zero_tile


@kernel
def pack_image(images, labels, order, first, scale, shift, x, label, valid, piece, C, H, W, X_ROW, X_PLANE, PIECES):
    """Fill one of PIECES of the rows of x[C, H, W] with image number order[first], uint8 or float32.

    With the first piece come label[16] and valid[16], as `lanes.pack` fills them.
    """
    sample = order[first]
    if piece == 0:
        for lane in range(LANES):
            label[lane] = labels[sample]
            valid[lane] = 1.0 if lane == 0 else 0.0
    for c in range(C):
        for i in range(H * piece // PIECES, H * (piece + 1) // PIECES):
            for j in range(W):
                x[c * X_PLANE + i * X_ROW + j] = images[((sample * C + c) * H + i) * W + j] * scale[c] + shift[c]


@kernel
def copy_strided(x, y, C, H, W, X_PLANE, X_ROW, X_STEP, Y_PLANE, Y_ROW, Y_STEP):
    """y[c, i, j] = x[c, i, j], with strides in floats of their own (overwrites y)."""
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c * Y_PLANE + i * Y_ROW + j * Y_STEP] = x[c * X_PLANE + i * X_ROW + j * X_STEP]


@kernel
def conv_input_gradient_pixels(
    dy, w, dx, C, X_ROW, X_PLANE, KH, KW, M, Y_PLANE, C_FROM, C_TO, MAPS, J_FROM, J_TO, COLS
):
    """dx[c, q] = Σ_m Σ_u Σ_v w[m, c, u, v] · dy[m, q − u · X_ROW − v] (overwrites dx).

    Around each map of dy there are zeros, as many as the taps reach.
    """
    for c in range(C_FROM, C_TO, MAPS):
        for j in range(J_FROM, J_TO, COLS):
            tile = zero_tile(MAPS, COLS)
            for m in range(M):
                for u in range(KH):
                    for v in range(KW):
                        place = m * Y_PLANE + j * LANES - u * X_ROW - v
                        tile = outer_fma(
                            tile, w, ((m * C + c) * KH + u) * KW + v, KH * KW, dy, place, LANES, MAPS, COLS
                        )
            store_tile(dx, c * X_PLANE + j * LANES, X_PLANE, tile, MAPS, COLS)


@kernel
def clear_tail(x, N, ROW):
    """Set x[N … ROW − 1] to zero, so that whole vectors of x can be multiplied."""
    for n in range(N, ROW):
        x[n] = 0.0


@kernel
def dense_forward_pixels(x, w, b, y, N, M, BIAS):
    """y[m] = b[m] + Σ_n w[m, n] · x[n], 16 inputs at a time (overwrites y)."""
    for m in range(M):
        tile = zero_tile(1, 1)
        for n in range(0, N, LANES):
            tile = product_fma(tile, w, m * N + n, 0, x, n, 0, 1, 1)
        y[m] = sum_lanes(tile[0]) + (b[m] if BIAS else 0.0)


@kernel
def dense_input_gradient_pixels(dy, w, dx, N, M, V_FROM, V_TO, COLS):
    """dx[n] = Σ_m w[m, n] · dy[m], 16 inputs at a time (overwrites dx)."""
    for v in range(V_FROM, V_TO, COLS):
        tile = zero_tile(1, COLS)
        for m in range(M):
            tile = outer_fma(tile, dy, m, 0, w, m * N + v * LANES, LANES, 1, COLS)
        store_tile(dx, v * LANES, 0, tile, 1, COLS)


@kernel
def dense_bias_gradient_pixels(dy, db, M):
    """db[m] += dy[m]."""
    for m in range(M):
        db[m] += dy[m]


@kernel
def average_pool_forward_pixels(x, y, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW):
    """y[c, i, j] = mean of the KH × KW window of x at (i·SH, j·SW) (overwrites y)."""
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                total = types.float32(0.0)
                for u in range(KH):
                    for v in range(KW):
                        total += x[c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v]
                y[(c * OH + i) * OW + j] = total * types.float32(1.0 / (KH * KW))


@kernel
def average_pool_backward_pixels(dy, dx, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW):
    """Add dy / (KH · KW) to every pixel of its window in dx."""
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                share = dy[(c * OH + i) * OW + j] * types.float32(1.0 / (KH * KW))
                for u in range(KH):
                    for v in range(KW):
                        dx[c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v] += share


@kernel
def map_mean_pixels(x, y, C, X_PLANE, PART):
    """y[c] = mean of the map x[c]; sums of PART pixels first (overwrites y)."""
    for c in range(C):
        total = types.float32(0.0)
        for first in range(0, X_PLANE, PART):
            part = types.float32(0.0)
            for p in range(first, min(first + PART, X_PLANE)):
                part += x[c * X_PLANE + p]
            total += part
        y[c] = total * types.float32(1.0 / X_PLANE)


@kernel
def max_pool_forward_pixels(x, y, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW):
    """y[c, i, j] = maximum of the KH × KW window of x at (i·SH, j·SW) (overwrites y)."""
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                corner = c * X_PLANE + i * SH * X_ROW + j * SW
                best = x[corner]
                for u in range(KH):
                    for v in range(KW):
                        value = x[corner + u * X_ROW + v]
                        best = value if value > best else best
                y[(c * OH + i) * OW + j] = best


@kernel
def max_pool_backward_pixels(x, y, dy, dx, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW):
    """Add dy to the first element of its window in dx that was the maximum."""
    for c in range(C):
        for i in range(OH):
            for j in range(OW):
                place = (c * OH + i) * OW + j
                rest = dy[place]
                for u in range(KH):
                    for v in range(KW):
                        pixel = c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v
                        if x[pixel] == y[place]:
                            dx[pixel] += rest
                            rest = types.float32(0.0)
