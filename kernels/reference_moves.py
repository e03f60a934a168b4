"""Plain-loop twins of the kernels that move values without computing with them."""

import numpy as np

from lenumba.kernels.twin import reference


@reference
def pack(images, order, scale, shift):
    """x[n, c, i, j] = images[order[n], c, i, j] · scale[c] + shift[c] (handout 001: normalised pixels)."""
    N, (_, C, H, W) = len(order), images.shape
    x = np.zeros((N, C, H, W), scale.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    x[n, c, i, j] = images[order[n], c, i, j] * scale[c] + shift[c]
    return x


@reference
def transpose_lanes(x):
    """xt[lane, n] = x[n, lane]."""
    N, L = x.shape
    xt = np.zeros((L, N), x.dtype)
    for n in range(N):
        for lane in range(L):
            xt[lane, n] = x[n, lane]
    return xt


@reference
def clear(dx):
    """Set dx to zero."""
    for k in range(dx.size):
        dx.flat[k] = 0


@reference
def copy(x):
    """Return y = x."""
    y = np.zeros_like(x)
    for k in range(x.size):
        y.flat[k] = x.flat[k]
    return y


@reference
def dropout_forward(x, mask):
    """Y = x · mask: what a value of the mask is, 0 or 1 / q, is drawn elsewhere."""
    y = np.zeros_like(x)
    for k in range(x.size):
        y.flat[k] = x.flat[k] * mask.flat[k]
    return y


@reference
def dropout_backward(dy, mask):
    """Dx = dy · mask."""
    dx = np.zeros_like(dy)
    for k in range(dy.size):
        dx.flat[k] = dy.flat[k] * mask.flat[k]
    return dx
