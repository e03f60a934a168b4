"""Kernels that write one digit: random draws, the pen's path, and its ink.

Only + − × ÷ and square roots are used, in float64, so that an image does not depend on the machine's libm.
Coordinates are (x, y) with y pointing down: glyphs live in the unit square, images in pixels.
"""

import math

import numpy as np

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.digits.digits import POINTS, SIDE, STEPS

BOX = 20.0  # ink is fitted into a central box of this many pixels, as in MNIST
SMOOTH = 1.0  # kinds of control points; 0 starts a stroke, 2 is a corner or an end, −1 fills the table
WAVES = 3

# Which draws of an image's random stream decide what. Every decision keeps its numbers, whatever others use.
STYLE, ROTATION, SHEAR, ASPECT, SIZE = 0, 1, 2, 3, 4
RADIUS, EDGE, CARE, INK = 5, 6, 7, 8
SHIFT, PRESSURE = 10, 12  # two each
JITTER = 16  # two per control point
WAVE = JITTER + 2 * POINTS  # five per wave
NOISE = 128  # one per pixel

GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
SHIFT_11, SHIFT_16, SHIFT_27, SHIFT_30 = np.uint64(11), np.uint64(16), np.uint64(27), np.uint64(30)
SHIFT_31, SHIFT_32, SHIFT_48, LOW_16 = np.uint64(31), np.uint64(32), np.uint64(48), np.uint64(0xFFFF)


@kernel
def mix(bits):
    """Scramble 64 bits: the finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014; Stafford's Mix13)."""
    bits = (bits ^ (bits >> SHIFT_30)) * MIX_1
    bits = (bits ^ (bits >> SHIFT_27)) * MIX_2
    return bits ^ (bits >> SHIFT_31)


@kernel
def stream(seed, number):
    """Return the state from which stream `number` of `seed` counts its draws."""
    return mix(mix(np.uint64(seed) + GAMMA) ^ (np.uint64(number) * GAMMA))


@kernel
def draw_bits(state, draw):
    """Return 64 random bits: output number `draw` of SplitMix64 started at `state`."""
    return mix(state + np.uint64(draw + 1) * GAMMA)


@kernel
def uniform(state, draw):
    """Return a number from [0, 1)."""
    return np.float64(draw_bits(state, draw) >> SHIFT_11) * 1.1102230246251565e-16


@kernel
def normal(state, draw):
    """Return a number of mean 0 and variance 1: the sum of four uniform ones, so it stays within ±3.47."""
    bits = draw_bits(state, draw)
    total = (bits & LOW_16) + ((bits >> SHIFT_16) & LOW_16) + ((bits >> SHIFT_32) & LOW_16) + (bits >> SHIFT_48)
    return (np.float64(total) - 131070.0) * (1.7320508075688772 / 65536.0)


@kernel
def wave(turns):
    """Return a smooth stand-in for sin(2π·turns), two parabolas per turn; `turns` > −64."""
    turns += 64.0
    turns -= np.float64(np.int64(turns))
    if turns < 0.5:
        return 16.0 * turns * (0.5 - turns)
    return 16.0 * (turns - 0.5) * (turns - 1.0)


@kernel
def shuffle_ten(order, state):
    """Write a random permutation of 0 … 9 into order [10]."""
    for i in range(10):
        j = np.int64(uniform(state, i) * (i + 1))
        order[i] = order[j]
        order[j] = i


