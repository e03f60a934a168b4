"""Plain-loop twins of the kernels: what each of them computes, written as the handouts' formulas.

Arrays have the axes [N, C, H, W] (image, map, row, column) and any floating-point dtype; results have the dtype of
the first argument. `stride` is (vertical, horizontal) and `padding` (top, left, bottom, right). Nothing is padded in
memory: a tap that falls outside the image is left out.

Every function is compiled when it is first called; ``conv_forward.py_func`` and so on are the same in plain Python,
and within :func:`lenumba.kernels.reference.twin.interpreted` they are what runs.
"""

import numpy as np

from lenumba.kernels.reference.twin import reference

# ------------------------------------------------------------------------------------------------- convolution


@reference
def conv_forward(x, w, b, stride, padding):
    """C_m(i, j) = Σ_c Σ_u Σ_v x_c(i·s + u − top, j·s + v − left) · w_{m,c}(u, v) + b_m (handout 003 §II–IV).

    This is correlation: the kernel slides as it is. x[N, C, H, W], w[M, C, KH, KW], b[M] → [N, M, OH, OW].
    """
    (N, C, H, W), (M, _, KH, KW) = x.shape, w.shape
    (SH, SW), (top, left, bottom, right) = stride, padding
    OH, OW = (H + top + bottom - KH) // SH + 1, (W + left + right - KW) // SW + 1
    y = np.zeros((N, M, OH, OW), x.dtype)
    for n in range(N):
        for m in range(M):
            for i in range(OH):
                for j in range(OW):
                    y[n, m, i, j] = b[m]
                    for c in range(C):
                        for u in range(KH):
                            for v in range(KW):
                                r, q = i * SH + u - top, j * SW + v - left
                                if 0 <= r < H and 0 <= q < W:
                                    y[n, m, i, j] += x[n, c, r, q] * w[m, c, u, v]
    return y


@reference
def flipped_conv_forward(x, w, b):
    """C_m(i, j) = Σ_c Σ_u Σ_v I_c(i − u, j − v) · K_{m,c}(u, v) + b_m, true convolution (handout 004).

    The handout counts i and j from where the whole kernel lies inside the image, so they start at KH − 1 and KW − 1
    here. x[N, C, H, W], w[M, C, KH, KW], b[M] → [N, M, H − KH + 1, W − KW + 1].
    """
    (N, C, H, W), (M, _, KH, KW) = x.shape, w.shape
    y = np.zeros((N, M, H - KH + 1, W - KW + 1), x.dtype)
    for n in range(N):
        for m in range(M):
            for i in range(KH - 1, H):
                for j in range(KW - 1, W):
                    total = b[m]
                    for c in range(C):
                        for u in range(KH):
                            for v in range(KW):
                                total += x[n, c, i - u, j - v] * w[m, c, u, v]
                    y[n, m, i - KH + 1, j - KW + 1] = total
    return y


@reference
def conv_weight_gradient(x, dy, size, stride, padding):
    """∂L/∂w_{m,c}(u, v) = Σ_n Σ_i Σ_j δC_m(i, j) · x_c(i·s + u − top, j·s + v − left) (handout 004: ΔK).

    x[N, C, H, W], dy[N, M, OH, OW], size (KH, KW) → [M, C, KH, KW].
    """
    (N, C, H, W), (_, M, OH, OW) = x.shape, dy.shape
    (KH, KW), (SH, SW), (top, left, _, _) = size, stride, padding
    dw = np.zeros((M, C, KH, KW), x.dtype)
    for n in range(N):
        for m in range(M):
            for c in range(C):
                for u in range(KH):
                    for v in range(KW):
                        for i in range(OH):
                            for j in range(OW):
                                r, q = i * SH + u - top, j * SW + v - left
                                if 0 <= r < H and 0 <= q < W:
                                    dw[m, c, u, v] += dy[n, m, i, j] * x[n, c, r, q]
    return dw


