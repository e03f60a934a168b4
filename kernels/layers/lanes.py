"""Packing: from 16 uint8 images of the data set to one block of float32 vectors.

Measured for 28×28 pixels: lane by lane 32 µs a block, pixel by pixel 8 µs, 16 × 16 byte transposes 2 µs.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import INT32, INT64, VECTOR, put_vector, splat
from lenumba.kernels.vector.tile import literals

BYTES = ir.VectorType(ir.IntType(8), LANES)


@intrinsic
def image_starts(context, order, first, count, size):
    """Return where the 16 lanes' images start, in bytes; behind the last of `count` images, that one again."""

    def codegen(context, builder, sig, args):
        order, first, count, size = args
        last = builder.sub(count, INT64(1))
        starts = []
        for lane in range(LANES):
            clamped = builder.select(builder.icmp_signed("<", INT64(lane), last), INT64(lane), last)
            sample = builder.load(builder.gep(order, [builder.add(first, clamped)]))
            starts.append(builder.mul(sample, size))
        return context.make_tuple(builder, sig.return_type, starts)

    whole = types.intp
    return types.UniTuple(whole, LANES)(order, whole, whole, whole), codegen


def transposed(builder, rows):
    """Transpose 16 × 16 bytes: four rounds that interleave row k with row k + 8."""
    low = ir.Constant(ir.VectorType(INT32, LANES), [k // 2 + LANES * (k % 2) for k in range(LANES)])
    high = ir.Constant(ir.VectorType(INT32, LANES), [8 + k // 2 + LANES * (k % 2) for k in range(LANES)])
    for _ in range(4):
        pairs = [(rows[k], rows[k + 8]) for k in range(8)]
        rows = [builder.shuffle_vector(*pair, half) for pair in pairs for half in (low, high)]
    return rows


@intrinsic(prefer_literal=True)
def pack_pixels(context, images, starts, pixel, scale, shift, x, index, COUNT):
    """Store pixel · scale + shift of COUNT ≤ 16 neighbouring pixels of the 16 images as vectors from `index` on.

    Reads 16 bytes of each image, whatever COUNT.
    """
    if not (sizes := literals(COUNT)):
        return None

    def codegen(context, builder, sig, args):
        images, starts, pixel, scale, shift, x, index, _ = args
        rows = []
        for start in cgutils.unpack_tuple(builder, starts):
            place = builder.gep(images, [builder.add(start, pixel)])
            rows.append(builder.load(builder.bitcast(place, BYTES.as_pointer())))
            rows[-1].align = 1
        for k, column in enumerate(transposed(builder, rows)[: sizes[0]]):
            value = builder.uitofp(column, VECTOR)
            value = builder.fadd(builder.fmul(value, scale), shift)
            put_vector(builder, value, x, builder.add(index, INT64(k)))
        return context.get_dummy_value()

    whole = types.intp
    return types.void(images, starts, whole, scale, shift, x, whole, COUNT), codegen


@kernel
def pack(images, labels, order, first, count, scale, shift, x, label, valid, C, H, W, X_ROW, X_PLANE, COUNT):
    """Fill the lanes with images number order[first], order[first + 1], … (overwrites x, label, valid).

    images[N, C, H, W] are uint8, with 16 readable bytes behind them, and become pixel · scale[c] + shift[c]. Where the
    block is not full (count < 16), the last image is repeated and `valid` is 0: it adds no loss and no gradient.
    Rows are taken COUNT = min(W, 16) pixels at a time, the last ones once more where COUNT does not divide W.
    """
    for lane in range(LANES):
        label[lane] = labels[order[first + min(lane, count - 1)]]
        valid[lane] = 1.0 if lane < count else 0.0
    starts = image_starts(order, first, count, C * H * W)
    for c in range(C):
        a, b = splat(scale[c]), splat(shift[c])
        for i in range(H):
            for step in range((W + COUNT - 1) // COUNT):
                j = min(step * COUNT, W - COUNT)
                pixel = (c * H + i) * W + j
                pack_pixels(images, starts, pixel, a, b, x, c * X_PLANE + i * X_ROW + j, COUNT)


@kernel
def pack_floats(images, labels, order, first, count, scale, shift, x, label, valid, C, H, W, X_ROW, X_PLANE):
    """Do the same as :func:`pack` with float32 images[N, C, H, W]: tables of measurements, which 8 bits would round."""
    for lane in range(LANES):
        sample = order[first + min(lane, count - 1)]
        label[lane] = labels[sample]
        valid[lane] = 1.0 if lane < count else 0.0
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    value = images[((sample * C + c) * H + i) * W + j] * scale[c] + shift[c]
                    x[(c * X_PLANE + i * X_ROW + j) * LANES + lane] = value
