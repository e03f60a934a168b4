"""Plain-loop twins of batch normalisation, with the axes of :mod:`lenumba.kernels.reference.layers`."""

import numpy as np

from lenumba.kernels.reference.twin import reference


@reference
def batch_moments(x):
    """Return each map's mean and variance (biased) over all images and pixels. x[N, C, H, W] → [C], [C]."""
    N, C, H, W = x.shape
    mean, variance = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c in range(C):
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    mean[c] += x[n, c, i, j] / (N * H * W)
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    variance[c] += (x[n, c, i, j] - mean[c]) ** 2 / (N * H * W)
    return mean, variance


@reference
def norm_evaluate(x, weight, bias, mean, variance, epsilon):
    """y_c = γ_c·(x_c − μ_c)/√(v_c + ε) + β_c (Ioffe & Szegedy 2015). x[N, C, H, W], the others [C] → [N, C, H, W]."""
    N, C, H, W = x.shape
    y = np.zeros((N, C, H, W), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[n, c, i, j] = weight[c] * (x[n, c, i, j] - mean[c]) / np.sqrt(variance[c] + epsilon) + bias[c]
    return y


@reference
def norm_forward(x, weight, bias, epsilon):
    """Return the same with the batch's own mean and variance, and these: y[N, C, H, W], [C], [C]."""
    mean, variance = batch_moments(x)
    return norm_evaluate(x, weight, bias, mean, variance, epsilon), mean, variance


@reference
def norm_weight_gradients(x, dy, mean, variance, epsilon):
    """Δγ_c = Σ δ·(x_c − μ_c)/√(v_c + ε), Δβ_c = Σ δ. x, dy[N, C, H, W], the others [C] → [C], [C]."""
    N, C, H, W = x.shape
    dweight, dbias = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    dweight[c] += dy[n, c, i, j] * (x[n, c, i, j] - mean[c]) / np.sqrt(variance[c] + epsilon)
                    dbias[c] += dy[n, c, i, j]
    return dweight, dbias


@reference
def norm_backward(x, weight, dy, epsilon):
    """δx = γ_c/√(v_c + ε)·(δ − Δβ_c/n − x̂·Δγ_c/n), n = N·H·W values of a map: μ and v depend on x, too.

    x, dy[N, C, H, W], weight[C] → dx[N, C, H, W], dweight[C], dbias[C].
    """
    N, C, H, W = x.shape
    mean, variance = batch_moments(x)
    dweight, dbias = norm_weight_gradients(x, dy, mean, variance, epsilon)
    dx = np.zeros((N, C, H, W), x.dtype)
    for n in range(N):
        for c in range(C):
            root = np.sqrt(variance[c] + epsilon)
            for i in range(H):
                for j in range(W):
                    normalized = (x[n, c, i, j] - mean[c]) / root
                    share = (dbias[c] + normalized * dweight[c]) / (N * H * W)
                    dx[n, c, i, j] = weight[c] / root * (dy[n, c, i, j] - share)
    return dx, dweight, dbias
