"""Activation functions on vectors, their derivatives in terms of y = f(x) or else of x, and vector exp and log.

exp, log and tanh are polynomials in plain arithmetic (after Cephes' single-precision functions), so that their bits
do not depend on a mathematics library; errors are below 2 units in the last place.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.simd import (
    absolute,
    exponent_of,
    fma,
    fraction_of,
    load,
    round_even,
    splat,
    store,
    times_power_of_two,
    where_greater,
)


@kernel
def exp(x):
    """eˣ: x = n·ln 2 + r with |r| ≤ ½ ln 2, a polynomial for eʳ, and n into the exponent. Clamped to ±87."""
    high, low = splat(87.0), splat(-87.0)
    x = where_greater(x, high, high, x)
    x = where_greater(low, x, low, x)
    n = round_even(x * splat(1.44269504088896341))
    r = fma(n, splat(-0.693359375), x)
    r = fma(n, splat(2.12194440e-4), r)
    p = fma(splat(1.9875691500e-4), r, splat(1.3981999507e-3))
    p = fma(p, r, splat(8.3334519073e-3))
    p = fma(p, r, splat(4.1665795894e-2))
    p = fma(p, r, splat(1.6666665459e-1))
    p = fma(p, r, splat(5.0000001201e-1))
    p = fma(p, r * r, r) + splat(1.0)
    return times_power_of_two(p, n)


@kernel
def log(x):
    """Natural logarithm of positive normal x: x = f·2ᵉ with √½ ≤ f < √2, a polynomial for ln f, plus e·ln 2."""
    e, f = exponent_of(x), fraction_of(x)
    root = splat(0.707106781186547524)
    e = where_greater(root, f, e - splat(1.0), e)
    f = where_greater(root, f, f + f, f) - splat(1.0)
    p = fma(splat(7.0376836292e-2), f, splat(-1.1514610310e-1))
    p = fma(p, f, splat(1.1676998740e-1))
    p = fma(p, f, splat(-1.2420140846e-1))
    p = fma(p, f, splat(1.4249322787e-1))
    p = fma(p, f, splat(-1.6668057665e-1))
    p = fma(p, f, splat(2.0000714765e-1))
    p = fma(p, f, splat(-2.4999993993e-1))
    p = fma(p, f, splat(3.3333331174e-1))
    square = f * f
    p = p * f * square
    p = fma(e, splat(-2.12194440e-4), p)
    p = fma(square, splat(-0.5), p)
    return fma(e, splat(0.693359375), f + p)


@kernel
def none(x):
    """X itself: no activation."""
    return x


@kernel
def none_derivative(y):
    """1."""
    return splat(1.0)


@kernel
def relu(x):
    """max(x, 0); NaN stays NaN, so that divergence is seen."""
    zero = splat(0.0)
    return where_greater(zero, x, zero, x)


@kernel
def relu_derivative(y):
    """1 where y > 0, else 0 (also at 0)."""
    return where_greater(y, splat(0.0), splat(1.0), splat(0.0))


@kernel
def leaky_relu(x):
    """X where x > 0, else x / 100."""
    return where_greater(x, splat(0.0), x, x * splat(0.01))


@kernel
def leaky_relu_derivative(y):
    """1 where y > 0, else 0.01."""
    return where_greater(y, splat(0.0), splat(1.0), splat(0.01))


@kernel
def relu6(x):
    """min(max(x, 0), 6); NaN stays NaN."""
    six, positive = splat(6.0), relu(x)
    return where_greater(positive, six, six, positive)


@kernel
def relu6_derivative(y):
    """1 where 0 < y < 6, else 0."""
    return where_greater(splat(6.0), y, relu_derivative(y), splat(0.0))


@kernel
def tanh(x):
    """Tanh x: a polynomial for |x| < 0.625, else 1 − 2 / (e²|x| + 1) with the sign of x."""
    one, zero = splat(1.0), splat(0.0)
    size = absolute(x)
    large = one - splat(2.0) / (exp(size + size) + one)
    large = where_greater(zero, x, zero - large, large)
    z = x * x
    p = fma(splat(-5.70498872745e-3), z, splat(2.06390887954e-2))
    p = fma(p, z, splat(-5.37397155531e-2))
    p = fma(p, z, splat(1.33314422036e-1))
    p = fma(p, z, splat(-3.33332819422e-1))
    small = fma(p * z, x, x)
    return where_greater(size, splat(0.625), large, small)


@kernel
def tanh_derivative(y):
    """1 − y²."""
    return splat(1.0) - y * y


@kernel
def sigmoid(x):
    """1 / (1 + e⁻ˣ)."""
    one = splat(1.0)
    return one / (one + exp(splat(0.0) - x))


@kernel
def sigmoid_derivative(y):
    """Y · (1 − y)."""
    return y * (splat(1.0) - y)


@kernel
def silu(x):
    """X · σ(x) (Elfwing et al. 2018, "Sigmoid-weighted linear units")."""
    return x * sigmoid(x)


@kernel
def silu_derivative(x):
    """σ(x) · (1 + x · (1 − σ(x)))."""
    one, s = splat(1.0), sigmoid(x)
    return s * fma(x, one - s, one)


@kernel
def hard_swish(x):
    """X · min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, "Searching for MobileNetV3")."""
    return x * relu6(x + splat(3.0)) * splat(1.0 / 6.0)


@kernel
def hard_swish_derivative(x):
    """0 where x ≤ −3, 1 where x ≥ 3, else x / 3 + ½."""
    one, three = splat(1.0), splat(3.0)
    slope = where_greater(three, x, fma(x, splat(1.0 / 3.0), splat(0.5)), one)
    return where_greater(x, splat(-3.0), slope, splat(0.0))


@kernel
def activation_forward(x, y, function, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE):
    """y[c, i, j] = function(x[c, i, j]) (overwrites y, which may be x)."""
    for c in range(C):
        for i in range(H):
            for j in range(W):
                value = function(load(x, c * X_PLANE + i * X_ROW + j))
                store(y, c * Y_PLANE + i * Y_ROW + j, value)


@kernel
def activation_backward(y, dy, dx, derivative, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE):
    """dx[c, i, j] = dy[c, i, j] · f′, with f′ computed from y = f(x) (overwrites dx, which may be dy)."""
    for c in range(C):
        for i in range(H):
            for j in range(W):
                place = c * Y_PLANE + i * Y_ROW + j
                store(dx, c * X_PLANE + i * X_ROW + j, load(dy, place) * derivative(load(y, place)))


@kernel
def activation_backward_of_input(x, dy, dx, derivative, C, H, W, X_ROW, X_PLANE, Y_ROW, Y_PLANE):
    """dx[c, i, j] = dy[c, i, j] · f′(x[c, i, j]) (overwrites dx, which may be dy)."""
    for c in range(C):
        for i in range(H):
            for j in range(W):
                place = c * X_PLANE + i * X_ROW + j
                store(dx, place, load(dy, c * Y_PLANE + i * Y_ROW + j) * derivative(load(x, place)))
