"""Augmentation: 16 randomly distorted images packed into one block of float32 vectors.

An output pixel takes its value from a source point, between four pixels. Where the source points lie is computed for
the corners of CELL × CELL pixels alone, the mesh: an affine map, plus random displacements that are smoothed over the
corners (Simard et al. 2003, "Best practices for convolutional neural networks"). Between the corners the points are
interpolated bilinearly, so along a row they advance by a constant step.

Measured for 28×28 pixels, beyond what packing costs anyway: 9 µs a block for an affine map, 11 with elastic distortion,
15 with everything, where LeNet's training takes 85. There is one gather a pixel because the source holds each pixel
beside the one below it: 32 bits are all four neighbours.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.bits import bits, lane_numbers, lane_streams, random_bits, splat_bits, to_float
from lenumba.kernels.vector.simd import INT32, INT_VECTOR, absolute, at, fma, load, splat, store, where_greater

STREAM = 1 << 16  # of the random numbers: dropout's streams are the layers' numbers
# The amounts: what the kernel finds in `amounts`, in this order.
SHIFT, ROTATION, SCALE, SHEAR, ELASTIC, ERASING, ERASING_SIZE, NOISE, BRIGHTNESS, FLIP_ROWS, FLIP_COLUMNS = range(11)
DRAWS = 16  # random numbers of an image before those of the mesh's corners; the pixels' come last
PIXEL_DRAWS = 1 << 24
# Uniform numbers in [−1, 1) have deviation 1/√3; the weights 1, 4, 6, 4, 1 over 16, along rows and columns, leave
# 70/256 of it.
UNIT_DEVIATION = 3**0.5 * 256 / 70
# Four bytes added up are nearly normal: mean 510, variance 4 · (256² − 1) / 12.
BYTES_MEAN, BYTES_DEVIATION = 510.0, 147.800
ONE = 1 << 16  # coordinates are whole multiples of 1/65536 of a pixel


@intrinsic
def to_bits(context, a):
    """Return each lane's whole part as a number of 32 bits."""
    return bits(a), lambda context, builder, sig, args: builder.fptosi(args[0], INT_VECTOR)


@intrinsic
def clamp_bits(context, a, highest):
    """Return each lane, a number with a sign, brought into 0 … highest."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(INT_VECTOR, [INT_VECTOR, INT_VECTOR])
        low = cgutils.get_or_insert_function(builder.module, kind, f"llvm.smax.v{LANES}i32")
        high = cgutils.get_or_insert_function(builder.module, kind, f"llvm.smin.v{LANES}i32")
        zero = ir.Constant(INT_VECTOR, [0] * LANES)
        return builder.call(high, [builder.call(low, [args[0], zero]), args[1]])

    return bits(a, highest), codegen


@intrinsic
def gather_words(context, pointer, index):
    """Return for each lane the 32 bits that begin at 16-bit number `index` behind a pointer."""

    def codegen(context, builder, sig, args):
        pointer, index = args
        places = ir.VectorType(ir.PointerType(), LANES)
        mask = ir.VectorType(ir.IntType(1), LANES)
        start = builder.bitcast(pointer, ir.PointerType())
        first = builder.insert_element(ir.Constant(places, ir.Undefined), start, INT32(0))
        starts = builder.shuffle_vector(first, ir.Constant(places, ir.Undefined), ir.Constant(INT_VECTOR, [0] * LANES))
        where = builder.gep(starts, [index], source_etype=ir.IntType(16))
        kind = ir.FunctionType(INT_VECTOR, [places, INT32, mask, INT_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.gather.v{LANES}i32.v{LANES}p0")
        all_lanes, none = ir.Constant(mask, [1] * LANES), ir.Constant(INT_VECTOR, [0] * LANES)
        return builder.call(function, [where, INT32(2), all_lanes, none])

    return bits(pointer, index), codegen


@intrinsic
def as_pairs(context, pointer):
    """Return a float pointer as one of uint16."""
    pairs = types.CPointer(types.uint16)
    return pairs(pointer), lambda context, builder, sig, args: builder.bitcast(
        args[0], context.get_value_type(sig.return_type)
    )


@kernel
def uniform(low, high, number):
    """Return random number `number` of each lane's stream in [−1, 1)."""
    return fma(to_float(random_bits(low, high, number) >> splat_bits(8)), splat(2.0**-23), splat(-1.0))


@kernel
def cosine_and_sine(angle):
    """Return both of |angle| ≤ π: the Taylor series of an eighth of it, doubled three times."""
    x = angle * splat(0.125)
    q = x * x
    c = fma(q, fma(q, fma(q, splat(-1 / 720), splat(1 / 24)), splat(-0.5)), splat(1.0))
    s = x * fma(q, fma(q, fma(q, splat(-1 / 5040), splat(1 / 120)), splat(-1 / 6)), splat(1.0))
    for _ in range(3):
        c, s = c * c - s * s, splat(2.0) * c * s
    return c, s


