"""Register tiles whose lanes are 16 maps of one image, for :mod:`lenumba.kernels.layers.channels`.

A tile has MAPS × ROWS × COLS vectors: MAPS vectors of maps, at ROWS × COLS places. Offsets and strides count floats.
"""

from itertools import product

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import INT64, VECTOR, broadcast, call_llvm
from lenumba.kernels.vector.tile import literals, stepped, tile_of, vector_from, vector_place


@intrinsic(prefer_literal=True)
def bias_tile(context, b, offset, BIAS, MAPS, ROWS, COLS):
    """Return a tile with the 16 floats from b[offset + 16·m] at every place of row m; with zeros where BIAS is 0."""
    if not (sizes := literals(BIAS, MAPS, ROWS, COLS)):
        return None
    maps, places = sizes[1], sizes[2] * sizes[3]

    def codegen(context, builder, sig, args):
        rows = [ir.Constant(VECTOR, None)] * maps
        if sizes[0]:
            rows = [vector_from(builder, args[0], stepped(builder, args[1], INT64(LANES), m)) for m in range(maps)]
        return context.make_tuple(builder, sig.return_type, [row for row in rows for _ in range(places)])

    return tile_of(maps * places)(b, types.intp, BIAS, MAPS, ROWS, COLS), codegen


@intrinsic(prefer_literal=True)
def value_fma(context, tile, w, offset, w_stride, x, index, x_row, x_step, MAPS, ROWS, COLS):
    """Add the vector from w[offset + m·w_stride] times float x[index + i·x_row + j·x_step] to row m, place (i, j)."""
    if not (sizes := literals(MAPS, ROWS, COLS)):
        return None
    maps, rows, cols = sizes

    def codegen(context, builder, sig, args):
        tile, w, offset, w_stride, x, index, x_row, x_step = args[:8]
        sums, weights = cgutils.unpack_tuple(builder, tile), []
        for m in range(maps):
            weights.append(vector_from(builder, w, stepped(builder, offset, w_stride, m)))
        # Place by place: there are more of them than maps, and each value needs a register no longer than for these.
        for k, (i, j) in enumerate(product(range(rows), range(cols))):
            place = stepped(builder, stepped(builder, index, x_row, i), x_step, j)
            value = broadcast(builder, builder.load(builder.gep(x, [place])))
            for m in range(maps):
                number = m * rows * cols + k
                sums[number] = call_llvm(builder, "llvm.fmuladd", weights[m], value, sums[number])
        return context.make_tuple(builder, sig.return_type, sums)

    whole = types.intp
    return tile(tile, w, whole, whole, x, whole, whole, whole, MAPS, ROWS, COLS), codegen


@intrinsic(prefer_literal=True)
def taps_fma(context, tile, w, offset, x, index, COLS, TAPS, STRIDE):
    """Add Σ_v of the vector from w[offset + 16·v] times that from x[index + 16·(j·STRIDE + v)] to column j."""
    if not (sizes := literals(COLS, TAPS, STRIDE)):
        return None
    cols, taps, stride = sizes

    def codegen(context, builder, sig, args):
        tile, w, offset, x, index = args[:5]
        sums = cgutils.unpack_tuple(builder, tile)
        used = sorted({j * stride + v for j in range(cols) for v in range(taps)})
        values = {k: vector_from(builder, x, stepped(builder, index, INT64(LANES), k)) for k in used}
        for v in range(taps):
            weight = vector_from(builder, w, stepped(builder, offset, INT64(LANES), v))
            for j in range(cols):
                sums[j] = call_llvm(builder, "llvm.fmuladd", weight, values[j * stride + v], sums[j])
        return context.make_tuple(builder, sig.return_type, sums)

    whole = types.intp
    return tile(tile, w, whole, x, whole, COLS, TAPS, STRIDE), codegen


@intrinsic(prefer_literal=True)
def store_places(context, y, index, y_plane, y_row, tile, MAPS, ROWS, COLS):
    """Store row m, place (i, j) of a tile as the 16 floats from number index + m·y_plane + i·y_row + 16·j."""
    if not (sizes := literals(MAPS, ROWS, COLS)):
        return None

    def codegen(context, builder, sig, args):
        y, index, y_plane, y_row, tile = args[:5]
        values = cgutils.unpack_tuple(builder, tile)
        for (m, i, j), value in zip(product(*map(range, sizes)), values, strict=True):
            place = stepped(builder, stepped(builder, stepped(builder, index, y_plane, m), y_row, i), INT64(LANES), j)
            builder.store(value, vector_place(builder, y, place)).align = 4
        return context.get_dummy_value()

    whole = types.intp
    return types.void(y, whole, whole, whole, tile, MAPS, ROWS, COLS), codegen