@kernel
def place_points(points, glyphs, first, state):
    """Jitter a glyph's control points, then slant, stretch and rotate it.

    Parameters
    ----------
    points : f64 [POINTS, 3]
        Receives x, y and kind.
    glyphs : f64
        x, y and kind of the control points as designed, from glyphs[first] on.

    Returns
    -------
    int
        Number of points.
    """
    care = 0.010 + 0.020 * uniform(state, CARE)
    shear = 0.13 + 0.15 * normal(state, SHEAR)  # most hands lean to the right
    stretch = 0.97 + 0.11 * normal(state, ASPECT)
    # The tangent of half the angle gives sine and cosine without a libm.
    half = 0.075 * normal(state, ROTATION)
    cosine = (1.0 - half * half) / (1.0 + half * half)
    sine = 2.0 * half / (1.0 + half * half)
    count = 0
    while count < POINTS and glyphs[first + 3 * count + 2] >= 0.0:
        x = glyphs[first + 3 * count] - 0.5 + care * normal(state, JITTER + 2 * count)
        y = glyphs[first + 3 * count + 1] - 0.5 + care * normal(state, JITTER + 2 * count + 1)
        x = stretch * x - shear * y
        points[3 * count] = cosine * x - sine * y
        points[3 * count + 1] = sine * x + cosine * y
        points[3 * count + 2] = glyphs[first + 3 * count + 2]
        count += 1
    return count


@kernel
def spline(before, start, end, after, t):
    """Return the Catmull–Rom spline between `start` (t = 0) and `end` (t = 1)."""
    linear = end - before
    square = 2.0 * before - 5.0 * start + 4.0 * end - after
    cube = 3.0 * (start - end) + after - before
    return start + 0.5 * t * (linear + t * (square + t * cube))


@kernel
def bend(path, length, state):
    """Distort a path smoothly: each of a few low-frequency waves displaces x and y."""
    for i in range(length):
        x, y = path[3 * i], path[3 * i + 1]
        dx = dy = 0.0
        for w in range(WAVES):
            first = WAVE + 5 * w
            frequency_x = 1.6 * uniform(state, first) - 0.8
            frequency_y = 1.6 * uniform(state, first + 1) - 0.8
            height = wave(frequency_x * x + frequency_y * y + uniform(state, first + 2))
            dx += 0.042 * normal(state, first + 3) * height
            dy += 0.042 * normal(state, first + 4) * height
        path[3 * i] = x + dx
        path[3 * i + 1] = y + dy


@kernel
def trace(path, points, count):
    """Sample the splines through the control points.

    Parameters
    ----------
    path : f64 [POINTS · STEPS, 3]
        Receives x, y, and whether the pen drew its way here (1) or was lifted (0).

    Returns
    -------
    int
        Number of samples.
    """
    length = 0
    for i in range(count):
        if points[3 * i + 2] == 0.0:
            path[3 * length], path[3 * length + 1] = points[3 * i], points[3 * i + 1]
            path[3 * length + 2] = 0.0
            length += 1
        if i + 1 == count or points[3 * i + 5] == 0.0:
            continue
        for step in range(1, STEPS + 1):
            for axis in range(2):
                start, end = points[3 * i + axis], points[3 * i + 3 + axis]
                before, after = 2.0 * start - end, 2.0 * end - start  # corners and ends: straight on
                if points[3 * i + 2] == SMOOTH:
                    before = points[3 * i - 3 + axis]
                if points[3 * i + 5] == SMOOTH:
                    after = points[3 * i + 6 + axis]
                path[3 * length + axis] = spline(before, start, end, after, step / STEPS)
            path[3 * length + 2] = 1.0
            length += 1
    return length


@kernel
def fit(path, length, extent, state):
    """Scale a path so that its longer side measures `extent` pixels and place it near the image's centre."""
    left = right = path[0]
    top = bottom = path[1]
    for i in range(1, length):
        left, right = min(left, path[3 * i]), max(right, path[3 * i])
        top, bottom = min(top, path[3 * i + 1]), max(bottom, path[3 * i + 1])
    scale = extent / max(right - left, bottom - top)
    centre_x = 0.5 * (SIDE - 1) + 0.7 * normal(state, SHIFT)
    centre_y = 0.5 * (SIDE - 1) + 0.7 * normal(state, SHIFT + 1)
    for i in range(length):
        path[3 * i] = centre_x + scale * (path[3 * i] - 0.5 * (left + right))
        path[3 * i + 1] = centre_y + scale * (path[3 * i + 1] - 0.5 * (top + bottom))