@kernel
def smoothed(x, index, stride):
    """Return (1, 4, 6, 4, 1) / 16 times the vectors index, index + stride, … of x."""
    outer = load(x, index) + load(x, index + 4 * stride)
    inner = load(x, index + stride) + load(x, index + 3 * stride)
    middle = load(x, index + 2 * stride) * splat(0.375)
    return fma(outer, splat(0.0625), fma(inner, splat(0.25), middle))


@kernel
def displace(low, high, amounts, mesh, draws, ROWS, COLS):
    """Add smoothed random displacements, of deviation ELASTIC pixels, to mesh[2, ROWS, COLS] (overwrites draws)."""
    n, m = ROWS + 4, COLS + 4  # two corners more on each side, for the smoothing
    scale, corners = splat(amounts[ELASTIC] * (UNIT_DEVIATION / 32768)), ROWS * COLS
    for k in range(n * m):
        word = random_bits(low, high, DRAWS + k)
        store(draws, k, fma(to_float(word >> splat_bits(16)), scale, splat(-32767.5) * scale))
        store(draws, n * m + k, fma(to_float(word & splat_bits(65535)), scale, splat(-32767.5) * scale))
    for axis in range(2):
        for gi in range(n):  # in place: what is overwritten has been read
            for gj in range(COLS):
                k = axis * n * m + gi * m + gj
                store(draws, k, smoothed(draws, k, 1))
        for gi in range(ROWS):
            for gj in range(COLS):
                k = axis * corners + gi * COLS + gj
                store(mesh, k, load(mesh, k) + smoothed(draws, axis * n * m + gi * m + gj, m))


@kernel
def flipped(low, high, number, flips):
    """Return −1 for every other lane at random where `flips` is 1, else 1."""
    return where_greater(splat(0.0), uniform(low, high, number), splat(1.0 - 2.0 * flips), splat(1.0))


@kernel
def affine_mesh(low, high, amounts, mesh, H, W, CELL, ROWS, COLS):
    """Fill mesh[2, ROWS, COLS] with the source points (row, then column) of every CELL-th pixel of H × W."""
    top, left = splat(0.5 * (H - 1)), splat(0.5 * (W - 1))
    down = fma(splat(amounts[SHIFT]), uniform(low, high, 0), top)
    right = fma(splat(amounts[SHIFT]), uniform(low, high, 1), left)
    c, s = cosine_and_sine(splat(amounts[ROTATION]) * uniform(low, high, 2))
    zoom = splat(1.0) / fma(splat(amounts[SCALE]), uniform(low, high, 3), splat(1.0))
    lean = splat(amounts[SHEAR]) * uniform(low, high, 4)
    c, s = c * zoom, s * zoom
    ahead, aside = flipped(low, high, 11, amounts[FLIP_ROWS]), flipped(low, high, 12, amounts[FLIP_COLUMNS])
    for gi in range(ROWS):
        for gj in range(COLS):
            y, x = (splat(gi * CELL) - top) * ahead, (splat(gj * CELL) - left) * aside
            x = fma(lean, y, x)
            store(mesh, gi * COLS + gj, fma(c, y, fma(s, x, down)))
            store(mesh, (ROWS + gi) * COLS + gj, fma(c, x, right - s * y))


@kernel
def erased_rectangle(low, high, amounts, H, W):
    """Return the middle (row, column) of each lane's erased rectangle and half its height and width, −1 for none."""
    erased = fma(splat(0.5), uniform(low, high, 6), splat(0.5))
    middle_y = fma(splat(0.5 * H), uniform(low, high, 7), splat(0.5 * (H - 1)))
    middle_x = fma(splat(0.5 * W), uniform(low, high, 8), splat(0.5 * (W - 1)))
    size = splat(0.25 * amounts[ERASING_SIZE])
    half_h = splat(H) * fma(size, uniform(low, high, 9), size)
    half_w = splat(W) * fma(size, uniform(low, high, 10), size)
    chosen, none = splat(amounts[ERASING]), splat(-1.0)
    return middle_y, middle_x, where_greater(chosen, erased, half_h, none), where_greater(chosen, erased, half_w, none)


@kernel
def pair_rows(images, order, first, count, channel, pairs, C, H, W, ROW):
    """Fill pairs uint16 [16, H + 2, ROW] with each pixel and, in the upper byte, the one below it.

    Around the image there are zeros: a row above and below, a column on the left, two on the right.
    """
    for lane in range(LANES):
        start = (order[first + min(lane, count - 1)] * C + channel) * H * W
        place = lane * (H + 2) * ROW + 1
        for j in range(W):
            pairs[place + j] = types.uint16(images[start + j]) << types.uint16(8)
        for i in range(H - 1):
            for j in range(W):
                upper, lower = images[start + i * W + j], images[start + (i + 1) * W + j]
                pairs[place + (i + 1) * ROW + j] = types.uint16(upper) | (types.uint16(lower) << types.uint16(8))
        for j in range(W):
            pairs[place + H * ROW + j] = images[start + (H - 1) * W + j]


