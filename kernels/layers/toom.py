"""Fast convolution in one dimension (Toom 1963, Cook 1966) for blocks of 16 images (UNIT = 16) and stride 1.

EW neighbouring pixels of y, and the NW = EW + KW − 1 pixels of x in each of the KH rows that they come from, become NW
points each (:mod:`lenumba.kernels.vector.points`). There a convolution is one down the columns: KH products a point
instead of KH · KW a pixel. The points of a row of x serve all kernel rows and maps that read it; those of y stay in
registers. It pays where there are few channels, so that two dimensions would spend more on transforms than they save.

`points` holds w's points [NW, PAIRS], where a pair is (m · C + c) · KH + u; then vectors: the points of x's rows
[NW, C, T], with one vector between two points, and, going back, those of y's gradient [NW, M, T] and the sums of w's
gradient [NW, PAIRS].
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.layers.winograd import points_to_weights, weights_to_points
from lenumba.kernels.vector.points import IMAGE, RESULT, RESULT_BACK
from lenumba.kernels.vector.simd import at, splat, store
from lenumba.kernels.vector.tile import (
    add_lane_sums,
    load_tile,
    map_tile,
    points_fma,
    product_fma,
    splat_rows,
    store_tile,
    zero_tile,
)
from lenumba.kernels.vector.transforms import add_both, keep_from, transform


@kernel
def row_to_points(x, points, row, place, C, X_ROW, X_PLANE, OW, KW, EW, NW, ACROSS, T):
    """points[p, c, place + k] = B x[c, row, EW · k…] for every tile k of a row."""
    for c in range(C):
        for k in range(ACROSS):
            left = min(EW * k, OW - EW)
            tile = load_tile(x, (c * X_PLANE + row * X_ROW + left) * LANES, LANES, NW, 1)
            store_tile(points, (c * T + place + k) * LANES, (C * T + 1) * LANES, transform(tile, IMAGE, EW, KW), NW, 1)


@kernel
def toom_forward(
    x, w, b, y, points, function, C, M, X_ROW, X_PLANE, KH, KW, OH, OW, Y_ROW, Y_PLANE, BIAS,
    EW, NW, PAIRS, ACROSS, T, MAPS,
):  # fmt: skip
    """Y = function(b + w ⊗ x) as :func:`lenumba.kernels.layers.conv.conv_forward` defines it (overwrites y).

    T = KH · ACROSS: of x's rows, the last KH are kept, each in place of the one that is needed no more.
    """
    images = at(points, (NW * PAIRS + LANES - 1) // LANES * LANES)
    weights_to_points(w, points, images, PAIRS, 1, KW, 1, EW, 1, NW)
    for row in range(OH + KH - 1):
        row_to_points(x, images, row, row % KH * ACROSS, C, X_ROW, X_PLANE, OW, KW, EW, NW, ACROSS, T)
        i = row - KH + 1
        if i >= 0:
            for m in range(0, M, MAPS):
                for k in range(ACROSS):
                    tile = zero_tile(MAPS, NW)
                    for c in range(C):
                        for u in range(KH):
                            place = (c * T + (i + u) % KH * ACROSS + k) * LANES
                            tile = points_fma(
                                tile, points, (m * C + c) * KH + u, C * KH, PAIRS,
                                images, place, (C * T + 1) * LANES, MAPS, NW,
                            )  # fmt: skip
                    tile = transform(tile, RESULT, EW, KW)
                    if BIAS:
                        tile = add_both(tile, splat_rows(b, m, MAPS, EW))
                    result = (m * Y_PLANE + i * Y_ROW + min(EW * k, OW - EW)) * LANES
                    store_tile(y, result, Y_PLANE * LANES, map_tile(tile, function), MAPS, EW)


@kernel
def toom_weight_gradient(
    x, dy, dw, points, C, M, X_ROW, X_PLANE, KH, KW, OH, OW, Y_ROW, Y_PLANE,
    EW, NW, PAIRS, BAND, ACROSS, T, MAPS,
):  # fmt: skip
    """Add ∂L/∂w to dw. T = (BAND + KH − 1) · ACROSS: the rows of x that BAND rows of y come from."""
    Z = BAND * ACROSS
    images = at(points, (NW * PAIRS + LANES - 1) // LANES * LANES)
    results = at(images, NW * (C * T + 1) * LANES)
    sums = at(results, NW * (M * Z + 1) * LANES)
    for k in range(NW * PAIRS):
        store(sums, k, splat(0.0))
    for top in range(0, OH, BAND):
        for r in range(BAND + KH - 1):
            row_to_points(x, images, top + r, r * ACROSS, C, X_ROW, X_PLANE, OW, KW, EW, NW, ACROSS, T)
        for m in range(M):
            for r in range(BAND):
                for k in range(ACROSS):
                    left = min(EW * k, OW - EW)
                    tile = load_tile(dy, (m * Y_PLANE + (top + r) * Y_ROW + left) * LANES, LANES, EW, 1)
                    if left < EW * k:
                        tile = keep_from(tile, EW * k - left)
                    place = (m * Z + r * ACROSS + k) * LANES
                    store_tile(results, place, (M * Z + 1) * LANES, transform(tile, RESULT_BACK, EW, KW), NW, 1)
        for p in range(NW):
            for m in range(0, M, MAPS):
                for c in range(C):
                    pair = (p * PAIRS + (m * C + c) * KH) * LANES
                    tile = load_tile(sums, pair, C * KH * LANES, MAPS, KH)
                    for t in range(Z):
                        a, v = (p * (M * Z + 1) + m * Z + t) * LANES, (p * (C * T + 1) + c * T + t) * LANES
                        tile = product_fma(tile, results, a, Z * LANES, images, v, ACROSS * LANES, MAPS, KH)
                    store_tile(sums, pair, C * KH * LANES, tile, MAPS, KH)
    for k in range(NW * PAIRS):
        points[k] = 0.0
    for pair in range(0, NW * PAIRS, 2):  # NW is even
        add_lane_sums(points, pair, 1, load_tile(sums, pair * LANES, LANES, 2, 1), 2, 1)
    points_to_weights(points, dw, images, PAIRS, 1, KW, 1, EW, 1, NW)
