"""More of the gallery's functions mended by hand: what the factors to expect are compared with."""

from collections.abc import Callable
from typing import Any

import gallery_four as four
import gallery_three as three
import gallery_two as two
import numpy as np
from gallery import GALLERY, numbers, overlapping
from numba import njit


def mend(name: str, mended: Any, make: Callable[[], tuple] | None = None) -> None:
    """Say how a function of the gallery is mended, or with which arguments it is as it should be."""
    GALLERY[name].mended = mended
    GALLERY[name].make_mended = make


@njit
def sided(x, out):
    k = 0
    both = np.zeros(8)  # the second half takes what is not wanted
    for i in range(x.size):
        up = np.int64(x[i] > 0.0)
        both[(k & 3) + 4 * (1 - up)] = x[i] * 3.0
        k = (k + 1) * up + (k ^ i) * (1 - up)
    out[:] = both[:4]


@njit
def added(x, y, out):
    for i in range(x.size):
        out[i] = x[i] + y[i]


@njit
def lengths_of_three(points, out):
    for i in range(points.shape[0]):
        out[i] = points[i, 0] * points[i, 0] + points[i, 1] * points[i, 1] + points[i, 2] * points[i, 2]


@njit
def greatest_odd(x):
    s = 0.0
    for i in range(1, x.size, 2):
        s = max(s, x[i])
    return s


@njit(error_model="numpy")
def unchecked_ratios(a, b, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j] / b[i, j]


@njit
def small_products_written_out(a, b, c):
    for n in range(a.shape[0]):
        for i in range(3):
            for j in range(3):
                c[n, i, j] = a[n, i, 0] * b[n, 0, j] + a[n, i, 1] * b[n, 1, j] + a[n, i, 2] * b[n, 2, j]


@njit
def windows_in_place(x):
    s = 0.0
    for i in range(x.size - 16):
        s = max(s, x[i] + 0.5 * x[i + 8])
    return s


@njit
def transformed_in_place(points, matrix, out):
    for i in range(points.shape[0]):
        for k in range(4):
            s = 0.0
            for j in range(4):
                s += matrix[k, j] * points[i, j]
            out[i, k] = s


@njit(fastmath=True)
def inner_reordered(a, b):
    s = 0j
    for i in range(a.size):
        s += a[i] * b[i]
    return s


@njit
def taxi_written_out(p, q, out):
    for i in range(p.shape[0]):
        out[i] = abs(p[i, 0] - q[i, 0]) + abs(p[i, 1] - q[i, 1])


@njit
def nearest_unchecked(volume, out):
    for i in range(volume.shape[0]):
        for j in range(volume.shape[1]):
            for k in range(volume.shape[2]):
                out[j, k] = max(out[j, k], volume[i, j, k])


@njit
def row_norms_of_four(rows, out):
    for i in range(rows.shape[0]):
        out[i] = rows[i, 0] ** 2 + rows[i, 1] ** 2 + rows[i, 2] ** 2 + rows[i, 3] ** 2


@njit(fastmath=True)
def row_products_reordered(a, b, out):
    for i in range(a.shape[0]):
        s = 0.0
        for j in range(a.shape[1]):
            s += a[i, j] * b[i, j]
        out[i] = s


@njit
def fibonacci_in_a_loop(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def in_order(values: tuple, *which: int) -> tuple:
    """Return arguments of which some, indices, are sorted (by the first of them)."""
    order = np.lexsort([values[k] for k in reversed(which)])
    return tuple(value[order] if k in which else value for k, value in enumerate(values))


def neighbouring_columns() -> tuple:
    start, columns, values, x, y = GALLERY["sparse_product"].make()
    return start, np.arange(columns.size), values, x, y


def table_in_order() -> tuple:
    table, index, y = GALLERY["looked_up"].make()
    return table[index], np.arange(index.size), y


def walked_in_order() -> tuple:
    follower, steps = GALLERY["walked"].make()
    return np.roll(np.arange(follower.size), -1), steps


mend("overlapping", overlapping, lambda: (numbers(20_000), numbers(20_000), np.zeros(20_000)))
mend("unsure", sided)
mend("looked_up", GALLERY["looked_up"].function, table_in_order)
mend("walked", two.walked, walked_in_order)
mend("sampled_sum", four.sampled_sum, lambda: in_order(GALLERY["sampled_sum"].make(), 1, 2))
mend("sparse_product", two.sparse_product, neighbouring_columns)
mend("added_with_care", added)
mend("fading", GALLERY["fading"].function, lambda: (np.full(3000, 0.3), np.zeros(3000)))
mend("decayed", three.decayed, lambda: (np.full((8, 400), 3.0, np.float32), np.float32(0.05), 5))
mend("lengths", lengths_of_three)
mend("sum_of_yielded", greatest_odd)
mend("ratios", unchecked_ratios)
mend("small_products", small_products_written_out)
mend("windows", windows_in_place)
mend("transformed", transformed_in_place)
mend("inner", inner_reordered)
mend("taxi", taxi_written_out)
mend("nearest", nearest_unchecked)
mend("row_norms", row_norms_of_four)
mend("row_products", row_products_reordered)
mend("mixed", four.mixed, lambda: tuple(value.astype(np.float32) for value in GALLERY["mixed"].make()))
mend("of_list", four.of_list, lambda: (np.ones(5000),))

# A chain of products, and one of divisions: what share of a call each line takes follows from n and m.
TWO_LINES = """
from numba import njit


@njit
def work(n, m):
    v = 0.3
    for _ in range(n):
        v = 3.7 * v * (1.0 - v)
    for _ in range(m):
        v = 1.0 / (v + 1.0)
    return v
"""
