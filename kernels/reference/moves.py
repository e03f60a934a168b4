"""Plain-loop twins of the kernels that move values without computing with them."""

import numpy as np

from lenumba.kernels.reference.twin import reference


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
def weigh(weights, order):
    """valid[n] = weights[order[n]]: what the loss and the gradient of an image are multiplied by."""
    valid = np.zeros(len(order), weights.dtype)
    for n in range(len(order)):
        valid[n] = weights[order[n]]
    return valid


@reference
def pack_targets(labels, order):
    """target[n, k] = labels[order[n], k]."""
    target = np.zeros((len(order), labels.shape[1]), labels.dtype)
    for n in range(len(order)):
        for k in range(labels.shape[1]):
            target[n, k] = labels[order[n], k]
    return target


@reference
def augment(images, order, mesh, cell, scale, shift):
    """x[n, c, i, j] = image(v, u) · scale[c] + shift[c], where (v, u) is the pixel's source point.

    mesh[n, 0 or 1, i, j] has the source points' rows and columns for every cell-th pixel; between them, and between
    the image's pixels, values are interpolated bilinearly. Outside of the image there are zeros.
    """
    N, (_, C, H, W) = len(order), images.shape
    x, point = np.zeros((N, C, H, W), scale.dtype), np.zeros(2)
    for n in range(N):
        for i in range(H):
            for j in range(W):
                gi, gj, down, right = i // cell, j // cell, i % cell / cell, j % cell / cell
                for axis in range(2):
                    m = mesh[n, axis]
                    above = m[gi, gj] * (1 - right) + m[gi, gj + 1] * right
                    below = m[gi + 1, gj] * (1 - right) + m[gi + 1, gj + 1] * right
                    point[axis] = above * (1 - down) + below * down
                for c in range(C):
                    total = 0.0
                    for p in range(H):
                        for q in range(W):
                            near = max(0.0, 1 - abs(p - point[0])) * max(0.0, 1 - abs(q - point[1]))
                            total += near * images[order[n], c, p, q]
                    x[n, c, i, j] = total * scale[c] + shift[c]
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


@reference
def add(a, b):
    """Y = a + b, value by value. [N, C, H, W] each."""
    N, C, H, W = a.shape
    y = np.zeros((N, C, H, W), a.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[n, c, i, j] = a[n, c, i, j] + b[n, c, i, j]
    return y
