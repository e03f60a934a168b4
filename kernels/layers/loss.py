"""Losses, fused with the output activations they go with, for one block of 16 images.

Each kernel reads the last layer's output z[K], writes dz = ∂L/∂z and the network's outputs p, and adds to
`result[0]` the summed loss and to `result[1]` the number of right answers. `scale` is 1/m, m the images in the
batch (handout 001: the loss is a mean, so every gradient carries 1/m). `valid` is 0 in the lanes that hold no image,
else 1, or what that image's loss and gradient count (:mod:`lenumba.kernels.layers.weights`).

With K > 1 outputs the target is the one-hot label and the answer the largest output. With one output the target is
the label as a number and the answer is 1 where the output is at least ½, else 0. Two kernels at the end take a target
of each output instead, target[K].
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.layers.activation import exp, log, relu
from lenumba.kernels.vector.simd import absolute, fma, load, splat, store, sum_lanes, where_equal, where_greater


@kernel
def largest(z, K):
    """Return the largest of z[K] and its number, the first of equals."""
    high, number = load(z, 0), splat(0.0)
    for k in range(1, K):
        value = load(z, k)
        number = where_greater(value, high, splat(k), number)
        high = where_greater(value, high, value, high)
    return high, number


@kernel
def target_of(label, k, K):
    """Return output k's target: the label itself for a single output, else 1 where the label is k."""
    if K == 1:
        return label
    return where_equal(label, splat(k), splat(1.0), splat(0.0))


@kernel
def answer_of(p, K):
    """Return the class that outputs p[K] stand for."""
    if K == 1:
        return where_greater(splat(0.5), load(p, 0), splat(0.0), splat(1.0))
    return largest(p, K)[1]


@kernel
def keep_largest(p, answer, K):
    """Make p[answer] the only largest of p[K], where rounding made others as large: all of large logits, and of −large.

    What it moves, it moves by two units in the last place: answers can be read off the outputs.
    """
    top, tiny = splat(0.0), splat(2.0**-126)
    for k in range(K):
        top = where_equal(answer, splat(k), load(p, k), top)
    top = where_greater(tiny, top, tiny, top)
    below = top * splat(1.0 - 2.0**-23)
    for k in range(K):
        share = load(p, k)
        store(p, k, where_equal(answer, splat(k), top, where_greater(top, share, share, below)))


@kernel
def add_result(result, loss, answer, label, mask):
    """Add up the losses, as much as they count, and the right answers of the lanes that hold an image."""
    zero = splat(0.0)
    result[0] += sum_lanes(where_equal(mask, zero, zero, loss * mask))
    result[1] += sum_lanes(where_equal(answer, label, where_equal(mask, zero, zero, splat(1.0)), zero))


@kernel
def softmax_cross_entropy(z, p, dz, label, valid, result, scale, smoothing, K):
    """L = −Σ_k t_k · log softmax(z)_k; dz = (softmax(z) − t) · scale (handout 004: δ₂ = S − y).

    t is the one-hot label, smoothed: t_k = (1 − smoothing)·[k = label] + smoothing / K.
    """
    target, mask = load(label, 0), load(valid, 0)
    zero, one = splat(0.0), splat(1.0)
    high, guess = largest(z, K)
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
        logit = load(z, k) - high
        share = load(p, k) * inverse
        store(p, k, share)
        store(dz, k, (share - hot - off) * step)
        picked = fma(hot, logit, picked)
        mean = fma(off, logit, mean)
    add_result(result, log(total) - picked - mean, guess, target, mask)


@kernel
def sigmoid_term(z, p, dz, k, t, step):
    """Return output k's loss for the target t; store σ(z) and (σ(z) − t) · step.

    Written as max(z, 0) − z·t + log(1 + e^−|z|), nothing overflows and no logarithm of 0 is taken.
    """
    zero, one = splat(0.0), splat(1.0)
    logit = load(z, k)
    small = exp(zero - absolute(logit))
    share = one / (one + small)
    share = where_greater(zero, logit, small * share, share)
    store(p, k, share)
    store(dz, k, (share - t) * step)
    return relu(logit) - logit * t + log(one + small)


@kernel
def squared_term(z, p, dz, k, t, loss, step):
    """Return the loss with output k's square (z − t)² added; store z and (z − t) · step."""
    value = load(z, k)
    difference = value - t
    store(p, k, value)
    store(dz, k, difference * step)
    return fma(difference, difference, loss)


@kernel
def sigmoid_cross_entropy(z, p, dz, label, valid, result, scale, smoothing, K):
    """L = mean over k of −t·log σ(z) − (1 − t)·log(1 − σ(z)); dz = (σ(z) − t) · scale / K (handout 000: a − y).

    t is the target y, smoothed: t = (1 − smoothing)·y + smoothing / 2.
    """
    target, mask = load(label, 0), load(valid, 0)
    on, off = splat(1.0 - smoothing), splat(0.5 * smoothing)
    step = mask * splat(scale / K)
    loss = splat(0.0)
    for k in range(K):
        loss = loss + sigmoid_term(z, p, dz, k, fma(on, target_of(target, k, K), off), step)
    if K == 1:
        guess = answer_of(p, K)
    else:  # the largest logit
        guess = largest(z, K)[1]
        keep_largest(p, guess, K)
    add_result(result, loss * splat(1.0 / K), guess, target, mask)


@kernel
def squared_error(z, p, dz, label, valid, result, scale, smoothing, K):
    """L = mean over k of (z_k − t_k)²; dz = 2 · (z − t) · scale / K. There is no label smoothing."""
    target, mask = load(label, 0), load(valid, 0)
    step = mask * splat(2.0 * scale / K)
    loss = splat(0.0)
    for k in range(K):
        loss = squared_term(z, p, dz, k, target_of(target, k, K), loss, step)
    add_result(result, loss * splat(1.0 / K), answer_of(p, K), target, mask)


@kernel
def multilabel_cross_entropy(z, p, dz, target, valid, result, scale, smoothing, K):
    """Do the same as :func:`sigmoid_cross_entropy` with a label 0 or 1 of each output, target[K].

    An answer is right where every output is on the side of ½ that its label is on.
    """
    mask, half, one = load(valid, 0), splat(0.5), splat(1.0)
    on, off = splat(1.0 - smoothing), splat(0.5 * smoothing)
    step = mask * splat(scale / K)
    loss, wrong = splat(0.0), splat(0.0)
    for k in range(K):
        label = load(target, k)
        loss = loss + sigmoid_term(z, p, dz, k, fma(on, label, off), step)
        wrong = where_equal(where_greater(half, load(p, k), splat(0.0), one), label, wrong, one)
    add_result(result, loss * splat(1.0 / K), wrong, splat(0.0), mask)


@kernel
def regression_squared_error(z, p, dz, target, valid, result, scale, smoothing, K):
    """Do the same as :func:`squared_error` with a number for each output, target[K]; no answer is right or wrong."""
    mask = load(valid, 0)
    step = mask * splat(2.0 * scale / K)
    loss = splat(0.0)
    for k in range(K):
        loss = squared_term(z, p, dz, k, load(target, k), loss, step)
    add_result(result, loss * splat(1.0 / K), splat(0.0), splat(1.0), mask)