@kernel
def between(mesh, k, COLS, part):
    """Return mesh point k moved by `part` towards the one below it."""
    above = load(mesh, k)
    return fma(part, load(mesh, k + COLS) - above, above)


@kernel
def augment(
    images, labels, order, first, count, scale, shift, x, label, valid, key, amounts, scratch,
    C, H, W, X_ROW, X_PLANE, CELL, ROWS, COLS, ROW, WITH_ELASTIC, WITH_ERASING, WITH_NOISE,
):  # fmt: skip
    """Fill the lanes as :func:`lenumba.kernels.layers.lanes.pack` does, with images distorted at random.

    The random numbers are a function of the epoch's key and the image's place in it, first + lane. `amounts` is
    float32[16], lengths in pixels and angles in radians; `scratch` holds the mesh, the displacements and the source.
    Outside of the image there are zeros.
    """
    for lane in range(LANES):
        label[lane] = labels[order[first + min(lane, count - 1)]]
        valid[lane] = 1.0 if lane < count else 0.0
    low, high = lane_streams(key, first, STREAM)
    mesh = scratch
    draws = at(scratch, 2 * ROWS * COLS * LANES)
    pairs = as_pairs(at(scratch, 2 * (ROWS * COLS + WITH_ELASTIC * (ROWS + 4) * (COLS + 4)) * LANES))
    affine_mesh(low, high, amounts, mesh, H, W, CELL, ROWS, COLS)
    if WITH_ELASTIC:
        displace(low, high, amounts, mesh, draws, ROWS, COLS)
    bright = fma(splat(amounts[BRIGHTNESS]), uniform(low, high, 5), splat(1.0))
    middle_y, middle_x, half_h, half_w = erased_rectangle(low, high, amounts, H, W)
    lanes = lane_numbers() * splat_bits((H + 2) * ROW)
    lowest, rightmost = splat_bits((H + 1) * ONE), splat_bits((W + 1) * ONE)
    one, byte = splat(float(ONE)), splat_bits(255)
    for c in range(C):
        pair_rows(images, order, first, count, c, pairs, C, H, W, ROW)
        a, b = splat(scale[c] / 65536.0) * bright, splat(shift[c])
        grain = splat(amounts[NOISE] * 255.0 * scale[c] / BYTES_DEVIATION)
        for i in range(H):
            part, k = splat((i % CELL) / CELL), (i // CELL) * COLS
            beside = where_greater(absolute(splat(i) - middle_y), half_h, splat(1.0), splat(0.0))
            v1, u1 = between(mesh, k, COLS, part), between(mesh, ROWS * COLS + k, COLS, part)
            for gj in range(COLS - 1):
                v0, u0 = v1, u1
                v1 = between(mesh, k + gj + 1, COLS, part)
                u1 = between(mesh, ROWS * COLS + k + gj + 1, COLS, part)
                # Moved on by the margin of one pixel, and by half a unit of the weights, which are cut off.
                v, u = to_bits(fma(v0, one, splat(ONE + 128.0))), to_bits(fma(u0, one, splat(ONE + 128.0)))
                step = splat(float(ONE) / CELL)
                dv, du = to_bits((v1 - v0) * step), to_bits((u1 - u0) * step)
                for j in range(gj * CELL, min(W, (gj + 1) * CELL)):
                    row, column = clamp_bits(v, lowest), clamp_bits(u, rightmost)
                    v, u = v + dv, u + du
                    place = (row >> splat_bits(16)) * splat_bits(ROW) + (column >> splat_bits(16)) + lanes
                    words = gather_words(pairs, place)
                    down, right = (row >> splat_bits(8)) & byte, (column >> splat_bits(8)) & byte
                    # Two neighbours at once, each in 16 bits: 256 · upper + down · (lower − upper).
                    upper, lower = words & splat_bits(0x00FF00FF), (words >> splat_bits(8)) & splat_bits(0x00FF00FF)
                    mixed = (upper << splat_bits(8)) + (lower - upper) * down
                    before, after = mixed & splat_bits(65535), mixed >> splat_bits(16)
                    value = to_float((before << splat_bits(8)) + (after - before) * right)
                    if WITH_ERASING:
                        away = absolute(splat(j) - middle_x)
                        value = value * where_greater(away, half_w, splat(1.0), beside)
                    value = fma(value, a, b)
                    if WITH_NOISE:
                        word = random_bits(low, high, PIXEL_DRAWS + (c * H + i) * W + j)
                        word = (word & splat_bits(0x00FF00FF)) + ((word >> splat_bits(8)) & splat_bits(0x00FF00FF))
                        total = to_float((word & splat_bits(65535)) + (word >> splat_bits(16)))
                        value = fma(total - splat(BYTES_MEAN), grain, value)
                    store(x, c * X_PLANE + i * X_ROW + j, value)
