"""The optimisers' updates, as in PyTorch's torch.optim.

`theta` holds every parameter, each tensor starting at a vector boundary; `first` and `last` number the vectors that
this thread updates. The gradient is the sum over the shards in their order, whatever thread computed them, so the
number of threads never changes a bit. `decay` is 1 for vectors that weight decay applies to (weights), 0 for the
others (biases, frozen layers). `hyper` is this step's row of hyperparameters; what the optimisers share stands at its
end.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import AVERAGE_SHARE, MAX_NORM
from lenumba.kernels.vector.simd import fma, load, splat, sqrt, store, sum_lanes


@kernel
def take_gradient(gradients, shards, size, k):
    """Return the sum of vector k over the shards' gradients and set them to zero for the next batch."""
    total = load(gradients, k)
    store(gradients, k, splat(0.0))
    for shard in range(1, shards):
        total = total + load(gradients, shard * size + k)
        store(gradients, shard * size + k, splat(0.0))
    return total


@kernel
def sgd(theta, state, gradients, decay, hyper, shards, size, first, last, NESTEROV):
    """G += λ·θ; v ← μ·v + g; θ ← θ − η·v, or θ − η·(g + μ·v) with Nesterov's momentum."""
    rate, weight_decay, momentum = splat(-hyper[0]), hyper[1], splat(hyper[2])
    for k in range(first, last):
        g = take_gradient(gradients, shards, size, k)
        parameter = load(theta, k)
        g = fma(splat(weight_decay * decay[k]), parameter, g)
        velocity = fma(momentum, load(state, k), g)
        store(state, k, velocity)
        step = fma(momentum, velocity, g) if NESTEROV else velocity
        store(theta, k, fma(rate, step, parameter))


@kernel
def adam(theta, state, gradients, decay, hyper, shards, size, first, last):
    """Adam (Kingma & Ba 2015) with weight decay in the gradient: g += λ·θ, then as `adamw` without decay."""
    adam_step(theta, state, gradients, decay, hyper, shards, size, first, last, DECOUPLED=0)


@kernel
def adamw(theta, state, gradients, decay, hyper, shards, size, first, last):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    θ ← θ·(1 − η·λ); m ← β₁·m + (1 − β₁)·g; v ← β₂·v + (1 − β₂)·g²;
    θ ← θ − η/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε).
    """
    adam_step(theta, state, gradients, decay, hyper, shards, size, first, last, DECOUPLED=1)


@kernel
def adam_step(theta, state, gradients, decay, hyper, shards, size, first, last, DECOUPLED):
    """Take a step of Adam; weight decay shrinks the parameters (DECOUPLED), or is a part of the gradient."""
    rate, weight_decay, beta1, beta2, epsilon = hyper[0], hyper[1], hyper[2], hyper[3], splat(hyper[4])
    step, root = splat(-rate / hyper[5]), splat(1.0) / splat(hyper[6])
    b1, b2, c1, c2 = splat(beta1), splat(beta2), splat(hyper[7]), splat(hyper[8])
    for k in range(first, last):
        g = take_gradient(gradients, shards, size, k)
        parameter = load(theta, k)
        if not DECOUPLED:
            g = fma(splat(weight_decay * decay[k]), parameter, g)
        m = fma(b1, load(state, k), c1 * g)
        v = fma(b2, load(state, size + k), c2 * (g * g))
        store(state, k, m)
        store(state, size + k, v)
        if DECOUPLED:
            parameter = parameter - splat(rate * weight_decay * decay[k]) * parameter
        store(theta, k, fma(step, m / fma(sqrt(v), root, epsilon), parameter))


@kernel
def add_shards(gradients, squares, shards, size, first, last):
    """Sum the shards' gradients into the first one's and write each vector's sum of squares to float64 squares."""
    for k in range(first, last):
        g = take_gradient(gradients, shards, size, k)
        store(gradients, k, g)
        squares[k] = sum_lanes(g * g)


@kernel
def clip_gradient(gradients, squares, hyper, size, first, last):
    """Scale the first shard's gradient where its norm over all parameters is above hyper[MAX_NORM].

    Every thread adds up all the squares, in their order: cheaper than to meet once more, and the same bits for all.
    """
    total = 0.0
    for k in range(size):
        total += squares[k]
    norm = total**0.5
    if norm > hyper[MAX_NORM]:
        scale = splat(hyper[MAX_NORM] / norm)
        for k in range(first, last):
            store(gradients, k, load(gradients, k) * scale)


@kernel
def average_weights(theta, average, hyper, first, last):
    """Update the exponential moving average: average ← average + hyper[AVERAGE_SHARE] · (θ − average)."""
    share = splat(hyper[AVERAGE_SHARE])
    for k in range(first, last):
        before = load(average, k)
        store(average, k, fma(share, load(theta, k) - before, before))
