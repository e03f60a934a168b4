"""Plain-loop twins of the activations, the losses and the optimisers' updates.

See :mod:`lenumba.kernels.reference.layers`.
"""

import numpy as np

from lenumba.kernels.reference.twin import reference

# ---------------------------------------------- activations; derivatives in terms of y = f(x), or else of x


@reference
def none(x):
    """X itself: no activation."""
    return x


@reference
def none_derivative(y):
    """1."""
    return 1.0


@reference
def relu(x):
    """max(x, 0)."""
    return x if x > 0 else 0 * x


@reference
def relu_derivative(y):
    """1 where y > 0, else 0 (also at 0, where there is no unique derivative)."""
    return 1.0 if y > 0 else 0.0


@reference
def leaky_relu(x):
    """X where x > 0, else x / 100."""
    return x if x > 0 else 0.01 * x


@reference
def leaky_relu_derivative(y):
    """1 where y > 0, else 0.01."""
    return 1.0 if y > 0 else 0.01


@reference
def relu6(x):
    """min(max(x, 0), 6)."""
    return min(max(x, 0 * x), 6 + 0 * x)


@reference
def relu6_derivative(y):
    """1 where 0 < y < 6, else 0."""
    return 1.0 if 0 < y < 6 else 0.0


@reference
def tanh(x):
    """(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)."""
    return np.tanh(x)


@reference
def tanh_derivative(y):
    """1 − y²."""
    return 1 - y * y


@reference
def sigmoid(x):
    """1 / (1 + e⁻ˣ) (handout 000: σ)."""
    return 1 / (1 + np.exp(-x))


@reference
def sigmoid_derivative(y):
    """Y · (1 − y) (handout 000: σ′ = σ·(1 − σ))."""
    return y * (1 - y)


@reference
def silu(x):
    """X · σ(x) (Elfwing et al. 2018)."""
    return x / (1 + np.exp(-x))


@reference
def silu_derivative(x):
    """σ(x) · (1 + x · (1 − σ(x)))."""
    s = 1 / (1 + np.exp(-x))
    return s * (1 + x * (1 - s))


