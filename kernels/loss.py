"""Output activations fused with their losses, for one block of 16 images.

Each kernel reads the last layer's output z[K], writes dz = ∂L/∂z and the probabilities p, and adds to
`result[0]` the summed loss and to `result[1]` the number of right answers. `scale` is 1/m, m the images in the
batch (handout 001: the loss is a mean, so every gradient carries 1/m). `valid` is 0 in the lanes that hold no image.
"""

from lenumba.kernels.activation import exp, log
from lenumba.kernels.jit import kernel
from lenumba.kernels.simd import fma, load, splat, store, sum_lanes, where_equal, where_greater


@kernel
def softmax_cross_entropy(z, p, dz, label, valid, result, scale, smoothing, K):
    """L = −Σ_k t_k · log softmax(z)_k; dz = (softmax(z) − t) · scale (handout 004: δ₂ = S − y).

    t is the one-hot label, smoothed: t_k = (1 − smoothing)·[k = label] + smoothing / K.
    """
    target, mask = load(label, 0), load(valid, 0)
    zero, one = splat(0.0), splat(1.0)
    high = load(z, 0)
    guess = zero
    for k in range(1, K):
        value = load(z, k)
        guess = where_greater(value, high, splat(k), guess)
        high = where_greater(value, high, value, high)
    total = zero
    for k in range(K):
        value = exp(load(z, k) - high)
        store(p, k, value)
        total = total + value
    inverse = one / total
    on, off = splat(1.0 - smoothing), splat(smoothing / K)
    picked, mean = zero, zero
    step = mask * splat(scale)
    for k in range(K):
        hot = where_equal(target, splat(k), on, zero)
        share = load(p, k) * inverse
        store(p, k, share)
        store(dz, k, (share - hot - off) * step)
        logit = load(z, k) - high
        picked = fma(hot, logit, picked)
        mean = fma(off, logit, mean)
    loss = log(total) - picked - mean
    result[0] += sum_lanes(where_equal(mask, zero, zero, loss))
    result[1] += sum_lanes(where_equal(guess, target, mask, zero))