@reference
def conv_bias_gradient(dy):
    """∂L/∂b_m = Σ_n Σ_i Σ_j δC_m(i, j) (handout 004: Δb). dy[N, M, OH, OW] → [M]."""
    N, M, OH, OW = dy.shape
    db = np.zeros(M, dy.dtype)
    for n in range(N):
        for m in range(M):
            for i in range(OH):
                for j in range(OW):
                    db[m] += dy[n, m, i, j]
    return db


@reference
def conv_input_gradient(dy, w, size, stride, padding):
    """∂L/∂x_c(r, q) = Σ_m Σ_u Σ_v δC_m(i, j) · w_{m,c}(u, v) over r = i·s + u − top, q = j·s + v − left.

    Handout 004 writes it for stride 1 as δP_m = Σ_n δC_n ⊗ rot180(K_{m,n}), a full convolution.
    dy[N, M, OH, OW], w[M, C, KH, KW], size (H, W) of the input → [N, C, H, W].
    """
    (N, M, OH, OW), (_, C, KH, KW) = dy.shape, w.shape
    (H, W), (SH, SW), (top, left, _, _) = size, stride, padding
    dx = np.zeros((N, C, H, W), dy.dtype)
    for n in range(N):
        for m in range(M):
            for i in range(OH):
                for j in range(OW):
                    for c in range(C):
                        for u in range(KH):
                            for v in range(KW):
                                r, q = i * SH + u - top, j * SW + v - left
                                if 0 <= r < H and 0 <= q < W:
                                    dx[n, c, r, q] += dy[n, m, i, j] * w[m, c, u, v]
    return dx


# ----------------------------------------------------------------------------------------------------- pooling


@reference
def pixels_inside(start, size, extent):
    """Return how many of `size` pixels from `start` on, along one axis, lie inside of a map of `extent` pixels."""
    inside = 0
    for r in range(start, start + size):
        inside += 1 if 0 <= r < extent else 0
    return inside


