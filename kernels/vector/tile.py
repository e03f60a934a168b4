"""Register tiles: tuples of vectors that LLVM keeps in registers through a whole inner loop.

A tile has `MAPS` × `COLS` vectors, one row for each map. Capital arguments are whole numbers written out in the
call (compile-time constants). Offsets and strides count floats; vectors may lie at any of them.

Measured for the convolution's inner loop, GFLOP/s of one core: plain loops in this layout 2–15, a stack array of
vectors 101, this tuple 102 (and it compiles fastest), near the FMA peak of 118.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import INT64, VECTOR, broadcast, call_llvm, lane_sum, lane_sums, vector


def literals(*arguments) -> list[int] | None:
    """Return the values of compile-time constants, or None where one is not a constant (yet)."""
    if all(isinstance(argument, types.IntegerLiteral) for argument in arguments):
        return [argument.literal_value for argument in arguments]
    return None


def tile_of(size: int) -> types.UniTuple:
    """Return the type of a tile of `size` vectors."""
    return types.UniTuple(vector, size)


def vector_place(builder, pointer, offset):
    """Return the address of the vector that starts at float number `offset`."""
    return builder.bitcast(builder.gep(pointer, [offset]), VECTOR.as_pointer())


def vector_from(builder, pointer, offset):
    """Load the vector that starts at float number `offset`."""
    loaded = builder.load(vector_place(builder, pointer, offset))
    loaded.align = 4  # the same speed as an aligned load where it is aligned, which blocks of 16 images are
    return loaded


def stepped(builder, offset, stride, index: int):
    """Return offset + index·stride."""
    return builder.add(offset, builder.mul(stride, INT64(index)))


def scalar_at(builder, pointer, offset, stride, index: int):
    """Load float number offset + index·stride behind a pointer and fill a vector with it."""
    return broadcast(builder, builder.load(builder.gep(pointer, [stepped(builder, offset, stride, index)])))


@intrinsic(prefer_literal=True)
def zero_tile(context, MAPS, COLS):
    """Return a tile of zeros."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    size = sizes[0] * sizes[1]

    def codegen(context, builder, sig, args):
        return context.make_tuple(builder, sig.return_type, [ir.Constant(VECTOR, None)] * size)

    return tile_of(size)(MAPS, COLS), codegen


