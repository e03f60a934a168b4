import numpy as np

from lenumba.kernels.reference.steps import is_right
from lenumba.kernels.reference.twin import reference


@reference
def softplus(x):
    return max(x, 0) + np.log1p(np.exp(-abs(x)))


@reference
def softplus_derivative(y):
    return 1 - np.exp(-y)


@reference
def huber(z, label, smoothing):
    N, K = z.shape
    dz = np.zeros_like(z)
    loss, correct = 0.0, 0
    for n in range(N):
        for k in range(K):
            t = label[n] if K == 1 else (1 if k == label[n] else 0)
            d = z[n, k] - t
            loss += (0.5 * d * d if abs(d) <= 1 else abs(d) - 0.5) / (N * K)
            dz[n, k] = min(max(d, -1), 1) / (N * K)
        correct += 1 if is_right(z, n, label[n]) else 0
    return loss, correct, z, dz


@reference
def rmsprop(theta, velocity, square, gradient, rate, weight_decay, alpha, epsilon, momentum):
    for k in range(len(theta)):
        g = gradient[k] + weight_decay * theta[k]
        square[k] = alpha * square[k] + (1 - alpha) * g**2
        velocity[k] = momentum * velocity[k] + g / (np.sqrt(square[k]) + epsilon)
        theta[k] -= rate * velocity[k]


@reference
def scale_channels(x, w):
    y = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                for j in range(x.shape[3]):
                    y[n, c, i, j] = w[c] * x[n, c, i, j]
    return y


@reference
def scale_weight_gradient(x, dy):
    dw = np.zeros(x.shape[1], x.dtype)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                for j in range(x.shape[3]):
                    dw[c] += dy[n, c, i, j] * x[n, c, i, j]
    return dw