@reference
def average_pool_forward(x, size, stride, padding, count_padding=True):
    """P(i, j) = 1/(KH·KW) Σ_u Σ_v x(i·s + u − top, j·s + v − left) (handout 004: ¼ Σ); padding counts as zeros.

    Without `count_padding` the sum is divided by the number of pixels inside the map. x[N, C, H, W], size (KH, KW) →
    [N, C, OH, OW].
    """
    N, C, H, W = x.shape
    (KH, KW), (SH, SW), (top, left, bottom, right) = size, stride, padding
    OH, OW = (H + top + bottom - KH) // SH + 1, (W + left + right - KW) // SW + 1
    y = np.zeros((N, C, OH, OW), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    for u in range(KH):
                        for v in range(KW):
                            r, q = i * SH + u - top, j * SW + v - left
                            if 0 <= r < H and 0 <= q < W:
                                y[n, c, i, j] += x[n, c, r, q]
                    if count_padding:
                        y[n, c, i, j] /= KH * KW
                    else:
                        y[n, c, i, j] /= pixels_inside(i * SH - top, KH, H) * pixels_inside(j * SW - left, KW, W)
    return y


@reference
def average_pool_backward(x, dy, size, stride, padding, count_padding=True):
    """Every pixel of a window gets δP(i, j) / (KH·KW) (handout 004: δC = ¼ δP). Arguments as for max_pool_backward.

    Without `count_padding`, δP is divided by the number of pixels inside the map.
    """
    (N, C, H, W), (_, _, OH, OW) = x.shape, dy.shape
    (KH, KW), (SH, SW), (top, left, _, _) = size, stride, padding
    dx = np.zeros((N, C, H, W), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    pixels = KH * KW
                    if not count_padding:
                        pixels = pixels_inside(i * SH - top, KH, H) * pixels_inside(j * SW - left, KW, W)
                    for u in range(KH):
                        for v in range(KW):
                            r, q = i * SH + u - top, j * SW + v - left
                            if 0 <= r < H and 0 <= q < W:
                                dx[n, c, r, q] += dy[n, c, i, j] / pixels
    return dx


@reference
def position_of_maximum(x, n, c, r_from, q_from, size):
    """Return the row and column of the largest x[n, c] in a window; of equal ones the first in reading order."""
    _, _, H, W = x.shape
    row, column = max(r_from, 0), max(q_from, 0)
    for r in range(max(r_from, 0), min(r_from + size[0], H)):
        for q in range(max(q_from, 0), min(q_from + size[1], W)):
            if x[n, c, r, q] > x[n, c, row, column]:
                row, column = r, q
    return row, column


@reference
def max_pool_forward(x, size, stride, padding):
    """P(i, j) = max_{u,v} x(i·s + u − top, j·s + v − left) (handout 003 §V). x[N, C, H, W] → [N, C, OH, OW]."""
    N, C, H, W = x.shape
    (KH, KW), (SH, SW), (top, left, bottom, right) = size, stride, padding
    OH, OW = (H + top + bottom - KH) // SH + 1, (W + left + right - KW) // SW + 1
    y = np.zeros((N, C, OH, OW), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    r, q = position_of_maximum(x, n, c, i * SH - top, j * SW - left, size)
                    y[n, c, i, j] = x[n, c, r, q]
    return y


@reference
def max_pool_backward(x, dy, size, stride, padding):
    """δP goes to the element that was the maximum, zero elsewhere (handout 003 §IX).

    x[N, C, H, W], dy[N, C, OH, OW], size (KH, KW) → [N, C, H, W].
    """
    (N, C, H, W), (_, _, OH, OW) = x.shape, dy.shape
    (SH, SW), (top, left, _, _) = stride, padding
    dx = np.zeros((N, C, H, W), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    r, q = position_of_maximum(x, n, c, i * SH - top, j * SW - left, size)
                    dx[n, c, r, q] += dy[n, c, i, j]
    return dx


# ------------------------------------------------------------------------------------------------------- dense


@reference
def dense_forward(x, w, b):
    """y_m = Σ_k x_k · w_{m,k} + b_m (handout 004: F·W₁ + b₁). x[N, K], w[M, K], b[M] → [N, M]."""
    (N, K), M = x.shape, len(w)
    y = np.zeros((N, M), x.dtype)
    for n in range(N):
        for m in range(M):
            y[n, m] = b[m]
            for k in range(K):
                y[n, m] += x[n, k] * w[m, k]
    return y


@reference
def dense_weight_gradient(x, dy):
    """∂L/∂w_{m,k} = Σ_n δ_m · x_k (handout 004: ΔW₁ = Fᵀδ₁). x[N, K], dy[N, M] → [M, K]."""
    (N, K), (_, M) = x.shape, dy.shape
    dw = np.zeros((M, K), x.dtype)
    for n in range(N):
        for m in range(M):
            for k in range(K):
                dw[m, k] += dy[n, m] * x[n, k]
    return dw


@reference
def dense_bias_gradient(dy):
    """∂L/∂b_m = Σ_n δ_m (handout 004: Δb₁). dy[N, M] → [M]."""
    N, M = dy.shape
    db = np.zeros(M, dy.dtype)
    for n in range(N):
        for m in range(M):
            db[m] += dy[n, m]
    return db


@reference
def dense_input_gradient(dy, w):
    """∂L/∂x_k = Σ_m δ_m · w_{m,k} (handout 004: δ_F = δ₁·W₁ᵀ). dy[N, M], w[M, K] → [N, K]."""
    (N, M), (_, K) = dy.shape, w.shape
    dx = np.zeros((N, K), dy.dtype)
    for n in range(N):
        for k in range(K):
            for m in range(M):
                dx[n, k] += dy[n, m] * w[m, k]
    return dx
