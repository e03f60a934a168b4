"""Still more functions with planted causes: sums, chains, threads, checks, calls, and limits; see `gallery_two`."""

import math

import numpy as np
from gallery import numbers, planted
from gallery_two import HALF, QUARTER, SINGLE
from numba import guvectorize, njit, objmode, prange, vectorize


@planted("Python objects", lambda: (numbers(300),))
@njit
def spoken(x):
    total = 0.0
    for v in x:
        with objmode(r="float64"):
            r = float(round(v, 2))
        total += r
    return total


@njit(fastmath=True)
def energy_mended(x):
    s = SINGLE(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            s += x[i, j] * x[i, j]
    return s


@planted("reduction order", lambda: (numbers(20, 300, kind=SINGLE),), energy_mended, flags={"fastmath": True})
@njit
def energy(x):
    s = SINGLE(0)
    i = 0
    while i < x.shape[0]:
        j = 0
        while j < x.shape[1]:
            s += x[i, j] * x[i, j]
            j += 1
        i += 1
    return s


@njit(fastmath=True)
def similarities_mended(a, b, c):
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            s = 0.0
            for k in range(a.shape[1]):
                s += a[i, k] * b[j, k]
            c[i, j] = s


@planted(
    "reduction order",
    lambda: (numbers(60, 200), numbers(50, 200), np.zeros((60, 50))),
    similarities_mended,
    flags={"fastmath": True},
)
@njit
def similarities(a, b, c):
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            s = 0.0
            for k in range(a.shape[1]):
                s += a[i, k] * b[j, k]
            c[i, j] = s


@planted("latency chain", lambda: (np.uint64(88172645463325252), 30_000))
@njit
def shifted_random(state, n):
    while n > 0:
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        n -= 1
    return state


@planted("latency chain", lambda: (numbers(60, 100),))
@njit
def relaxed(u):
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])


@njit(fastmath=True)
def totals_mended(a, x, out):
    for i in range(a.shape[0]):
        s = 0.0
        for j in range(a.shape[1]):
            s += a[i, j] * x[j]
        out[i] = s


@planted("reduction order", lambda: (numbers(30, 200), numbers(200), np.zeros(30)), totals_mended)
@njit
def totals(a, x, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i] += a[i, j] * x[j]


@njit
def moved(source, target):
    for i in range(source.size):
        target[i] = source[i] * HALF + abs(source[i]) * QUARTER


@planted(
    "aliasing",
    lambda: (lambda b: (b[:-20], b[20:]))(numbers(6020, kind=SINGLE)),
    moved,
    lambda: (numbers(6000, kind=SINGLE), np.zeros(6000, SINGLE)),
)
@njit
def moved_in_place(source, target):
    for i in range(source.size):
        target[i] = source[i] * HALF + abs(source[i]) * QUARTER


