"""Convolution and its gradients.

x[C, ·, ·] is stored with its padding (zeros) around it, so no kernel knows of padding: `X_ROW` and `X_PLANE` are the
values from one row and one map to the next. w[M, C, KH, KW] are plain floats. y[M, OH, OW] likewise has its own row
and plane strides. A value is UNIT = 16 floats, one for each image of a block, or one float of a single image (see
:mod:`lenumba.kernels.layers.pixels`): then a column j is 16 neighbouring pixels. The orientation is correlation, as in
every framework; the handout's flipped form is the same computation with rotated kernels.

Each kernel works on the maps M_FROM … M_TO and columns J_FROM … J_TO in tiles of MAPS × COLS that divide them; the
program calls it again for a remainder.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import load, splat, sum_lanes
from lenumba.kernels.vector.tile import (
    add_lane_sums,
    load_tile,
    map_tile,
    outer_fma,
    product_fma,
    scatter_fma,
    splat_rows,
    store_tile,
    zero_tile,
)


@kernel
def conv_forward(
    x, w, b, y, function, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, Y_ROW, Y_PLANE, BIAS,
    M_FROM, M_TO, MAPS, J_FROM, J_TO, COLS, UNIT,
):  # fmt: skip
    """y[m, i, j] = function(b[m] + Σ_c Σ_u Σ_v w[m, c, u, v] · x[c, i·SH + u, j·SW + v]) (overwrites y)."""
    for i in range(OH):
        for m in range(M_FROM, M_TO, MAPS):
            for j in range(J_FROM, J_TO, COLS):
                tile = splat_rows(b, m, MAPS, COLS) if BIAS else zero_tile(MAPS, COLS)
                for c in range(C):
                    for u in range(KH):
                        for v in range(KW):
                            tap = ((m * C + c) * KH + u) * KW + v
                            pixel = (c * X_PLANE + (i * SH + u) * X_ROW + v) * UNIT + j * SW * LANES
                            tile = outer_fma(tile, w, tap, C * KH * KW, x, pixel, SW * LANES, MAPS, COLS)
                tile = map_tile(tile, function)
                store_tile(y, (m * Y_PLANE + i * Y_ROW) * UNIT + j * LANES, Y_PLANE * UNIT, tile, MAPS, COLS)


@kernel
def conv_weight_gradient(
    x, dy, dw, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE,
    M_FROM, M_TO, MAPS, V_FROM, V_TO, COLS, UNIT,
):  # fmt: skip
    """dw[m, c, u, v] += Σ_i Σ_j Σ_lanes dy[m, i, j] · x[c, i·SH + u, j·SW + v].

    The sums stay in registers, one for each lane, over the whole image; the lanes are added once at the end.
    """
    for m in range(M_FROM, M_TO, MAPS):
        for c in range(C):
            for u in range(KH):
                for v in range(V_FROM, V_TO, COLS):
                    tile = zero_tile(MAPS, COLS)
                    for i in range(OH):
                        for j in range(OW):
                            pixel = (c * X_PLANE + (i * SH + u) * X_ROW + v) * UNIT + j * SW * LANES
                            place = (m * Y_PLANE + i * Y_ROW) * UNIT + j * LANES
                            tile = product_fma(tile, dy, place, Y_PLANE * UNIT, x, pixel, UNIT, MAPS, COLS)
                    tap = ((m * C + c) * KH + u) * KW + v
                    add_lane_sums(dw, tap, C * KH * KW, tile, MAPS, COLS)


@kernel
def pointwise_weight_gradient(
    x, dy, dw, C, X_ROW, X_PLANE, SH, SW, OH, OW, Y_ROW, Y_PLANE, M_FROM, M_TO, MAPS, C_FROM, C_TO, COLS
):  # fmt: skip
    """dw[m, c] += Σ_i Σ_j Σ_lanes dy[m, i, j] · x[c, i·SH, j·SW]: that of kernels of one tap, with the same bits.

    The tile spreads over channels: with a single tap, columns of taps would leave each loaded vector to one product.
    """
    for m in range(M_FROM, M_TO, MAPS):
        for c in range(C_FROM, C_TO, COLS):
            tile = zero_tile(MAPS, COLS)
            for i in range(OH):
                for j in range(OW):
                    pixel, place = (
                        (c * X_PLANE + i * SH * X_ROW + j * SW) * LANES,
                        (m * Y_PLANE + i * Y_ROW + j) * LANES,
                    )
                    tile = product_fma(tile, dy, place, Y_PLANE * LANES, x, pixel, X_PLANE * LANES, MAPS, COLS)
            add_lane_sums(dw, m * C + c, C, tile, MAPS, COLS)


@kernel
def conv_bias_gradient(dy, db, M, OH, OW, Y_ROW, Y_PLANE):
    """db[m] += Σ_i Σ_j Σ_lanes dy[m, i, j]."""
    for m in range(M):
        total = splat(0.0)
        for i in range(OH):
            for j in range(OW):
                total = total + load(dy, m * Y_PLANE + i * Y_ROW + j)
        db[m] += sum_lanes(total)


@kernel
def conv_input_gradient(
    dy, w, dx, C, X_ROW, X_PLANE, PH, KH, KW, SH, SW, M, OH, Y_ROW, Y_PLANE,
    C_FROM, C_TO, MAPS, J_FROM, J_TO, COLS, WIDTH, FIRST,
):  # fmt: skip
    """dx[c, r, q] += Σ_m Σ_u Σ_v w[m, c, u, v] · dy[m, i, j] over r = i·SH + u and q = j·SW + v.

    Taps that fall outside dy are skipped, not multiplied by zeros: a tile holds every column of dx that COLS columns
    of dy reach. COLS is the same for every CPU because it decides the order in which dx is summed.
    WIDTH = (COLS − 1)·SW + KW columns of dx. Overwrites dx where one tile covers a whole row (FIRST), else accumulates.
    """
    for r in range(PH):
        for c in range(C_FROM, C_TO, MAPS):
            for j in range(J_FROM, J_TO, COLS):
                place, plane = (c * X_PLANE + r * X_ROW + j * SW) * LANES, X_PLANE * LANES
                tile = zero_tile(MAPS, WIDTH) if FIRST else load_tile(dx, place, plane, MAPS, WIDTH)
                for m in range(M):
                    for u in range(KH):
                        i = (r - u) // SH
                        if r >= u and i * SH == r - u and i < OH:
                            tap = (m * C + c) * KH * KW + u * KW
                            row = (m * Y_PLANE + i * Y_ROW + j) * LANES
                            tile = scatter_fma(tile, w, tap, KH * KW, dy, row, MAPS, COLS, KW, SW)
                store_tile(dx, place, plane, tile, MAPS, WIDTH)