@intrinsic(prefer_literal=True)
def splat_rows(context, pointer, offset, MAPS, COLS):
    """Return a tile whose row m is filled with float number offset + m: a bias for each map."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    maps, cols = sizes

    def codegen(context, builder, sig, args):
        rows = [scalar_at(builder, args[0], args[1], INT64(1), m) for m in range(maps)]
        return context.make_tuple(builder, sig.return_type, [row for row in rows for _ in range(cols)])

    return tile_of(maps * cols)(pointer, types.intp, MAPS, COLS), codegen


@intrinsic(prefer_literal=True)
def store_tile(context, pointer, offset, stride, tile, MAPS, COLS):
    """Store row m, column j of a tile as the 16 floats from number offset + m·stride + 16·j."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    cols = sizes[1]

    def codegen(context, builder, sig, args):
        pointer, offset, stride, tile = args[:4]
        for k, value in enumerate(cgutils.unpack_tuple(builder, tile)):
            row = stepped(builder, offset, stride, k // cols)
            builder.store(value, vector_place(builder, pointer, builder.add(row, INT64(LANES * (k % cols))))).align = 4
        return context.get_dummy_value()

    return types.void(pointer, types.intp, types.intp, tile, MAPS, COLS), codegen


@intrinsic(prefer_literal=True)
def load_tile(context, pointer, offset, stride, MAPS, COLS):
    """Return the tile whose row m, column j is the 16 floats from number offset + m·stride + 16·j."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    maps, cols = sizes

    def codegen(context, builder, sig, args):
        pointer, offset, stride = args[:3]
        tile = []
        for m in range(maps):
            row = stepped(builder, offset, stride, m)
            tile += [vector_from(builder, pointer, builder.add(row, INT64(LANES * j))) for j in range(cols)]
        return context.make_tuple(builder, sig.return_type, tile)

    return tile_of(maps * cols)(pointer, types.intp, types.intp, MAPS, COLS), codegen


def products_added(builder, tile, rows, columns) -> list:
    """Add row · column to each vector of a tile; a row's vector is loaded just before it is used."""
    before = iter(cgutils.unpack_tuple(builder, tile))
    return [call_llvm(builder, "llvm.fmuladd", row, column, next(before)) for row in rows for column in columns]


@intrinsic(prefer_literal=True)
def outer_fma(context, tile, w, offset, w_stride, x, index, x_stride, MAPS, COLS):
    """Add float w[offset + m·w_stride] times the vector from x[index + j·x_stride] to row m, column j."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    maps, cols = sizes

    def codegen(context, builder, sig, args):
        tile, w, offset, w_stride, x, index, x_stride = args[:7]
        rows = (scalar_at(builder, w, offset, w_stride, m) for m in range(maps))
        columns = [vector_from(builder, x, stepped(builder, index, x_stride, j)) for j in range(cols)]
        return context.make_tuple(builder, sig.return_type, products_added(builder, tile, rows, columns))

    whole = types.intp
    return tile(tile, w, whole, whole, x, whole, whole, MAPS, COLS), codegen


@intrinsic(prefer_literal=True)
def points_fma(context, tile, w, offset, w_stride, w_step, x, index, x_stride, MAPS, COLS):
    """Add float w[offset + m·w_stride + j·w_step] times the vector from x[index + j·x_stride] to row m, column j."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    cols = sizes[1]

    def codegen(context, builder, sig, args):
        tile, w, offset, w_stride, w_step, x, index, x_stride = args[:8]
        columns, found = [vector_from(builder, x, stepped(builder, index, x_stride, j)) for j in range(cols)], []
        for k, value in enumerate(cgutils.unpack_tuple(builder, tile)):
            weight = scalar_at(builder, w, stepped(builder, offset, w_stride, k // cols), w_step, k % cols)
            found.append(call_llvm(builder, "llvm.fmuladd", weight, columns[k % cols], value))
        return context.make_tuple(builder, sig.return_type, found)

    whole = types.intp
    return tile(tile, w, whole, whole, whole, x, whole, whole, MAPS, COLS), codegen


@intrinsic(prefer_literal=True)
def product_fma(context, tile, a, a_index, a_stride, b, b_index, b_stride, MAPS, COLS):
    """Add the vector from a[a_index + m·a_stride] times that from b[b_index + j·b_stride] to row m, column j."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    maps, cols = sizes

    def codegen(context, builder, sig, args):
        tile, a, a_index, a_stride, b, b_index, b_stride = args[:7]
        rows = (vector_from(builder, a, stepped(builder, a_index, a_stride, m)) for m in range(maps))
        columns = [vector_from(builder, b, stepped(builder, b_index, b_stride, j)) for j in range(cols)]
        return context.make_tuple(builder, sig.return_type, products_added(builder, tile, rows, columns))

    whole = types.intp
    return tile(tile, a, whole, whole, b, whole, whole, MAPS, COLS), codegen


@intrinsic(prefer_literal=True)
def window_fma(context, tile, dy, place, x, pixel, x_row, KH, KW):
    """Add the vector from dy[place] times that from x[pixel + u·x_row + 16·v] to row u, column v: a whole window."""
    if not (sizes := literals(KH, KW)):
        return None

    def codegen(context, builder, sig, args):
        tile, dy, place, x, pixel, x_row = args[:6]
        slope, before = vector_from(builder, dy, place), iter(cgutils.unpack_tuple(builder, tile))
        after = []
        for u in range(sizes[0]):
            row = stepped(builder, pixel, x_row, u)
            for v in range(sizes[1]):
                value = vector_from(builder, x, builder.add(row, INT64(LANES * v)))
                after.append(call_llvm(builder, "llvm.fmuladd", slope, value, next(before)))
        return context.make_tuple(builder, sig.return_type, after)

    whole = types.intp
    return tile(tile, dy, whole, x, whole, whole, KH, KW), codegen


@intrinsic(prefer_literal=True)
def scatter_fma(context, tile, w, offset, w_stride, dy, index, MAPS, COLS, TAPS, STRIDE):
    """Spread `COLS` columns of dy over the columns they came from: the inner loop of an input gradient.

    Adds float w[offset + m·w_stride + v] times the vector from dy[index + 16·j] to row m,
    column j·STRIDE + v, for v in range(TAPS).
    """
    if not (sizes := literals(MAPS, COLS, TAPS, STRIDE)):
        return None
    maps, cols, taps, stride = sizes
    width = (cols - 1) * stride + taps

    def codegen(context, builder, sig, args):
        tile, w, offset, w_stride, dy, index = args[:6]
        tile = cgutils.unpack_tuple(builder, tile)
        columns = [vector_from(builder, dy, builder.add(index, INT64(LANES * j))) for j in range(cols)]
        for m in range(maps):
            row = stepped(builder, offset, w_stride, m)
            for v in range(taps):
                weight = scalar_at(builder, w, row, INT64(1), v)
                for j in range(cols):
                    k = m * width + j * stride + v
                    tile[k] = call_llvm(builder, "llvm.fmuladd", weight, columns[j], tile[k])
        return context.make_tuple(builder, sig.return_type, tile)

    whole = types.intp
    return tile(tile, w, whole, whole, dy, whole, MAPS, COLS, TAPS, STRIDE), codegen


def add_rows(builder, pointer, offset, stride, sums, cols: int) -> None:
    """Add the 16 floats of a vector, row by row of `cols`, to those from number offset + row·stride."""
    part = ir.VectorType(ir.FloatType(), cols)
    for row in range(LANES // cols):
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), cols), list(range(row * cols, (row + 1) * cols)))
        place = builder.gep(pointer, [stepped(builder, offset, stride, row)])
        place = builder.bitcast(place, part.as_pointer())
        before = builder.load(place)
        before.align = 4
        here = builder.shuffle_vector(sums, ir.Constant(VECTOR, ir.Undefined), lanes)
        builder.store(builder.fadd(before, here), place).align = 4


@intrinsic
def map_tile(context, tile, function):
    """Apply a function of one vector to every vector of a tile."""
    each = function.get_call_type(context, (vector,), {})

    def codegen(context, builder, sig, args):
        apply = context.get_function(function, each)
        values = [apply(builder, [value]) for value in cgutils.unpack_tuple(builder, args[0])]
        return context.make_tuple(builder, sig.return_type, values)

    return tile(tile, function), codegen


@intrinsic(prefer_literal=True)
def add_lane_sums(context, pointer, offset, stride, tile, MAPS, COLS):
    """Add the lane sum of row m, column j to float number offset + m·stride + j."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    maps, cols = sizes

    def codegen(context, builder, sig, args):
        pointer, offset, stride, tile = args[:4]
        values = cgutils.unpack_tuple(builder, tile)
        if maps * cols == LANES and LANES % cols == 0:
            add_rows(builder, pointer, offset, stride, lane_sums(builder, values), cols)
            return context.get_dummy_value()
        for k, value in enumerate(values):
            row = stepped(builder, offset, stride, k // cols)
            place = builder.gep(pointer, [builder.add(row, INT64(k % cols))])
            builder.store(builder.fadd(builder.load(place), lane_sum(builder, value)), place)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, types.intp, tile, MAPS, COLS), codegen


@intrinsic(prefer_literal=True)
def add_tile(context, pointer, offset, stride, tile, MAPS, COLS):
    """Add row m, column j to the 16 floats from number offset + m·stride + 16·j."""
    if not (sizes := literals(MAPS, COLS)):
        return None
    cols = sizes[1]

    def codegen(context, builder, sig, args):
        pointer, offset, stride, tile = args[:4]
        for k, value in enumerate(cgutils.unpack_tuple(builder, tile)):
            first = builder.add(stepped(builder, offset, stride, k // cols), INT64(LANES * (k % cols)))
            sum_here = builder.fadd(vector_from(builder, pointer, first), value)
            builder.store(sum_here, vector_place(builder, pointer, first)).align = 4
        return context.get_dummy_value()

    return types.void(pointer, types.intp, types.intp, tile, MAPS, COLS), codegen