def in_one_line(*shape: int) -> np.ndarray:
    memory = np.zeros(32, np.int32)
    return memory[-memory.ctypes.data % 64 // 4 :][: math.prod(shape)].reshape(shape)


@njit(parallel=True)
def histograms_mended(kinds, counts):
    for t in prange(counts.shape[0]):
        own = np.zeros(counts.shape[1] + 16, np.int32)
        for i in range(t * kinds.size // counts.shape[0], (t + 1) * kinds.size // counts.shape[0]):
            own[kinds[i]] += 1
        counts[t] += own[: counts.shape[1]]


@planted(
    "false sharing",
    lambda: (np.random.default_rng(6).integers(0, 4, 3_000_000, np.uint8), in_one_line(2, 4)),
    histograms_mended,
)
@njit(parallel=True)
def histograms(kinds, counts):
    for t in prange(counts.shape[0]):
        for i in range(t * kinds.size // counts.shape[0], (t + 1) * kinds.size // counts.shape[0]):
            counts[t, kinds[i]] += 1


@planted("imbalance", lambda: (np.linspace(-2.2, 0.6, 200), np.linspace(-1.3, 0.0, 60), np.zeros((60, 200))))
@njit(parallel=True)
def escape(real, imaginary, out):
    for i in prange(imaginary.size):
        for j in range(real.size):
            x = y = 0.0
            n = 0
            while x * x + y * y < 4.0 and n < 20 + 20 * (i // 30) * 30:
                x, y = x * x - y * y + real[j], 2.0 * x * y + imaginary[i]
                n += 1
            out[i, j] = n


@planted("parallel overhead", lambda: (numbers(64), np.zeros(64), 300))
@njit(parallel=True)
def diffused(u, v, steps):
    for _ in range(steps):
        for i in prange(1, u.size - 1):
            v[i] = 0.5 * (u[i - 1] + u[i + 1])


@njit
def recoloured_mended(image, table, out):
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            out[i, j] = table[image[i, j]] + table[255 - image[i, j]]


@planted(
    "bounds checks",
    lambda: (
        np.random.default_rng(5).integers(0, 256, (100, 150), np.uint8),
        numbers(256, kind=SINGLE),
        np.zeros((100, 150), SINGLE),
    ),
    recoloured_mended,
    flags={"boundscheck": False},
)
@njit(boundscheck=True)
def recoloured(image, table, out):
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            out[i, j] = table[image[i, j]] + table[255 - image[i, j]]


@njit
def products_mended(a, b, out):
    for i in range(a.size):
        out[i] = np.int64(a[i]) * b[i]


@planted(
    "overflow checks",
    lambda: (np.arange(5000, dtype=np.int32), np.full(5000, 3, np.int32), np.zeros(5000, np.int32)),
    products_mended,
)
@njit
def products(a, b, out):
    for i in range(a.size):
        p = np.int64(a[i]) * np.int64(b[i])
        if p > 2147483647 or p < -2147483648:
            raise OverflowError
        out[i] = p


@planted("division|checks", lambda: (numbers(50, 60), numbers(50, 60), np.zeros((50, 60))))
@njit
def ratios(a, b, out):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j] / b[i, j]


@planted(
    "denormals",
    lambda: (np.full((8, 400), 3e-38, SINGLE), SINGLE(0.05), 5),
    None,
)
@njit
def decayed(level, share, steps):
    for _ in range(steps):
        for c in range(level.shape[0]):
            for t in range(level.shape[1]):
                v = level[c, t]
                level[c, t] = v * share + v * HALF * HALF * QUARTER
                if level[c, t] < SINGLE(1e-44):
                    level[c, t] = SINGLE(3e-38)


@planted("short loop", lambda: (numbers(4000, 3, 3), numbers(4000, 3, 3), np.zeros((4000, 3, 3))))
@njit
def small_products(a, b, c):
    for n in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(b.shape[2]):
                s = 0.0
                for k in range(a.shape[2]):
                    s += a[n, i, k] * b[n, k, j]
                c[n, i, j] = s


@planted("bound by L2", lambda: (numbers(150, 200), np.zeros((150, 200)), 0.3))
@njit
def accumulated(x, y, a):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] += a * x[i, j]


@njit(fastmath=True)
def bump(v):
    s = SINGLE(0.1)
    for _ in range(10):
        s = s * v + QUARTER
    return s * s


@planted("bound by compute", lambda: (numbers(30, 64, kind=SINGLE), np.zeros((30, 64), SINGLE)))
@njit(fastmath=True)
def bumps(x, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = bump(x[i, j])


@planted("bound by memory", lambda: (numbers(200, 300, 150, kind=SINGLE), np.zeros((200, 300, 150), SINGLE), HALF))
@njit(parallel=True)
def triad(x, y, a):
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                y[i, j, k] = y[i, j, k] + a * x[i, j, k]


@planted("bound by memory", lambda: (np.arange(12_000_000, dtype=np.int32),))
@njit
def largest(x):
    m = x[0]
    for v in x:
        m = max(m, v)
    return m


@planted("math function", lambda: (numbers(50, 40, kind=SINGLE), SINGLE(0.45)))
@njit
def gamma(picture, exponent):
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            picture[i, j] = picture[i, j] ** exponent


@planted("math function", lambda: (numbers(4000), numbers(4000)))
@vectorize(["float64(float64, float64)"])
def entropy(p, q):
    return p * math.log(p / (q + p))


@planted("recursion", lambda: (numbers(4096), 0, 4096))
@njit("float64(float64[::1], int64, int64)")
def pairwise(x, first, last):
    if last - first == 1:
        return x[first]
    middle = (first + last) // 2
    return pairwise(x, first, middle) + pairwise(x, middle, last)


@njit
def pairs(n):
    for i in range(n):
        for j in range(i):
            yield i, j


@njit
def closest_mended(x):
    best = np.inf
    for i in range(x.size):
        for j in range(i):
            best = min(best, abs(x[i] - x[j]))
    return best


@planted("generator", lambda: (numbers(200),), closest_mended)
@njit
def closest(x):
    best = np.inf
    for i, j in pairs(x.size):
        best = min(best, abs(x[i] - x[j]))
    return best


@planted("reduction order", lambda: (numbers(40, 500), numbers(40, 500), np.zeros(40)))
@guvectorize(["void(float64[:], float64[:], float64[:])"], "(n),(n)->()")
def row_products(a, b, out):
    s = 0.0
    for i in range(a.shape[0]):
        s += a[i] * b[i]
    out[0] = s