@reference
def hard_swish(x):
    """X · min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return x * min(max(x + 3, 0 * x), 6 + 0 * x) / 6


@reference
def hard_swish_derivative(x):
    """0 where x ≤ −3, 1 where x ≥ 3, else x / 3 + ½."""
    if x <= -3:
        return 0.0
    return 1.0 if x >= 3 else x / 3 + 0.5


@reference
def activation_forward(function, x):
    """Y = function(x), one value at a time. x[N, C, H, W] → [N, C, H, W]."""
    y = np.zeros_like(x)
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[n, c, i, j] = function(x[n, c, i, j])
    return y


@reference
def activation_backward(derivative, y, dy):
    """∂L/∂x = ∂L/∂y · f′, with f′ computed from y (handout 004: …·f′). y, dy[N, C, H, W] → [N, C, H, W].

    Where f′ is in terms of x, `y` is x.
    """
    dx = np.zeros_like(y)
    N, C, H, W = y.shape
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    dx[n, c, i, j] = dy[n, c, i, j] * derivative(y[n, c, i, j])
    return dx


# ------------------------------------------------------------------------------------------------------ losses


@reference
def softmax_cross_entropy(z, label, smoothing):
    """L = −1/N Σ_n Σ_k t_k · log S_k with S = softmax(z), and δ = (S − t) / N (handout 004: δ₂ = S − y).

    t is the one-hot label, smoothed: t_k = (1 − smoothing)·[k = label] + smoothing / K.

    z[N, K], int label[N] → the mean loss, the number of right answers, S[N, K] and δ[N, K].
    """
    N, K = z.shape
    probabilities, dz = np.zeros_like(z), np.zeros_like(z)
    loss, correct = 0.0, 0
    for n in range(N):
        high = z[n, 0]
        for k in range(1, K):
            high = max(high, z[n, k])
        total = 0.0
        for k in range(K):
            total += np.exp(z[n, k] - high)  # the largest power is e⁰: nothing overflows
        for k in range(K):
            target = smoothing / K + (1 - smoothing if k == label[n] else 0.0)
            logarithm = z[n, k] - high - np.log(total)
            loss -= target * logarithm / N
            probabilities[n, k] = np.exp(logarithm)
            dz[n, k] = (probabilities[n, k] - target) / N
        correct += 1 if is_right(z, n, label[n]) else 0
    return loss, correct, probabilities, dz


@reference
def is_right(p, n, label):
    """Return whether row n of the outputs p[N, K] stands for class `label`; a single output of ½ or more for 1."""
    if p.shape[1] == 1:
        return (p[n, 0] >= 0.5) == (label == 1)
    guess = 0
    for k in range(p.shape[1]):
        if p[n, k] > p[n, guess]:
            guess = k
    return guess == label


@reference
def sigmoid_cross_entropy(z, label, smoothing):
    """L = 1/(N·K) Σ −t·log a − (1 − t)·log(1 − a) with a = σ(z), and δ = (a − t) / (N·K) (handout 000: a − y).

    t is the label for a single output, else one-hot, smoothed: t = (1 − smoothing)·y + smoothing / 2.
    Both logarithms come from log(1 + e^−|z|), so that none is taken of 0. Arguments as for softmax_cross_entropy.
    """
    N, K = z.shape
    a, dz = np.zeros_like(z), np.zeros_like(z)
    loss, correct = 0.0, 0
    for n in range(N):
        for k in range(K):
            y = label[n] if K == 1 else (1 if k == label[n] else 0)
            t = (1 - smoothing) * y + smoothing / 2
            a[n, k] = sigmoid(z[n, k])
            loss += (max(z[n, k], 0) - z[n, k] * t + np.log1p(np.exp(-abs(z[n, k])))) / (N * K)
            dz[n, k] = (a[n, k] - t) / (N * K)
        correct += 1 if is_right(a, n, label[n]) else 0
    return loss, correct, a, dz


@reference
def squared_error(z, label, smoothing):
    """L = 1/(N·K) Σ (z − t)² and δ = 2·(z − t) / (N·K); t as above, never smoothed. The outputs are z itself."""
    N, K = z.shape
    dz = np.zeros_like(z)
    loss, correct = 0.0, 0
    for n in range(N):
        for k in range(K):
            t = label[n] if K == 1 else (1 if k == label[n] else 0)
            loss += (z[n, k] - t) ** 2 / (N * K)
            dz[n, k] = 2 * (z[n, k] - t) / (N * K)
        correct += 1 if is_right(z, n, label[n]) else 0
    return loss, correct, z, dz


@reference
def multilabel_cross_entropy(z, target, smoothing):
    """As sigmoid_cross_entropy, with a label 0 or 1 of each output: target[N, K]. Right is a row of K right answers."""
    N, K = z.shape
    a, dz = np.zeros_like(z), np.zeros_like(z)
    loss, correct = 0.0, 0
    for n in range(N):
        right = 0
        for k in range(K):
            t = (1 - smoothing) * target[n, k] + smoothing / 2
            a[n, k] = sigmoid(z[n, k])
            loss += (max(z[n, k], 0) - z[n, k] * t + np.log1p(np.exp(-abs(z[n, k])))) / (N * K)
            dz[n, k] = (a[n, k] - t) / (N * K)
            right += 1 if (a[n, k] >= 0.5) == (target[n, k] == 1) else 0
        correct += 1 if right == K else 0
    return loss, correct, a, dz


@reference
def regression_squared_error(z, target, smoothing):
    """As squared_error, with a number for each output: target[N, K]. No answer is right or wrong."""
    N, K = z.shape
    dz = np.zeros_like(z)
    loss = 0.0
    for n in range(N):
        for k in range(K):
            loss += (z[n, k] - target[n, k]) ** 2 / (N * K)
            dz[n, k] = 2 * (z[n, k] - target[n, k]) / (N * K)
    return loss, 0, z, dz


# ----------------------------------------------------------------------------------------------------- updates


@reference
def sgd(theta, velocity, gradient, rate, weight_decay, momentum, nesterov):
    """G ← g + λ·θ; v ← μ·v + g; θ ← θ − η·v, with Nesterov's momentum θ ← θ − η·(g + μ·v).

    For λ = μ = 0 this is handout 004's θ ← θ − λ·Δθ (its λ is the learning rate η). Overwrites theta[n], velocity[n].
    """
    for k in range(len(theta)):
        g = gradient[k] + weight_decay * theta[k]
        velocity[k] = momentum * velocity[k] + g
        theta[k] -= rate * (g + momentum * velocity[k] if nesterov else velocity[k])


@reference
def adamw(theta, m, v, gradient, rate, weight_decay, beta1, beta2, epsilon, step):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), step number `step` = 1, 2, ….

    θ ← θ − η·λ·θ; m ← β₁·m + (1 − β₁)·g; v ← β₂·v + (1 − β₂)·g²; m̂ = m / (1 − β₁ᵗ); v̂ = v / (1 − β₂ᵗ);
    θ ← θ − η·m̂ / (√v̂ + ε). Overwrites theta[n], m[n], v[n].
    """
    for k in range(len(theta)):
        m[k] = beta1 * m[k] + (1 - beta1) * gradient[k]
        v[k] = beta2 * v[k] + (1 - beta2) * gradient[k] ** 2
        m_hat, v_hat = m[k] / (1 - beta1**step), v[k] / (1 - beta2**step)
        theta[k] -= rate * weight_decay * theta[k]
        theta[k] -= rate * m_hat / (np.sqrt(v_hat) + epsilon)


@reference
def adam(theta, m, v, gradient, rate, weight_decay, beta1, beta2, epsilon, step):
    """Adam (Kingma & Ba 2015): g ← g + λ·θ, and then as adamw without weight decay. Overwrites theta[n], m[n], v[n]."""
    adamw(theta, m, v, gradient + weight_decay * theta, rate, 0.0, beta1, beta2, epsilon, step)


@reference
def clip_gradient(gradients, max_norm):
    """Return G[n], the sum of the shards' gradients[s, n], scaled to the norm max_norm where it is longer.

    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
    """
    total = np.zeros(gradients.shape[1])
    squares = 0.0
    for k in range(len(total)):
        for shard in range(len(gradients)):
            total[k] += gradients[shard, k]
        squares += total[k] ** 2
    norm = np.sqrt(squares)
    if norm > max_norm:
        for k in range(len(total)):
            total[k] *= max_norm / norm
    return total


@reference
def average_weights(average, theta, share):
    """Exponential moving average: average ← (1 − share)·average + share·θ. Overwrites average[n]."""
    for k in range(len(average)):
        average[k] = (1 - share) * average[k] + share * theta[k]
