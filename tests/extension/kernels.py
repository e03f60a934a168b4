from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.layers.activation import exp, log, relu
from lenumba.kernels.layers.loss import add_result, answer_of, target_of
from lenumba.kernels.layers.update import take_gradient
from lenumba.kernels.vector.simd import absolute, fma, load, splat, sqrt, store, sum_lanes, where_greater


@kernel
def softplus(x):
    return relu(x) + log(splat(1.0) + exp(splat(0.0) - absolute(x)))


@kernel
def softplus_derivative(y):
    return splat(1.0) - exp(splat(0.0) - y)


@kernel
def huber(z, p, dz, label, valid, result, scale, smoothing, K):
    target, mask = load(label, 0), load(valid, 0)
    one, half, step, loss = splat(1.0), splat(0.5), mask * splat(scale / K), splat(0.0)
    for k in range(K):
        value = load(z, k)
        difference = value - target_of(target, k, K)
        size = absolute(difference)
        loss = loss + where_greater(size, one, size - half, half * difference * difference)
        slope = where_greater(difference, one, one, difference)
        store(p, k, value)
        store(dz, k, where_greater(splat(-1.0), slope, splat(-1.0), slope) * step)
    add_result(result, loss * splat(1.0 / K), answer_of(p, K), target, mask)


@kernel
def rmsprop(theta, state, gradients, decay, hyper, shards, size, first, last):
    rate, weight_decay, alpha, epsilon = splat(-hyper[0]), hyper[1], splat(hyper[2]), splat(hyper[3])
    momentum, rest = splat(hyper[4]), splat(hyper[5])
    for k in range(first, last):
        parameter = load(theta, k)
        g = fma(splat(weight_decay * decay[k]), parameter, take_gradient(gradients, shards, size, k))
        square = fma(alpha, load(state, size + k), rest * (g * g))
        velocity = fma(momentum, load(state, k), g / (sqrt(square) + epsilon))
        store(state, k, velocity)
        store(state, size + k, square)
        store(theta, k, fma(rate, velocity, parameter))


@kernel
def scale_channels(x, w, y, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE):
    for c in range(C):
        for i in range(H):
            for j in range(W):
                store(y, c * Y_PLANE + i * Y_ROW + j, splat(w[c]) * load(x, c * X_PLANE + i * X_ROW + j))


@kernel
def scale_weight_gradient(x, dy, dw, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE):
    for c in range(C):
        total = splat(0.0)
        for i in range(H):
            for j in range(W):
                total = fma(load(x, c * X_PLANE + i * X_ROW + j), load(dy, c * Y_PLANE + i * Y_ROW + j), total)
        dw[c] += sum_lanes(total)