@kernel
def stroke(depth, x0, y0, x1, y1, radius):
    """Raise depth [28, 28], how far each pixel lies inside the ink, to what one line segment gives."""
    reach = radius + 1.5
    first_column = np.int64(max(min(x0, x1) - reach, 0.0))
    first_row = np.int64(max(min(y0, y1) - reach, 0.0))
    last_column = np.int64(min(max(x0, x1) + reach, SIDE - 1.0))
    last_row = np.int64(min(max(y0, y1) + reach, SIDE - 1.0))
    dx, dy = x1 - x0, y1 - y0
    inverse = 1.0 / (dx * dx + dy * dy + 1e-12)  # a segment may be a point
    for row in range(first_row, last_row + 1):
        for column in range(first_column, last_column + 1):
            x, y = column - x0, row - y0
            along = min(max((x * dx + y * dy) * inverse, 0.0), 1.0)
            x -= along * dx
            y -= along * dy
            pixel = SIDE * row + column
            depth[pixel] = max(depth[pixel], radius - math.sqrt(x * x + y * y))


@kernel
def write(depth, path, length, radius, state):
    """Ink a path: fill depth [28, 28], how far each pixel lies inside the ink."""
    for pixel in range(SIDE * SIDE):
        depth[pixel] = -SIDE
    phase, pace = uniform(state, PRESSURE), 0.03 * uniform(state, PRESSURE + 1)
    for i in range(1, length):
        if path[3 * i + 2] == 1.0:
            width = radius * (1.0 + 0.14 * wave(phase + pace * i))  # the pen's pressure varies
            stroke(depth, path[3 * i - 3], path[3 * i - 2], path[3 * i], path[3 * i + 1], width)


@kernel
def develop(images, first, depth, state):
    """Turn depth [28, 28] into grey values at images[first:]: a soft edge, and ink that is not quite even."""
    softness = 1.0 / (1.0 + 0.7 * uniform(state, EDGE))
    unevenness = 0.05 + 0.25 * uniform(state, INK)
    for pixel in range(SIDE * SIDE):
        value = min(depth[pixel] * softness + 0.5, 1.0)
        if value <= 0.0:
            images[first + pixel] = 0
        else:
            value *= 1.0 - unevenness * uniform(state, NOISE + pixel)
            images[first + pixel] = np.uint8(np.int64(255.0 * value + 0.5))


@kernel
def draw(images, labels, count, seed, glyphs, styles, order, points, path, depth):
    """Draw digits.

    Parameters
    ----------
    images : u8 [count, 28, 28]
    labels : i64 [count]
    glyphs : f64 [glyphs, POINTS, 3]
        Control points: x, y, kind.
    styles : i64 [11]
        Digit d has the glyphs styles[d] … styles[d + 1] − 1.
    order, points, path, depth : i64 [10], f64 [POINTS, 3], f64 [POINTS · STEPS, 3], f64 [28, 28]
        Scratch.
    """
    for i in range(count):
        # Every ten successive images hold each digit once, in a random order.
        if i % 10 == 0:
            shuffle_ten(order, stream(seed, -1 - i))
        digit = order[i % 10]
        labels[i] = digit
        state = stream(seed, i)
        glyph = styles[digit] + np.int64(uniform(state, STYLE) * (styles[digit + 1] - styles[digit]))
        length = trace(path, points, place_points(points, glyphs, 3 * POINTS * glyph, state))
        bend(path, length, state)
        radius = 0.85 + 0.75 * uniform(state, RADIUS)
        extent = (BOX - 2.0 * radius) * (0.84 + 0.16 * uniform(state, SIZE))
        fit(path, length, extent, state)
        write(depth, path, length, radius, state)
        develop(images, SIDE * SIDE * i, depth, state)
