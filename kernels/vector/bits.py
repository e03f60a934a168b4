"""Vectors of 16 whole numbers of 32 bits, and random numbers that are a function of their place.

A counter-based generator has no state to hand on: whoever computes the number of a place gets the same one.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.vector.simd import INT32, INT_VECTOR, VECTOR, define_operator, vector


class BitsType(types.Type):
    """Numba's type of a vector of 16 uint32."""

    def __init__(self) -> None:
        super().__init__(name="vector16u32")


bits = BitsType()


@register_default(BitsType)
class BitsModel(models.PrimitiveModel):
    """Such a vector is one LLVM vector value."""

    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, INT_VECTOR)


# a + b, a - b, a * b, …: modulo 2³²
for _function, _instruction in [
    (operator.add, "add"),
    (operator.sub, "sub"),
    (operator.mul, "mul"),
    (operator.and_, "and_"),
    (operator.xor, "xor"),
    (operator.lshift, "shl"),
    (operator.rshift, "lshr"),
]:
    define_operator(_function, _instruction, bits)


@intrinsic
def splat_bits(context, scalar):
    """Fill a vector with the low 32 bits of an integer."""

    def codegen(context, builder, sig, args):
        number = builder.trunc(context.cast(builder, args[0], sig.args[0], types.int64), INT32)
        undefined = ir.Constant(INT_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, number, INT32(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(INT_VECTOR, [0] * LANES))

    return bits(scalar), codegen


@intrinsic
def lane_numbers(context):
    """Return 0, 1, …, 15."""
    return bits(), lambda context, builder, sig, args: ir.Constant(INT_VECTOR, list(range(LANES)))


@intrinsic
def to_float(context, a):
    """Return each number as float32; exact below 2²⁴."""
    return vector(a), lambda context, builder, sig, args: builder.uitofp(args[0], VECTOR)


@kernel
def scramble(x):
    """Map 32 bits to 32 bits, one to one, so that each bit of x changes about half of the result's.

    Shifts and multipliers were found by a search for the least bias (C. Wellons, "Prospecting for hash functions").
    """
    x = (x ^ (x >> splat_bits(16))) * splat_bits(0x21F0AAAD)
    x = (x ^ (x >> splat_bits(15))) * splat_bits(0xD35A2D97)
    return x ^ (x >> splat_bits(15))


@kernel
def lane_streams(key, first, stream):
    """Return two words for each lane: the random stream number `stream` of places first, first + 1, … under `key`."""
    place = splat_bits(first) + lane_numbers()
    low = scramble(place ^ splat_bits(key))
    low = scramble(low + splat_bits(stream))
    high = scramble(low ^ splat_bits(key >> 32))
    return scramble(low + high), high


@kernel
def random_bits(low, high, number):
    """Return random number `number` of each lane's stream."""
    return scramble(scramble(low + splat_bits(number)) ^ high)
