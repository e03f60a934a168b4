"""More functions with planted causes, in other disguises: other shapes, kinds of numbers, loops, helpers, views.

They join `gallery.GALLERY`. Where two names of a cause are true of one function, a bar is between them.
"""

import math

import numpy as np
from gallery import numbers, planted
from numba import njit

SINGLE = np.float32
QUARTER, HALF, ONE = SINGLE(0.25), SINGLE(0.5), SINGLE(1.0)


@njit
def faded_volume_mended(v, w, gain):
    for i in range(v.shape[0]):
        for j in range(v.shape[1]):
            for k in range(v.shape[2]):
                w[i, j, k] = gain * v[i, j, k]


@planted(
    "column order",
    lambda: (numbers(120, 100, 80, kind=SINGLE), np.zeros((120, 100, 80), SINGLE), HALF),
    faded_volume_mended,
)
@njit
def faded_volume(v, w, gain):
    for k in range(v.shape[2]):
        for j in range(v.shape[1]):
            for i in range(v.shape[0]):
                w[i, j, k] = gain * v[i, j, k]


@njit
def transposed_product_mended(a, x, out):
    for j in range(a.shape[0]):
        for i in range(a.shape[1]):
            out[i] += a[j, i] * x[j]


@planted("column order", lambda: (numbers(1300, 1200), numbers(1300), np.zeros(1200)), transposed_product_mended)
@njit
def transposed_product(a, x, out):
    turned = a.T
    for i, row in enumerate(turned):
        s = 0.0
        for j, v in enumerate(row):
            s += v * x[j]
        out[i] = s


@njit
def brighter(plane, gain, out):
    for i in range(plane.shape[0]):
        for j in range(plane.shape[1]):
            out[i, j] = plane[i, j] * gain + plane[i, j]


@planted(
    "strided view",
    lambda: (numbers(90, 120, 16, kind=SINGLE)[..., 1], HALF, np.zeros((90, 120), SINGLE)),
    brighter,
    lambda: (numbers(90, 120, kind=SINGLE), HALF, np.zeros((90, 120), SINGLE)),
)
@njit
def brighter_channel(plane, gain, out):
    for i in range(plane.shape[0]):
        for j in range(plane.shape[1]):
            out[i, j] = plane[i, j] * gain + plane[i, j]


BODY = np.dtype([(name, np.float64) for name in ("x", "y", "z", "vx", "vy", "vz", "mass", "charge")])


@njit
def drift_mended(x, vx, dt):
    for i in range(x.size):
        x[i] += dt * vx[i]


@planted(
    "strided view",
    lambda: (np.ones(40_000, BODY), 0.01),
    drift_mended,
    lambda: (np.ones(40_000), np.ones(40_000), 0.01),
)
@njit
def drift(bodies, dt):
    for i in range(bodies.size):
        bodies[i]["x"] += dt * bodies[i]["vx"]


@njit
def between(a, b):
    return 0.25 * a + 0.75 * b


@njit
def between_mended(a, b):
    return QUARTER * a + (ONE - QUARTER) * b


@njit
def blended_mended(a, b, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = between_mended(a[i, j], b[i, j])


@planted(
    "float64 in float32",
    lambda: (numbers(40, 64, kind=SINGLE), numbers(40, 64, kind=SINGLE), np.zeros((40, 64), SINGLE)),
    blended_mended,
)
@njit
def blended(a, b, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = between(a[i, j], b[i, j])


@njit(error_model="numpy")
def rows_to_one_mended(a):
    for i in range(a.shape[0]):
        r = 1.0 / a[i, 0]
        for j in range(a.shape[1]):
            a[i, j] = a[i, j] * r


@planted("division", lambda: (numbers(12, 256),), rows_to_one_mended)
@njit(error_model="numpy")
def rows_to_one(a):
    for i in range(a.shape[0]):
        total = a[i, 0]
        for j in range(a.shape[1]):
            a[i, j] /= total


@njit
def ring_mended(x, ring):
    k = 0
    for v in x:
        ring[k] += v
        k += 1
        if k == ring.size:
            k = 0


@planted("division", lambda: (numbers(30_000), np.zeros(1000)), ring_mended)
@njit
def ring(x, ring):
    for i, v in enumerate(x):
        ring[i % ring.size] += v


@njit
def kept_mended(x, least, out):
    n = 0
    for v in x:
        out[n] = v
        n += v > least
    return n


@planted("branch", lambda: (numbers(100_000, kind=SINGLE), SINGLE(1.0), np.zeros(100_001, SINGLE)), kept_mended)
@njit
def kept(x, least, out):
    n = 0
    for v in x:
        if v > least:
            out[n] = v
            n += 1
    return n


def sparse(rows: int, width: int, columns: int) -> tuple:
    rng = np.random.default_rng(3)
    start = np.arange(0, rows * width + 1, width)
    return start, rng.integers(0, columns, rows * width), numbers(rows * width), numbers(columns), np.zeros(rows)


@planted("gather", lambda: sparse(20_000, 20, 6_000_000))
@njit
def sparse_product(start, column, value, x, y):
    for row in range(y.size):
        s = 0.0
        for k in range(start[row], start[row + 1]):
            s += value[k] * x[column[k]]
        y[row] = s


def links(n: int) -> np.ndarray:
    order = np.random.default_rng(4).permutation(n)
    follower = np.empty(n, np.int64)
    follower[order] = np.roll(order, -1)
    return follower


@planted("gather|latency chain", lambda: (links(2_000_000), 100_000))
@njit
def walked(follower, steps):
    at = 0
    while steps > 0:
        at = follower[at]
        steps -= 1
    return at


@njit
def crossed(a, b):
    c = np.empty(3)
    c[0] = a[1] * b[2] - a[2] * b[1]
    c[1] = a[2] * b[0] - a[0] * b[2]
    c[2] = a[0] * b[1] - a[1] * b[0]
    return c


@njit
def areas_mended(p, q, out):
    for i in range(p.shape[0]):
        x = p[i, 1] * q[i, 2] - p[i, 2] * q[i, 1]
        y = p[i, 2] * q[i, 0] - p[i, 0] * q[i, 2]
        z = p[i, 0] * q[i, 1] - p[i, 1] * q[i, 0]
        out[i] = math.sqrt(x * x + y * y + z * z)


@planted("allocation", lambda: (numbers(8000, 3), numbers(8000, 3), np.zeros(8000)), areas_mended)
@njit
def areas(p, q, out):
    for i in range(p.shape[0]):
        c = crossed(p[i], q[i])
        out[i] = math.sqrt(c[0] * c[0] + c[1] * c[1] + c[2] * c[2])


@njit
def gaps_mended(p, out):
    for i in range(p.shape[0] - 1):
        s = 0.0
        for j in range(p.shape[1]):
            s += (p[i + 1, j] - p[i, j]) ** 2
        out[i] = s


@planted("allocation", lambda: (numbers(6000, 8), np.zeros(6000)), gaps_mended)
@njit
def gaps(p, out):
    for i in range(p.shape[0] - 1):
        out[i] = np.sum((p[i + 1] - p[i]) ** 2)


@njit
def updated_mended(u, v, w):
    for i in range(w.size):
        w[i] = u[i] + 0.5 * v[i] - u[i] * v[i]


@planted("allocation", lambda: (numbers(5_000_000), numbers(5_000_000), np.zeros(5_000_000)), updated_mended)
@njit
def updated(u, v, w):
    w[:] = u + 0.5 * v - u * v
