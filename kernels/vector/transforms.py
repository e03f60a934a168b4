"""The transforms of fast convolution as vector instructions: a tile multiplied with one of its matrices.

The matrices are those of :mod:`lenumba.kernels.vector.points`. Their points come in pairs ±a, whose rows (or columns)
differ by signs alone: what they share is computed once.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.points import Matrix, matrix_of, mirrored, transposed
from lenumba.kernels.vector.simd import INT32, INT64, VECTOR, call_llvm, vector
from lenumba.kernels.vector.tile import literals, stepped, tile_of

Terms = list[tuple[Fraction, Any]]  # multiples of vectors, to be added up


def summed(builder, terms: Terms):
    """Return the sum of multiples of vectors, or None of none; what needs no product comes first.

    A product that is added is always an `fma`: where LLVM may choose, it chooses by the processor.
    """
    terms = sorted((term for term in terms if term[0]), key=lambda term: (abs(term[0]) != 1, term[0] != 1))
    if not terms:
        return None
    (factor, total), *rest = terms
    if factor != 1:
        total = builder.fneg(total) if factor == -1 else builder.fmul(scalar(factor), total)
    for factor, value in rest:
        if factor == 1:
            total = builder.fadd(total, value)
        elif factor == -1:
            total = builder.fsub(total, value)
        else:
            total = call_llvm(builder, "llvm.fmuladd", scalar(factor), value, total)
    return total


def scalar(factor: Fraction):
    """Return a vector filled with a number."""
    return ir.Constant(VECTOR, [float(factor)] * VECTOR.count)


def multiplied(builder, matrix: Matrix, values: Sequence) -> list:
    """Return matrix · values, with the sums that rows of mirrored points share computed once."""
    done: list = [None] * len(matrix)
    for i, row in enumerate(matrix):
        if done[i] is not None:
            continue
        mirror = next((k for k in range(i + 1, len(matrix)) if mirrored(row, matrix[k])), None)
        if mirror is None:
            done[i] = summed(builder, list(zip(row, values, strict=True)))
            continue
        pairs = list(zip(row, matrix[mirror], values, strict=True))
        same: Terms = [(a, value) for a, b, value in pairs if a == b]
        other: Terms = [(a, value) for a, b, value in pairs if a != b]
        lead = abs(next(a for a, _ in other if a))
        odd = summed(builder, [(a / lead, value) for a, value in other])
        even: Terms = same if sum(a != 0 for a, _ in same) == 1 else [(Fraction(1), summed(builder, same))]
        done[i] = summed(builder, [*even, (lead, odd)])
        done[mirror] = summed(builder, [*even, (-lead, odd)])
    return done


@intrinsic(prefer_literal=True)
def transform(context, tile, KIND, OUTPUTS, TAPS):
    """Return each row of a tile multiplied with the matrix of a transform: ``IMAGE`` is B, ``RESULT`` is Aᵀ."""
    if not (sizes := literals(KIND, OUTPUTS, TAPS)):
        return None
    matrix = matrix_of(*sizes)
    width = len(matrix[0])

    def codegen(context, builder, sig, args):
        values, found = cgutils.unpack_tuple(builder, args[0]), []
        for first in range(0, len(values), width):
            columns = mirrored_columns(builder, matrix, values[first : first + width])
            found += multiplied(builder, *columns)
        return context.make_tuple(builder, sig.return_type, found)

    return tile_of(len(matrix) * (tile.count // width))(tile, KIND, OUTPUTS, TAPS), codegen


def mirrored_columns(builder, matrix: Matrix, values: Sequence) -> tuple[Matrix, list]:
    """Return a product of the same value, in which mirrored columns are those of the two values' sum and difference."""
    columns, values = list(transposed(matrix)), list(values)
    for i in range(len(columns)):
        for k in range(i + 1, len(columns)):
            if any(columns[i]) and mirrored(columns[i], columns[k]) and sum(map(bool, columns[i])) > 2:
                total, difference = builder.fadd(values[i], values[k]), builder.fsub(values[i], values[k])
                pairs = list(zip(columns[i], columns[k], strict=True))
                columns[i] = tuple(a if a == b else Fraction(0) for a, b in pairs)
                columns[k] = tuple(a if a != b else Fraction(0) for a, b in pairs)
                values[i], values[k] = total, difference
    return transposed(tuple(columns)), values


@intrinsic(prefer_literal=True)
def load_strided(context, pointer, offset, stride):
    """Return a tile of one vector: float number offset + k·stride in lane k."""

    def codegen(context, builder, sig, args):
        pointer, offset, stride = args
        value = ir.Constant(VECTOR, ir.Undefined)
        for lane in range(LANES):
            place = builder.gep(pointer, [stepped(builder, offset, stride, lane)])
            value = builder.insert_element(value, builder.load(place), INT32(lane))
        return context.make_tuple(builder, sig.return_type, [value])

    return tile_of(1)(pointer, types.intp, types.intp), codegen


@intrinsic
def add_each(context, tile, value):
    """Add a vector to every vector of a tile."""

    def codegen(context, builder, sig, args):
        values = [builder.fadd(each, args[1]) for each in cgutils.unpack_tuple(builder, args[0])]
        return context.make_tuple(builder, sig.return_type, values)

    return tile(tile, vector), codegen


@intrinsic
def add_both(context, tile, other):
    """Add two tiles."""

    def codegen(context, builder, sig, args):
        pairs = zip(*(cgutils.unpack_tuple(builder, each) for each in args), strict=True)
        return context.make_tuple(builder, sig.return_type, [builder.fadd(*pair) for pair in pairs])

    return tile(tile, other), codegen


@intrinsic
def keep_from(context, tile, first):
    """Return a tile with its first vectors, up to number `first`, set to zero."""

    def codegen(context, builder, sig, args):
        values = [
            builder.select(builder.icmp_signed("<", INT64(k), args[1]), ir.Constant(VECTOR, None), value)
            for k, value in enumerate(cgutils.unpack_tuple(builder, args[0]))
        ]
        return context.make_tuple(builder, sig.return_type, values)

    return tile(tile, types.intp), codegen
