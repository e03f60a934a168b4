"""A five-point stencil as it is often written: `lenumba profile examples/stencil.py:smooth` tells why it is slow."""

import numpy as np
from numba import njit


@njit
def smooth(x, y):
    """Write into each inner point of `y` [rows, columns] the mean of its four neighbours in `x`."""
    for j in range(1, x.shape[1] - 1):
        for i in range(1, x.shape[0] - 1):
            y[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])


def smooth_arguments():
    """Return what `smooth` is profiled with."""
    x = np.random.default_rng(0).random((2000, 2000))
    return x, np.zeros_like(x)
