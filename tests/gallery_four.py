"""A last part of the gallery: complex and small whole numbers, array expressions, slices, lists, closures."""

import math

import numpy as np
from gallery import numbers, planted
from numba import njit, prange


@njit
def image_gradient_mended(image, out):
    for i in range(image.shape[0]):
        for j in range(image.shape[1] - 1):
            out[i, j] = image[i, j + 1] - image[i, j]


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 100, shape).astype(np.int16)


@planted("column order", lambda: (picture(2000, 1500), np.zeros((2000, 1500), np.int16)), image_gradient_mended)
@njit
def image_gradient(image, out):
    j = 0
    while j < image.shape[1] - 1:
        for i in range(image.shape[0]):
            out[i, j] = image[i, j + 1] - image[i, j]
        j += 1


@njit
def rotated_mended(z, w):
    for i in range(z.size):
        z[i] *= w


@planted(
    "strided view",
    lambda: (np.ones((3000, 8), np.complex128)[:, 3], 0.6 + 0.8j),
    rotated_mended,
    lambda: (np.ones(3000, np.complex128), 0.6 + 0.8j),
)
@njit
def rotated(z, w):
    for i in range(z.size):
        z[i] *= w


@planted("float64 in float32", lambda: (numbers(6000, kind=np.float32), numbers(6000), np.zeros(6000, np.float32)))
@njit
def mixed(left, weights, out):
    for i in range(left.size):
        out[i] = left[i] * weights[i] + left[i]


@planted("division", lambda: (numbers(40, 50), np.zeros((40, 50))))
@njit(error_model="numpy", fastmath=True)
def inverse_distances(x, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            r = math.sqrt(x[i, j])
            out[i, j] = 1.0 / (r * (1.0 + r))


@planted("division", lambda: (987_654_321_987, 123_456_789), None)
@njit
def common_divisor(a, b):
    s = 0
    for k in range(1, 400):
        x, y = a + k, b + 3 * k
        while y:
            x, y = y, x % y
        s += x
    return s


@planted("branch", lambda: (np.random.default_rng(8).integers(0, 256, (300, 300), np.uint8), np.zeros(4, np.int64)))
@njit
def four_kinds(image, counts):
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            v = image[i, j]
            if v < 64:
                counts[0] += v
            elif v < 128:
                counts[1] -= v
            elif v < 192:
                counts[2] ^= v
            else:
                counts[3] += 1


def spots(n: int) -> tuple:
    rng = np.random.default_rng(9)
    return rng.random((1500, 1500)), rng.integers(0, 1500, n), rng.integers(0, 1500, n)


@planted("gather", lambda: spots(200_000))
@njit(fastmath=True)
def sampled_sum(image, rows, columns):
    s = 0.0
    for k in range(rows.size):
        s += image[rows[k], columns[k]]
    return s


@planted("allocation", lambda: (numbers(3000),))
@njit
def windows(x):
    s = 0.0
    for i in range(x.size - 16):
        w = x[i : i + 16].copy()
        s = max(s, w[0] + 0.5 * w[8])
    return s


@planted("allocation", lambda: (numbers(2000, 4), numbers(4, 4), np.zeros((2000, 4))))
@njit
def transformed(points, matrix, out):
    for i in range(points.shape[0]):
        out[i] = (matrix * points[i]).sum(axis=1)


@planted("reduction order", lambda: (np.ones(4000, np.complex128), np.ones(4000, np.complex128)))
@njit
def inner(a, b):
    s = 0j
    for u, v in zip(a, b):  # noqa: B905
        s += u * v
    return s


@planted("latency chain", lambda: (numbers(50, 200), 0.97))
@njit
def decaying(signals, keep):
    for c in range(signals.shape[0]):
        level = 0.0
        for t in range(signals.shape[1]):
            level = max(signals[c, t], level * keep)
            signals[c, t] = level


@planted("latency chain", lambda: (np.frombuffer(b"lenumba " * 2000, np.uint8),))
@njit
def hashed(text):
    h = np.uint64(14695981039346656037)
    for c in text:
        h = (h ^ np.uint64(c)) * np.uint64(1099511628211)
    return h


@planted("short loop", lambda: (numbers(30_000, 2), numbers(30_000, 2), np.zeros(30_000)))
@njit
def taxi(p, q, out):
    for i in range(p.shape[0]):
        d, k = 0.0, 0
        while k < p.shape[1]:
            d += abs(p[i, k] - q[i, k])
            k += 1
        out[i] = d


@planted("imbalance", lambda: (np.r_[np.full(1000, 4), np.full(1000, 3000)], np.zeros(2000)))
@njit(parallel=True)
def series(terms, out):
    for i in prange(terms.size):
        s = 0.0
        for k in range(terms[i]):
            s += 1.0 / (k + 1.0 + i)
        out[i] = s


@planted("math function", lambda: (numbers(3000), numbers(3000), np.zeros(3000)))
@njit
def angles(x, y, out):
    for i in range(x.size):
        out[i] = math.atan2(y[i], x[i])


@planted("bounds checks", lambda: (numbers(30, 30, 30), np.zeros((30, 30))), flags={"boundscheck": False})
@njit(boundscheck=True)
def nearest(volume, out):
    for i in range(volume.shape[0]):
        for j in range(volume.shape[1]):
            for k in range(volume.shape[2]):
                out[j, k] = max(out[j, k], volume[i, j, k])


@planted("recursion", lambda: (7, 0, 1, 2))
@njit("int64(int64, int64, int64, int64)")
def hanoi(n, a, b, c):
    if n == 0:
        return 0
    return hanoi(n - 1, a, c, b) + 1 + hanoi(n - 1, b, a, c)


@planted("bound by memory", lambda: (numbers(5_000_000), numbers(5_000_000), np.zeros(5_000_000)))
@njit
def squared_sums(a, b, out):
    for i in range(a.size):
        out[i] = a[i] * a[i] + b[i] * b[i]


@planted("bound by compute", lambda: (numbers(2048, kind=np.float32), np.zeros(2048, np.float32)))
@njit(fastmath=True)
def wave(x, out):
    one, c3, c5, c7 = np.float32(1), np.float32(-1 / 6), np.float32(1 / 120), np.float32(-1 / 5040)
    for i in range(x.size):
        v = x[i]
        for _ in range(6):
            q = v * v
            v = v * (one + q * (c3 + q * (c5 + q * c7)))
        out[i] = v


@planted("Python objects|call overhead", lambda: ([1.0] * 5000,))
@njit
def of_list(values):
    s = 0.0
    for v in values:
        s += v
    return s
