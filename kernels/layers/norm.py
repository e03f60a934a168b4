"""Batch normalisation (Ioffe & Szegedy 2015) and the sum of two tensors, for one block of 16 images.

The statistics are those of a whole batch. So every block leaves what it knows in its own memory, `sums` [4, ROW]: mean
and summed squared deviations of each channel, and going back the two sums that the gradient needs. Once all blocks have
come so far, each reads what the others left, `stride` floats apart, and combines it in the blocks' order (Chan, Golub &
LeVeque 1983): neither the number of threads nor large means cost a bit. ROW is C rounded up to whole vectors.
Every product that is added to something is an `fma`: where LLVM may choose, it chooses by the processor.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import at, fma, lanes_below, load, splat, sqrt, store, sum_lanes


@kernel
def images_in(block, batch):
    """Return how many of a batch's images are in a block."""
    return min(LANES, batch - block * LANES)


@kernel
def norm_sums(x, sums, count, C, H, W, X_ROW, X_PLANE, ROW):
    """sums[0, c], sums[1, c] = mean m_c of x[c] over the block's images, and Σ (x[c] − m_c)² (overwrites both)."""
    inside = lanes_below(count)
    for c in range(C):
        total = splat(0.0)
        for i in range(H):
            row = splat(0.0)
            for j in range(W):
                row = row + load(x, c * X_PLANE + i * X_ROW + j)
            total = total + row
        mean = sum_lanes(total * inside) / (count * H * W)
        center, squares = splat(mean), splat(0.0)
        for i in range(H):
            row = splat(0.0)
            for j in range(W):
                deviation = load(x, c * X_PLANE + i * X_ROW + j) - center
                row = fma(deviation, deviation, row)
            squares = squares + row
        sums[c] = mean
        sums[ROW + c] = sum_lanes(squares * inside)


