"""Fast convolution (Winograd 1980; Lavin & Gray 2016) for blocks of 16 images (UNIT = 16) and stride 1.

A tile of EH × EW pixels of y, and the pixels of x that they come from, become NH × NW points each
(:mod:`lenumba.kernels.vector.points`; NH = EH + KH − 1). At each point a convolution is a product of matrices, which
the kernels for a single tap compute. The tiles of BAND rows, T of them, are taken together: their points stay in the
caches. Where EH does not divide OH, the last tiles reach back over the ones before, and so do columns. Register tiles
of MAPS, SIDE (channels) and COLS divide what they cover.

`points` holds, one after another, w's points [NH · NW, PAIRS] and those of its gradient, where a pair is m · C + c;
then vectors: the points of x's tiles [NH · NW, C, T] and of y's [NH · NW, M, T], with one vector between two points, as
distances of whole powers of two would have them displace one another in the caches; and what lies between the two
directions of a transform.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.layers.conv import conv_forward, conv_input_gradient, pointwise_weight_gradient
from lenumba.kernels.vector.points import IMAGE, IMAGE_BACK, RESULT, RESULT_BACK, WEIGHTS, WEIGHTS_BACK
from lenumba.kernels.vector.simd import at, load, splat
from lenumba.kernels.vector.tile import add_tile, load_tile, map_tile, store_tile
from lenumba.kernels.vector.transforms import add_each, keep_from, load_strided, transform

BIAS_VECTORS = 2  # what BIAS is where a bias lies in vectors, one for each of 16 maps


@kernel
def weights_to_points(w, points, rows, PAIRS, KH, KW, EH, EW, NH, NW):
    """points[p, pair] = G w[pair] Gᵀ of every kernel; 16 kernels at a time, the last of them reaching back."""
    for group in range((PAIRS + LANES - 1) // LANES):
        first = min(group * LANES, PAIRS - LANES)
        for u in range(KH):
            for v in range(KW):
                tap = load_strided(w, (first * KH + u) * KW + v, KH * KW)
                store_tile(rows, v * LANES, 0, tap, 1, 1)
            taps = transform(load_tile(rows, 0, LANES, KW, 1), WEIGHTS, EW, KW)
            store_tile(rows, (KW + u * NW) * LANES, LANES, taps, NW, 1)
        for q in range(NW):
            taps = transform(load_tile(rows, (KW + q) * LANES, NW * LANES, KH, 1), WEIGHTS, EH, KH)
            store_tile(points, q * PAIRS + first, NW * PAIRS, taps, NH, 1)


@kernel
def points_to_weights(points, dw, rows, PAIRS, KH, KW, EH, EW, NH, NW):
    """dw[pair] += Gᵀ points[·, pair] G."""
    for group in range((PAIRS + LANES - 1) // LANES):
        first = min(group * LANES, PAIRS - LANES)
        for q in range(NW):
            taps = transform(load_tile(points, q * PAIRS + first, NW * PAIRS, NH, 1), WEIGHTS_BACK, EH, KH)
            store_tile(rows, (KW + q) * LANES, NW * LANES, taps, KH, 1)
        for u in range(KH):
            taps = transform(load_tile(rows, (KW + u * NW) * LANES, LANES, NW, 1), WEIGHTS_BACK, EW, KW)
            store_tile(rows, 0, LANES, taps, KW, 1)
            for v in range(KW):
                for lane in range(group * LANES - first, LANES):
                    dw[((first + lane) * KH + u) * KW + v] += rows[v * LANES + lane]


@kernel
def image_to_points(x, points, rows, top, tile, C, X_ROW, X_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T):
    """points[p, c, tile + k] = B x[c, top…, EW · k…] Bᵀ for every tile k of one row of tiles."""
    width, plane = OW + KW - 1, C * T + 1
    for c in range(C):
        for j in range(width):
            column = load_tile(x, (c * X_PLANE + top * X_ROW + j) * LANES, X_ROW * LANES, NH, 1)
            store_tile(rows, j * LANES, width * LANES, transform(column, IMAGE, EH, KH), NH, 1)
        for k in range(ACROSS):
            left = min(EW * k, OW - EW)
            for p in range(NH):
                row = transform(load_tile(rows, (p * width + left) * LANES, LANES, NW, 1), IMAGE, EW, KW)
                store_tile(points, (NW * p * plane + c * T + tile + k) * LANES, plane * LANES, row, NW, 1)


@kernel
def points_to_image(points, dx, rows, top, tile, C, X_ROW, X_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T):
    """dx[c, top…, EW · k…] += Bᵀ points[·, c, tile + k] B for every tile k of one row of tiles."""
    plane = C * T + 1
    for c in range(C):
        for k in range(ACROSS):
            left = min(EW * k, OW - EW)
            for p in range(NH):
                row = load_tile(points, (NW * p * plane + c * T + tile + k) * LANES, plane * LANES, NW, 1)
                store_tile(rows, p * NW * LANES, LANES, transform(row, IMAGE_BACK, EW, KW), NW, 1)
            for q in range(NW):
                column = transform(load_tile(rows, q * LANES, NW * LANES, NH, 1), IMAGE_BACK, EH, KH)
                add_tile(dx, (c * X_PLANE + top * X_ROW + left + q) * LANES, X_ROW * LANES, column, NH, 1)


@kernel
def points_to_result(
    points, b, y, rows, function, top, tile, M, Y_ROW, Y_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T, BIAS
):  # fmt: skip
    """y[m, top…, EW · k…] = function(b[m] + Aᵀ points[·, m, tile + k] A) for every tile k of one row of tiles.

    BIAS: 0 where there is none; 1, a float for each map; BIAS_VECTORS, a vector.
    """
    plane = M * T + 1
    for m in range(M):
        bias = load(b, m) if BIAS == BIAS_VECTORS else splat(b[m] if BIAS else 0.0)
        for k in range(ACROSS):
            left = min(EW * k, OW - EW)
            for q in range(NW):
                column = load_tile(points, (q * plane + m * T + tile + k) * LANES, NW * plane * LANES, NH, 1)
                store_tile(rows, q * LANES, NW * LANES, transform(column, RESULT, EH, KH), EH, 1)
            for i in range(EH):
                row = transform(load_tile(rows, i * NW * LANES, LANES, NW, 1), RESULT, EW, KW)
                row = map_tile(add_each(row, bias), function)
                store_tile(y, (m * Y_PLANE + (top + i) * Y_ROW + left) * LANES, LANES, row, EW, 1)


@kernel
def slopes_to_points(dy, points, rows, top, skip, tile, M, Y_ROW, Y_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T):
    """points[p, m, tile + k] = A dy[m, top…, EW · k…] Aᵀ for every tile k of one row of tiles.

    Rows and columns that belong to the tiles before are left out, of the rows `skip`.
    """
    plane = M * T + 1
    for m in range(M):
        for j in range(OW):
            column = load_tile(dy, (m * Y_PLANE + top * Y_ROW + j) * LANES, Y_ROW * LANES, EH, 1)
            if skip > 0:
                column = keep_from(column, skip)
            store_tile(rows, j * LANES, OW * LANES, transform(column, RESULT_BACK, EH, KH), NH, 1)
        for k in range(ACROSS):
            left = min(EW * k, OW - EW)
            for p in range(NH):
                row = load_tile(rows, (p * OW + left) * LANES, LANES, EW, 1)
                if left < EW * k:
                    row = keep_from(row, EW * k - left)
                row = transform(row, RESULT_BACK, EW, KW)
                store_tile(points, (NW * p * plane + m * T + tile + k) * LANES, plane * LANES, row, NW, 1)


@kernel
def winograd_forward(
    x, w, b, y, points, function, none, C, M, X_ROW, X_PLANE, KH, KW, OH, OW, Y_ROW, Y_PLANE, BIAS,
    EH, EW, NH, NW, PAIRS, BANDS, BAND, ACROSS, T, MAPS, COLS,
):  # fmt: skip
    """Y = function(b + w ⊗ x) as :func:`lenumba.kernels.layers.conv.conv_forward` defines it (overwrites y)."""
    images = at(points, 2 * NH * NW * PAIRS)
    results = at(images, NH * NW * (C * T + 1) * LANES)
    rows = at(results, NH * NW * (M * T + 1) * LANES)
    weights_to_points(w, points, rows, PAIRS, KH, KW, EH, EW, NH, NW)
    for band in range(BANDS):
        for r in range(BAND):
            top = min(EH * (band * BAND + r), OH - EH)
            image_to_points(x, images, rows, top, r * ACROSS, C, X_ROW, X_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T)
        for p in range(NH * NW):
            v, u = at(images, p * (C * T + 1) * LANES), at(points, p * PAIRS)
            z = at(results, p * (M * T + 1) * LANES)
            conv_forward(v, u, b, z, none, C, T, T, 1, 1, 1, 1, 1, T, T, 0, 0, M, MAPS, 0, T, COLS, LANES)
        for r in range(BAND):
            top = min(EH * (band * BAND + r), OH - EH)
            points_to_result(
                results, b, y, rows, function, top, r * ACROSS,
                M, Y_ROW, Y_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T, BIAS,
            )  # fmt: skip


@kernel
def winograd_backward(
    x, w, dy, dx, dw, points, C, M, X_ROW, X_PLANE, KH, KW, OH, OW, Y_ROW, Y_PLANE, LEARNS, SLOPES,
    EH, EW, NH, NW, PAIRS, BANDS, BAND, ACROSS, T, MAPS, SIDE, COLS,
):  # fmt: skip
    """Add ∂L/∂w to dw, where the layer LEARNS, and ∂L/∂x to dx, where its SLOPES are asked for."""
    slopes = at(points, NH * NW * PAIRS)
    images = at(slopes, NH * NW * PAIRS)
    results = at(images, NH * NW * (C * T + 1) * LANES)
    rows = at(results, NH * NW * (M * T + 1) * LANES)
    if SLOPES:
        weights_to_points(w, points, rows, PAIRS, KH, KW, EH, EW, NH, NW)
    if LEARNS:
        for k in range(NH * NW * PAIRS):
            slopes[k] = 0.0
    for band in range(BANDS):
        for r in range(BAND):
            first = EH * (band * BAND + r)
            top = min(first, OH - EH)
            if LEARNS:
                image_to_points(
                    x, images, rows, top, r * ACROSS, C, X_ROW, X_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T
                )
            slopes_to_points(
                dy, results, rows, top, first - top, r * ACROSS,
                M, Y_ROW, Y_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T,
            )  # fmt: skip
        if LEARNS:
            for p in range(NH * NW):
                v, u = at(images, p * (C * T + 1) * LANES), at(slopes, p * PAIRS)
                z = at(results, p * (M * T + 1) * LANES)
                pointwise_weight_gradient(v, z, u, C, T, T, 1, 1, 1, T, T, T, 0, M, MAPS, 0, C, SIDE)
        if SLOPES:
            for p in range(NH * NW):
                v, u = at(images, p * (C * T + 1) * LANES), at(points, p * PAIRS)
                z = at(results, p * (M * T + 1) * LANES)
                conv_input_gradient(z, u, v, C, T, T, 1, 1, 1, 1, 1, M, 1, T, T, 0, C, SIDE, 0, T, COLS, COLS, 1)
            for r in range(BAND):
                top = min(EH * (band * BAND + r), OH - EH)
                points_to_image(
                    images, dx, rows, top, r * ACROSS, C, X_ROW, X_PLANE, OW, KH, KW, EH, EW, NH, NW, ACROSS, T
                )
    if LEARNS:
        points_to_weights(slopes, dw, rows, PAIRS, KH, KW, EH, EW, NH, NW)
