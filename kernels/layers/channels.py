"""Kernels for one image at a time whose lanes are 16 channels: a network's answers, where images come one by one.

A tensor x[⌈C / 16⌉, H, W] of vectors lies as a block of 16 images does, margins included: what works value by value or
map by map (activations, poolings, sums) takes it as it is. What follows on the last channel, up to a whole vector, is
of no account. Weights lie as they are read, 16 maps side by side:
:mod:`lenumba.engine.network.channels` arranges them. Every value is the sum of the same products in the same order
whatever the tiles are, so several threads can compute a step's pieces. These go from row to row in all steps: most of
what a thread reads, it has written itself.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.layers.winograd import BIAS_VECTORS, image_to_points, points_to_result
from lenumba.kernels.vector.maps import bias_tile, store_places, taps_fma, value_fma
from lenumba.kernels.vector.simd import at
from lenumba.kernels.vector.tile import map_tile


@kernel
def conv_channels(
    x, w, b, y, function, piece, C, UNIT, X_ROW, X_PLANE, KH, KW, SH, SW, Y_ROW, Y_PLANE,
    M_FROM, M_TO, MAPS, OH, ROWS, J_FROM, J_TO, COLS, PIECES, BIAS,
):  # fmt: skip
    """y[m, i, j] = function(b[m] + Σ_c Σ_u Σ_v w[m, c, u, v] · x[c, i·SH + u, j·SW + v]) (overwrites y).

    y and the ranges of m count vectors of 16 maps. UNIT channels of x lie side by side: 16, or one in the image's
    planes. w is [⌈M / 16⌉, ⌈C / UNIT⌉, KH, KW, UNIT, 16], but for the channels that there are not. Of PIECES of equal
    work it computes one.
    """
    maps = (M_TO - M_FROM) // MAPS
    tiles = maps * (OH // ROWS)
    for number in range(tiles * piece // PIECES, tiles * (piece + 1) // PIECES):
        m, i = M_FROM + number % maps * MAPS, number // maps * ROWS
        for j in range(J_FROM, J_TO, COLS):
            tile = bias_tile(b, m * LANES, BIAS, MAPS, ROWS, COLS)
            tap = m * C * KH * KW * LANES
            for c in range(0, C, UNIT):
                for u in range(KH):
                    for v in range(KW):
                        pixel = c * X_PLANE + ((i * SH + u) * X_ROW + j * SW + v) * UNIT
                        for lane in range(min(UNIT, C - c)):
                            tile = value_fma(
                                tile, w, tap, C * KH * KW * LANES, x, pixel + lane, SH * X_ROW * UNIT, SW * UNIT,
                                MAPS, ROWS, COLS,
                            )  # fmt: skip
                            tap += LANES
            tile = map_tile(tile, function)
            place = (m * Y_PLANE + i * Y_ROW + j) * LANES
            store_places(y, place, Y_PLANE * LANES, Y_ROW * LANES, tile, MAPS, ROWS, COLS)


@kernel
def depthwise_channels(
    x, w, b, y, function, piece, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, Y_ROW, Y_PLANE, J_FROM, J_TO, COLS, PIECES
):
    """y[c, i, j] = function(b[c] + Σ_u Σ_v w[c, u, v] · x[c, i·SH + u, j·SW + v]), c counting vectors (overwrites y).

    Of PIECES of equal work it computes one. w is [C, KH, KW, 16].
    """
    for row in range(C * OH * piece // PIECES, C * OH * (piece + 1) // PIECES):
        c, i = row % C, row // C
        for j in range(J_FROM, J_TO, COLS):
            tile = bias_tile(b, c * LANES, 1, 1, 1, COLS)
            for u in range(KH):
                pixel = (c * X_PLANE + (i * SH + u) * X_ROW + j * SW) * LANES
                tile = taps_fma(tile, w, (c * KH + u) * KW * LANES, x, pixel, COLS, KW, SW)
            tile = map_tile(tile, function)
            store_places(y, (c * Y_PLANE + i * Y_ROW + j) * LANES, 0, 0, tile, 1, 1, COLS)


@kernel
def winograd_channels(
    x, w, b, y, points, function, none, piece, C, VECTORS, M, X_ROW, X_PLANE, KH, KW, OH, OW, Y_ROW, Y_PLANE,
    EH, EW, NH, NW, BANDS, BAND, ACROSS, T, SIDES, MAPS, COLS, PIECES,
):  # fmt: skip
    """Compute `conv_channels` at points, as :mod:`lenumba.kernels.layers.winograd` does (overwrites y).

    Of the C channels of x and of the maps there are VECTORS and M vectors. w is [NH · NW, M, C, 16]. A part of the work
    is a band of tiles and one of the SIDES of the maps.
    """
    maps = M // SIDES
    results = at(points, NH * NW * (VECTORS * T + 1) * LANES)
    rows = at(results, NH * NW * (maps * T + 1) * LANES)
    for part in range(BANDS * SIDES * piece // PIECES, BANDS * SIDES * (piece + 1) // PIECES):
        first, band = part % SIDES * maps, part // SIDES * BAND
        for r in range(BAND):
            top = min(EH * (band + r), OH - EH)
            image_to_points(
                x, points, rows, top, r * ACROSS, VECTORS, X_ROW, X_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T
            )
        for p in range(NH * NW):
            v, u = at(points, p * (VECTORS * T + 1) * LANES), at(w, (p * M + first) * C * LANES)
            z = at(results, p * (maps * T + 1) * LANES)
            conv_channels(v, u, b, z, none, 0, C, LANES, T, T, 1, 1, 1, 1, T, T, 0, maps, MAPS, 1, 1, 0, T, COLS, 1, 0)
        for r in range(BAND):
            top = min(EH * (band + r), OH - EH)
            points_to_result(
                results, at(b, first * LANES), at(y, first * Y_PLANE * LANES), rows, function, top, r * ACROSS,
                maps, Y_ROW, Y_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T, BIAS_VECTORS,
            )  # fmt: skip