@kernel
def batch_moments(others, stride, batch, running_mean, running_variance, moments, keeps, share, epsilon, AREA, ROW):
    """moments[0], moments[1] = mean and 1/√(variance + ε) of the whole batch, of each channel.

    Where `keeps`, the running statistics move by `share` towards them; the running variance is the unbiased one.
    """
    blocks = (batch + LANES - 1) // LANES
    values = batch * AREA
    for k in range(ROW // LANES):
        mean = splat(0.0)
        for block in range(blocks):
            part = images_in(block, batch) / batch
            mean = fma(splat(part), load(at(others, block * stride), k), mean)
        squares = splat(0.0)
        for block in range(blocks):
            here = at(others, block * stride)
            deviation = load(here, k) - mean
            part = fma(splat(images_in(block, batch) * AREA) * deviation, deviation, load(here, ROW // LANES + k))
            squares = squares + part
        store(moments, k, mean)
        store(moments, ROW // LANES + k, splat(1.0) / sqrt(fma(squares, splat(1.0 / values), splat(epsilon))))
        if keeps:
            before = load(running_mean, k)
            store(running_mean, k, fma(splat(share), mean - before, before))
            before = load(running_variance, k)
            further = fma(squares, splat(1.0 / max(values - 1, 1)), splat(0.0) - before)  # the unbiased one, from there
            store(running_variance, k, fma(splat(share), further, before))


@kernel
def norm_forward(
    x, y, weight, bias, running_mean, running_variance, others, moments, function, stride, block, batch,
    share, epsilon, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE, ROW,
):  # fmt: skip
    """y[c] = function(weight_c · (x[c] − m_c) / √(v_c + ε) + bias_c), m and v of the batch (overwrites y)."""
    batch_moments(
        others, stride, batch, running_mean, running_variance, moments, block == 0, share, epsilon, AREA=H * W, ROW=ROW
    )
    for c in range(C):
        mean, scale, shift = splat(moments[c]), splat(weight[c] * moments[ROW + c]), splat(bias[c])
        for i in range(H):
            for j in range(W):
                value = fma(load(x, c * X_PLANE + i * X_ROW + j) - mean, scale, shift)
                store(y, c * Y_PLANE + i * Y_ROW + j, function(value))


@kernel
def norm_evaluate(
    x, y, weight, bias, running_mean, running_variance, function, epsilon, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE
):  # fmt: skip
    """y[c] as :func:`norm_forward` computes it, m and v the running statistics (overwrites y)."""
    for c in range(C):
        mean, shift = splat(running_mean[c]), splat(bias[c])
        scale = splat(weight[c]) / sqrt(splat(running_variance[c]) + splat(epsilon))
        for i in range(H):
            for j in range(W):
                value = fma(load(x, c * X_PLANE + i * X_ROW + j) - mean, scale, shift)
                store(y, c * Y_PLANE + i * Y_ROW + j, function(value))


@kernel
def norm_backward_sums(
    x, dy, weight, bias, sums, moments, dweight, dbias, function, derivative,
    C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE, ROW,
):  # fmt: skip
    """sums[2, c], sums[3, c] = Σ δ and Σ δ·(x[c] − m_c) with δ = dy · f′(y); they add to dbias and, scaled, dweight.

    y is computed once more, which takes less time than to read it. Lanes without an image have dy = 0.
    """
    for c in range(C):
        mean, total, product = splat(moments[c]), splat(0.0), splat(0.0)
        scale, shift = splat(weight[c] * moments[ROW + c]), splat(bias[c])
        for i in range(H):
            row, other = splat(0.0), splat(0.0)
            for j in range(W):
                deviation = load(x, c * X_PLANE + i * X_ROW + j) - mean
                slope = derivative(function(fma(deviation, scale, shift)))
                above = load(dy, c * Y_PLANE + i * Y_ROW + j)
                row = fma(above, slope, row)
                other = fma(above * slope, deviation, other)
            total = total + row
            product = product + other
        sums[2 * ROW + c] = sum_lanes(total)
        sums[3 * ROW + c] = sum_lanes(product)
        dbias[c] += sums[2 * ROW + c]
        dweight[c] += sums[3 * ROW + c] * moments[ROW + c]


@kernel
def norm_backward(
    x, dy, dx, weight, bias, others, moments, function, derivative, stride, count, batch,
    C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE, ROW,
):  # fmt: skip
    """dx[c] = weight_c/s · (δ − Σδ/n − (x[c] − m_c)/s² · Σ δ·(x[c] − m_c)/n), s = √(v_c + ε), n values in the batch.

    Overwrites dx.
    """
    blocks = (batch + LANES - 1) // LANES
    share, inside = 1.0 / (batch * H * W), lanes_below(count)
    for c in range(C):
        total, product = splat(0.0), splat(0.0)
        for block in range(blocks):
            here = at(others, block * stride)
            total = total + splat(here[2 * ROW + c])
            product = product + splat(here[3 * ROW + c])
        inverse = splat(moments[ROW + c])
        mean, factor = splat(moments[c]), splat(weight[c]) * inverse * inside
        scale, shift = splat(weight[c] * moments[ROW + c]), splat(bias[c])
        total, product = total * splat(-share), product * splat(-share) * inverse * inverse
        for i in range(H):
            for j in range(W):
                pixel = c * X_PLANE + i * X_ROW + j
                deviation = load(x, pixel) - mean
                slope = derivative(function(fma(deviation, scale, shift)))
                centered = fma(load(dy, c * Y_PLANE + i * Y_ROW + j), slope, total)
                store(dx, pixel, fma(deviation, product, centered) * factor)


@kernel
def add(a, b, y, function, piece, C, H, W, A_ROW, A_PLANE, B_ROW, B_PLANE, Y_ROW, Y_PLANE, PIECES):
    """y[c] = function(a[c] + b[c]), in one of PIECES of its rows (overwrites y, which may be a)."""
    for c in range(C):
        for i in range(H * piece // PIECES, H * (piece + 1) // PIECES):
            for j in range(W):
                value = load(a, c * A_PLANE + i * A_ROW + j) + load(b, c * B_PLANE + i * B_ROW + j)
                store(y, c * Y_PLANE + i * Y_ROW + j, function(value))
