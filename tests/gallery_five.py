"""Functions as people write them, found to be misjudged once; see `gallery_two`."""

import math

import numpy as np
from gallery import numbers, planted
from numba import njit, prange


@njit
def turned_in_blocks(a, b):
    for jj in range(0, a.shape[1], 64):
        for ii in range(0, a.shape[0], 64):
            for j in range(jj, min(jj + 64, a.shape[1])):
                for i in range(ii, min(ii + 64, a.shape[0])):
                    b[j, i] = a[i, j]


@planted("column order", lambda: (numbers(2000, 2000), np.zeros((2000, 2000))), turned_in_blocks)
@njit
def turned(a, b):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            b[j, i] = a[i, j]


@planted("bound by compute", lambda: (np.random.default_rng(10).normal(size=100_000), 64, -4.0, 4.0))
@njit
def binned(values, bins, low, high):
    counts = np.zeros(bins, np.int64)
    for v in values:
        b = int((v - low) / (high - low) * bins)
        if 0 <= b < bins:
            counts[b] += 1
    return counts


@njit(fastmath=True)
def distances_mended(x, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[0]):
            d = 0.0
            for k in range(x.shape[1]):
                d += (x[i, k] - x[j, k]) ** 2
            out[i, j] = np.sqrt(d)


@planted(
    "reduction order", lambda: (numbers(200, 64), np.zeros((200, 200))), distances_mended, flags={"fastmath": True}
)
@njit
def distances(x, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[0]):
            d = 0.0
            for k in range(x.shape[1]):
                d += (x[i, k] - x[j, k]) ** 2
            out[i, j] = np.sqrt(d)


@njit
def life_mended(board, out):
    n, m = board.shape
    for i in range(n):
        above, below = i - 1 if i else n - 1, i + 1 if i < n - 1 else 0
        for j in range(m):
            left, right = j - 1 if j else m - 1, j + 1 if j < m - 1 else 0
            s = board[above, left] + board[above, j] + board[above, right] + board[i, left] + board[i, right]
            s += board[below, left] + board[below, j] + board[below, right]
            out[i, j] = s == 3 or (s == 2 and board[i, j] == 1)


def board(size: int) -> np.ndarray:
    return np.random.default_rng(11).integers(0, 2, (size, size)).astype(np.int8)


@planted("division", lambda: (board(200), np.zeros((200, 200), np.int8)), life_mended)
@njit
def life(board, out):
    n, m = board.shape
    for i in range(n):
        for j in range(m):
            s = 0
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if di != 0 or dj != 0:
                        s += board[(i + di) % n, (j + dj) % m]
            out[i, j] = s == 3 or (s == 2 and board[i, j] == 1)


@planted("math function", lambda: (numbers(200, 3), np.zeros((200, 3)), numbers(200), 0.01))
@njit
def pulled(place, speed, mass, dt):
    for i in range(mass.size):
        ax = ay = az = 0.0
        for j in range(mass.size):
            if i != j:
                dx, dy, dz = place[j, 0] - place[i, 0], place[j, 1] - place[i, 1], place[j, 2] - place[i, 2]
                r = (dx * dx + dy * dy + dz * dz + 1e-9) ** 1.5
                ax += mass[j] * dx / r
                ay += mass[j] * dy / r
                az += mass[j] * dz / r
        speed[i, 0] += dt * ax
        speed[i, 1] += dt * ay
        speed[i, 2] += dt * az


@planted("recursion", lambda: (14, 4))
@njit
def chosen(n, k):
    if k == 0 or k == n:
        return 1
    return chosen(n - 1, k - 1) + chosen(n - 1, k)


@planted("allocation", lambda: (3000,))
@njit
def middles(n):
    s = 0.0
    for i in range(n):
        three = [i * 1.0, i * 2.0, i * 3.0]
        s += three[1]
    return s


@njit
def product_by_rows(a, b, c):
    c[:] = 0.0
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


@planted("column order", lambda: (numbers(250, 250), numbers(250, 250), np.zeros((250, 250))), product_by_rows)
@njit
def product_by_sums(a, b, c):
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            s = 0.0
            for k in range(a.shape[1]):
                s += a[i, k] * b[k, j]
            c[i, j] = s


@planted("bound by compute", lambda: (numbers(300, 300), numbers(300, 300)))
@njit
def product_of_library(a, b):
    return np.dot(a, b)


@planted("bound by memory", lambda: (np.ones((2500, 2500)), np.zeros((2500, 2500))))
@njit(parallel=True)
def copied_by_rows(a, b):
    for i in prange(a.shape[0]):
        for j in range(a.shape[1]):
            b[i, j] = a[i, j]


@njit
def counted(n):
    k = 0
    while k < n:
        yield k
        k += 1


@planted("generator", lambda: (numbers(30_000),))
@njit
def added_as_counted(x):
    s = 0.0
    for k in counted(x.size):
        s += x[k]
    return s


@njit
def totals_by_stretches(x, out):
    n = x.size // 4
    a = b = c = d = 0.0
    for i in range(n):
        a += x[i]
        b += x[n + i]
        c += x[2 * n + i]
        d += x[3 * n + i]
        out[i], out[n + i], out[2 * n + i], out[3 * n + i] = a, b, c, d
    for k in range(1, 4):
        before = out[k * n - 1]
        for i in range(k * n, (k + 1) * n):
            out[i] += before


# Sums that are stored cannot be reordered: fastmath changes nothing.
@planted("latency chain", lambda: (numbers(40_000), np.zeros(40_000)), totals_by_stretches)
@njit
def totals_so_far(x, out):
    s = 0.0
    for i in range(x.size):
        s += x[i]
        out[i] = s


def escaping():
    return 150, np.zeros((150, 150))


@njit
def escape_by_squares(n, out):
    for i in range(n):
        for j in range(n):
            c, z, k = complex(3.0 * i / n - 2, 2.0 * j / n - 1), 0j, 0
            while k < 60 and z.real * z.real + z.imag * z.imag < 4:
                z = z * z + c
                k += 1
            out[i, j] = k


@planted("math function", escaping, escape_by_squares)
@njit
def escape_by_abs(n, out):
    for i in range(n):
        for j in range(n):
            c, z, k = complex(3.0 * i / n - 2, 2.0 * j / n - 1), 0j, 0
            while k < 60 and abs(z) < 2:
                z = z * z + c
                k += 1
            out[i, j] = k


# Places lie three numbers apart: without checks it becomes vectors, and no faster.
@planted("division", lambda: (numbers(1200, 3),))
@njit
def energy_of_pairs(x):
    e = 0.0
    for i in range(x.shape[0]):
        for j in range(i):
            d = 1e-3
            for k in range(3):
                d += (x[i, k] - x[j, k]) ** 2
            e += 1.0 / math.sqrt(d)
    return e
