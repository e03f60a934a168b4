"""Functions with a planted cause of their slowness each, and some that are as quick as the machine allows.

`GALLERY` has for each its cause, what makes its arguments, and the same work without the cause where that is easy to
write: the factor between both is what the profiler should expect.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_thread_id, guvectorize, jit, njit, prange


@dataclass
class Planted:
    """A function, its cause, and what makes its arguments."""

    function: Any
    cause: str
    make: Callable[[], tuple]
    mended: Any = None
    make_mended: Callable[[], tuple] | None = None
    flags: dict | None = None


GALLERY: dict[str, Planted] = {}


def planted(cause: str, make: Callable[[], tuple], mended=None, make_mended=None, flags=None):
    """Put a function into the gallery."""

    def put(function):
        name = getattr(function, "__name__", None) or function.py_func.__name__
        GALLERY[name] = Planted(function, cause, make, mended, make_mended, flags)
        return function

    return put


def is_right(planted: str, cause: Mapping[str, Any]) -> bool:
    """Whether the planted cause was told; of functions that are as quick as can be, whether none is blamed."""
    return cause["limit"] if planted.startswith("bound by") else cause["name"] in planted.split("|")


def numbers(*shape: int, kind: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(kind)


@njit
def stencil_by_row(x, y):
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            y[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])


@planted("column order", lambda: (numbers(900, 1000), np.zeros((900, 1000))), stencil_by_row)
@njit
def stencil_by_column(x, y):
    for j in range(1, x.shape[1] - 1):
        for i in range(1, x.shape[0] - 1):
            y[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])


@njit
def row_sums(a, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[j] += a[i, j]


@planted("column order", lambda: (numbers(1500, 1100), np.zeros(1100)), row_sums)
@njit
def column_sums(a, out):
    for j in range(a.shape[1]):
        s = 0.0
        for i in range(a.shape[0]):
            s += a[i, j]
        out[j] = s


@planted("aliasing", lambda: (lambda b: (b[:-2], b[1:-1], b[2:]))(numbers(20_000)))
@njit
def overlapping(x, y, out):
    for i in range(x.size):
        out[i] = math.sqrt(x[i] * x[i] + y[i] * y[i]) + 0.5 * x[i] * y[i]


@njit
def scale_in_single(x, y):
    half, one = np.float32(0.5), np.float32(1.0)
    for i in range(x.size):
        y[i] = (x[i] * half + one) * x[i] + half * x[i] * x[i] - one


@planted("float64 in float32", lambda: (numbers(8000, kind=np.float32), np.zeros(8000, np.float32)), scale_in_single)
@njit
def scale_in_double(x, y):
    for i in range(x.size):
        y[i] = (x[i] * 0.5 + 1.0) * x[i] + 0.5 * x[i] * x[i] - 1.0


@njit
def normalised_by_product(x, total, y):
    factor = 1.0 / total
    for i in range(x.size):
        y[i] = (x[i] - 1.0) * factor


@planted("division", lambda: (numbers(2000), numbers(2000), np.zeros(2000)), None)
@njit(error_model="numpy")
def quotients(x, z, y):
    for i in range(x.size):
        y[i] = x[i] / z[i] + z[i] / (x[i] + 3.0) + 1.0 / (z[i] + x[i])


@planted("division", lambda: (np.arange(1, 20_000), 7, np.zeros(20_000, np.int64)), None)
@njit
def remainders(x, n, y):
    for i in range(x.size):
        y[i] = x[i] % (n + (x[i] & 1))


def coins(n: int) -> tuple:
    return (np.random.default_rng(1).uniform(-1, 1, n), np.zeros(4))


@njit
def collatz_like(x, out):
    for i in range(x.size):
        v = x[i]
        out[0] += max(v, 0.0)
        out[1] += min(v, 0.0)


@planted("branch", lambda: coins(200_000))
@njit
def unsure(x, out):
    k = 0
    for i in range(x.size):
        if x[i] > 0.0:
            out[k & 3] = x[i] * 3.0
            k += 1
        else:
            k ^= i


@planted(
    "gather", lambda: (numbers(4_000_000), np.random.default_rng(2).integers(0, 4_000_000, 300_000), np.zeros(300_000))
)
@njit
def looked_up(table, index, y):
    for i in range(index.size):
        y[i] = 2.0 * table[index[i]]


@njit
def one_buffer(x, n):
    s = 0.0
    b = np.empty(16)
    for i in range(n):
        b[0] = x[i]
        b[15] = x[i] * 2
        s += b[0] + b[15]
    return s


@planted("allocation", lambda: (numbers(20_000), 20_000), one_buffer)
@njit
def many_buffers(x, n):
    s = 0.0
    for i in range(n):
        b = np.empty(16)
        b[i & 15] = x[i]
        b[15 - (i & 15)] = x[i] * 2
        s += b[i & 15] + b[15 - (i & 15)]
    return s


@njit
def sum_of_list_compiled(x):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    return s


@planted("Python objects", lambda: (numbers(20_000),), sum_of_list_compiled)
@jit(forceobj=True, looplift=False)
def in_object_mode(x):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    return s


@njit(fastmath={"reassoc", "nsz", "contract"})
def dot_reordered(x, y):
    s = 0.0
    for i in range(x.size):
        s += x[i] * y[i]
    return s


@planted("reduction order", lambda: (numbers(1500), numbers(1500)), dot_reordered, flags={"fastmath": True})
@njit
def dot_in_order(x, y):
    s = 0.0
    for i in range(x.size):
        s += x[i] * y[i]
    return s


@planted("latency chain", lambda: (numbers(4000), np.zeros(4000), 0.3))
@njit
def smoothed(x, y, a):
    v = x[0]
    for i in range(x.size):
        v = v + a * (x[i] - v)
        y[i] = v


@planted("latency chain", lambda: (0.3, 3.7, 20_000))
@njit
def logistic(x, r, n):
    for _ in range(n):
        x = r * x * (1.0 - x)
    return x


@planted("false sharing", lambda: (numbers(400_000), np.zeros(64)))
@njit(parallel=True)
def shared_counters(x, out):
    for i in prange(x.size):
        out[get_thread_id()] += x[i]


@planted("imbalance", lambda: (numbers(3000), np.zeros(3000)))
@njit(parallel=True)
def triangle(x, y):
    for i in prange(x.size):
        for j in range(i):
            y[i] += x[j] * 0.5


@njit
def doubled(x, y):
    for i in range(x.size):
        y[i] = 2.0 * x[i] + 1.0


@planted(
    "strided view",
    lambda: (numbers(64_000)[::16], np.zeros(64_000)[::16]),
    doubled,
    lambda: (numbers(4000), np.zeros(4000)),
)
@njit
def doubled_view(x, y):
    for i in range(x.size):
        y[i] = 2.0 * x[i] + 1.0


@njit
def turned_unchecked(a, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, a.shape[1] - 1 - j] if j < i else a[i, j]


@planted(
    "bounds checks", lambda: (numbers(200, 200), np.zeros((200, 200))), turned_unchecked, flags={"boundscheck": False}
)
@njit(boundscheck=True)
def turned_checked(a, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, a.shape[1] - 1 - j] if j < i else a[i, j]


@planted("overflow checks", lambda: (np.arange(4000), np.ones(4000, np.int64), np.zeros(4000, np.int64)))
@njit
def added_with_care(x, y, out):
    for i in range(x.size):
        s = x[i] + y[i]
        if ((x[i] ^ s) & (y[i] ^ s)) < 0:
            raise OverflowError("too large")
        out[i] = s


@planted("denormals", lambda: (np.full(3000, 3e-308), np.zeros(3000)), None)
@njit
def fading(x, y):
    for i in range(x.size):
        y[i] = x[i] * 0.013 + x[i] * 1e-3 * x[i]


@planted("short loop", lambda: (numbers(20_000, 3), np.zeros(20_000)))
@njit
def lengths(points, out):
    for i in range(points.shape[0]):
        s = 0.0
        for j in range(points.shape[1]):
            s += points[i, j] * points[i, j]
        out[i] = s


@planted("bound by memory", lambda: (numbers(12_000_000), np.zeros(12_000_000)))
@njit
def copied(x, y):
    for i in range(x.size):
        y[i] = x[i]


@planted("bound by L2", lambda: (numbers(30_000), numbers(30_000), np.zeros(30_000)))
@njit
def added_in_l2(x, z, y):
    for i in range(x.size):
        y[i] = x[i] + z[i]


@planted("bound by compute", lambda: (numbers(2000), np.zeros(2000)))
@njit(fastmath=True)
def polynomial(x, y):
    for i in range(x.size):
        v = x[i]
        s = 0.1
        for _ in range(12):
            s = s * v + 0.7
        y[i] = s


@planted("bound by memory", lambda: (numbers(8_000_000), numbers(8_000_000), 0.5))
@njit(fastmath=True)
def distance(x, y, a):
    s = 0.0
    for i in range(x.size):
        s += (x[i] - a * y[i]) ** 2
    return s


@planted("math function", lambda: (numbers(4000), np.zeros(4000)))
@njit
def waves(x, y):
    for i in range(x.size):
        y[i] = math.sin(x[i]) * math.exp(-x[i])


@planted("recursion", lambda: (24,))
@njit("int64(int64)")
def fibonacci(n):
    if n < 2:
        return n
    return fibonacci(n - 1) + fibonacci(n - 2)


@njit
def odd_numbers(x):
    for i in range(x.size):
        if i & 1:
            yield x[i]


@planted("generator", lambda: (numbers(40_000),))
@njit
def sum_of_yielded(x):
    s = 0.0
    for v in odd_numbers(x):
        s = max(s, v)
    return s


@planted("short loop", lambda: (numbers(30_000, 4), np.zeros(30_000)))
@guvectorize(["void(float64[:], float64[:])"], "(n)->()")
def row_norms(row, out):
    s = 0.0
    for j in range(row.shape[0]):
        s += row[j] * row[j]
    out[0] = s


@planted(
    "bound by compute",
    lambda: (numbers(160, 160, kind=np.float32), numbers(160, 160, kind=np.float32), np.zeros((160, 160), np.float32)),
)
@njit(fastmath={"contract"})
def matrix_product(a, b, c):
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]
