"""Fully connected layers and their gradients, for one block of 16 images: x[N], y[M] vectors, w[M, N] floats."""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import load, prefetch, sum_lanes
from lenumba.kernels.vector.tile import add_tile, outer_fma, splat_rows, store_tile, zero_tile


@kernel
def dense_forward(x, w, b, y, N, BIAS, M_FROM, M_TO, MAPS):
    """y[m] = b[m] + Σ_n w[m, n] · x[n] (overwrites y)."""
    for m in range(M_FROM, M_TO, MAPS):
        tile = splat_rows(b, m, MAPS, 1) if BIAS else zero_tile(MAPS, 1)
        for n in range(N):
            tile = outer_fma(tile, w, m * N + n, N, x, n * LANES, 0, MAPS, 1)
        store_tile(y, m * LANES, LANES, tile, MAPS, 1)


@kernel
def dense_input_gradient(dy, w, dx, N, M, N_FROM, N_TO, MAPS, AHEAD):
    """dx[n] = Σ_m w[m, n] · dy[m] (overwrites dx).

    It walks down the columns of w, where every row is a page away and no CPU guesses the next one: weights that do
    not fit in the nearer caches are asked for AHEAD rows before they are needed (0: they fit).
    """
    for n in range(N_FROM, N_TO, MAPS):
        tile = zero_tile(MAPS, 1)
        for m in range(M):
            if AHEAD:
                prefetch(w, (m + AHEAD) * N + n)
            tile = outer_fma(tile, w, m * N + n, 1, dy, m * LANES, 0, MAPS, 1)
        store_tile(dx, n * LANES, LANES, tile, MAPS, 1)


@kernel
def transpose_lanes(x, xt, N, ROW):
    """xt[lane · ROW + n] = x[n · 16 + lane]: each image's values side by side."""
    for n in range(N):
        for lane in range(LANES):
            xt[lane * ROW + n] = x[n * LANES + lane]


@kernel
def dense_weight_gradient(xt, dy, dw, N, ROW, M_FROM, M_TO, MAPS, V_FROM, V_TO, COLS, UNIT):
    """dw[m, n] += Σ_images dy[m] · x[n], 16 columns n at a time, from the transposed x of UNIT images (16 or one).

    Multiplying lane by lane would need a lane sum for every weight; here the sum over the images is the outer loop.
    xt's rows end in zeros (N < n < ROW), so what reaches beyond a row of dw adds nothing to the next one.
    """
    for m in range(M_FROM, M_TO, MAPS):
        for v in range(V_FROM, V_TO, COLS):
            tile = zero_tile(MAPS, COLS)
            for image in range(UNIT):
                tile = outer_fma(tile, dy, m * UNIT + image, UNIT, xt, image * ROW + v * LANES, LANES, MAPS, COLS)
            add_tile(dw, m * N + v * LANES, N, tile, MAPS, COLS)


@kernel
def dense_bias_gradient(dy, db, M):
    """db[m] += Σ_lanes dy[m]."""
    for m in range(M):
        db[m] += sum_lanes(load(dy, m))
