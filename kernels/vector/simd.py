"""The SIMD vocabulary: a vector of 16 float32 as a Numba type, its arithmetic, loads and stores.

A vector holds one value for each of 16 images (the lanes), so arithmetic on it has no edge cases. Vectors are loaded
and stored at 64-byte boundaries; every activation buffer starts at one.
"""

import operator
from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic

from lenumba.kernels.constants import LANES

ALIGNMENT = 64

INT32, INT64 = ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(ir.FloatType(), LANES)
INT_VECTOR = ir.VectorType(INT32, LANES)


class VectorType(types.Type):
    """Numba's type of a vector of 16 float32."""

    def __init__(self) -> None:
        super().__init__(name="vector16f32")


vector = VectorType()


@register_default(VectorType)
class VectorModel(models.PrimitiveModel):
    """A vector is one LLVM vector value."""

    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, VECTOR)


# ---------------------------------------------------------------------- elementwise arithmetic: a + b, a * b, …


def define_operator(function: Callable, instruction: str, kind: types.Type = vector) -> None:
    """Let `function` (from the operator module) work on two vectors of a kind through an LLVM instruction."""

    class Template(ConcreteTemplate):
        cases = (signature(kind, kind, kind),)

    infer_global(function)(Template)
    lower_builtin(function, kind, kind)(lambda context, builder, sig, args: getattr(builder, instruction)(*args))


for _function, _instruction in [
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
]:
    define_operator(_function, _instruction)


def call_llvm(builder, name: str, *arguments):
    """Call an LLVM intrinsic that maps vectors to a vector."""
    kind = ir.FunctionType(VECTOR, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f32"), arguments)


def broadcast(builder, scalar):
    """Fill a vector with one float."""
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(INT_VECTOR, [0] * LANES))


def vector_at(builder, pointer, index):
    """Load vector number `index` behind a float pointer."""
    loaded = builder.load(builder.gep(builder.bitcast(pointer, VECTOR.as_pointer()), [index]))
    loaded.align = ALIGNMENT
    return loaded


def put_vector(builder, value, pointer, index):
    """Store `value` as vector number `index` behind a float pointer."""
    place = builder.gep(builder.bitcast(pointer, VECTOR.as_pointer()), [index])
    builder.store(value, place).align = ALIGNMENT


@intrinsic
def fma(context, a, b, c):
    """Return a·b + c (`fmuladd`: without FMA hardware a product and a sum, never a library call)."""
    return vector(a, b, c), lambda cx, builder, sig, args: call_llvm(builder, "llvm.fmuladd", *args)


@intrinsic
def sqrt(context, a):
    """Return the square root of each lane."""
    return vector(a), lambda cx, builder, sig, args: call_llvm(builder, "llvm.sqrt", *args)


@intrinsic
def round_even(context, a):
    """Return each lane rounded to the nearest whole number, ties to even."""
    return vector(a), lambda cx, builder, sig, args: call_llvm(builder, "llvm.rint", *args)


@intrinsic
def absolute(context, a):
    """Return |a| of each lane."""
    return vector(a), lambda cx, builder, sig, args: call_llvm(builder, "llvm.fabs", *args)


@intrinsic
def where_greater(context, a, b, yes, no):
    """Return `yes` in the lanes where a > b, else `no` (a NaN chooses `no`)."""

    def codegen(context, builder, sig, args):
        a, b, yes, no = args
        return builder.select(builder.fcmp_ordered(">", a, b), yes, no)

    return vector(a, b, yes, no), codegen


@intrinsic
def where_equal(context, a, b, yes, no):
    """Return `yes` in the lanes where a = b, else `no`."""

    def codegen(context, builder, sig, args):
        a, b, yes, no = args
        return builder.select(builder.fcmp_ordered("==", a, b), yes, no)

    return vector(a, b, yes, no), codegen


@intrinsic
def splat(context, scalar):
    """Fill a vector with one number (float64 and integers are rounded to float32)."""

    def codegen(context, builder, sig, args):
        return broadcast(builder, context.cast(builder, args[0], sig.args[0], types.float32))

    return vector(scalar), codegen


@intrinsic
def times_power_of_two(context, a, n):
    """Return a · 2ⁿ for whole numbers n from −126 to 127, by adding to the exponent bits."""

    def codegen(context, builder, sig, args):
        a, n = args
        exponent = builder.add(builder.fptosi(n, INT_VECTOR), ir.Constant(INT_VECTOR, [127] * LANES))
        power = builder.shl(exponent, ir.Constant(INT_VECTOR, [23] * LANES))
        return builder.fmul(a, builder.bitcast(power, VECTOR))

    return vector(a, n), codegen


@intrinsic
def exponent_of(context, a):
    """Return e of a = f · 2ᵉ with ½ ≤ f < 1, for positive normal a."""

    def codegen(context, builder, sig, args):
        bits = builder.lshr(builder.bitcast(args[0], INT_VECTOR), ir.Constant(INT_VECTOR, [23] * LANES))
        return builder.sitofp(builder.sub(bits, ir.Constant(INT_VECTOR, [126] * LANES)), VECTOR)

    return vector(a), codegen


@intrinsic
def fraction_of(context, a):
    """Return f of a = f · 2ᵉ with ½ ≤ f < 1, for positive normal a."""

    def codegen(context, builder, sig, args):
        bits = builder.and_(builder.bitcast(args[0], INT_VECTOR), ir.Constant(INT_VECTOR, [0x007FFFFF] * LANES))
        half = builder.or_(bits, ir.Constant(INT_VECTOR, [0x3F000000] * LANES))
        return builder.bitcast(half, VECTOR)

    return vector(a), codegen


@intrinsic
def lanes_below(context, count):
    """Return 1 in the lanes with a number below `count`, else 0."""

    def codegen(context, builder, sig, args):
        numbers = ir.Constant(ir.VectorType(INT64, LANES), list(range(LANES)))
        below = builder.icmp_signed("<", numbers, broadcast_whole(builder, args[0]))
        return builder.uitofp(below, VECTOR)

    return vector(types.int64), codegen


def broadcast_whole(builder, number):
    """Fill a vector with one int64."""
    undefined = ir.Constant(ir.VectorType(INT64, LANES), ir.Undefined)
    first = builder.insert_element(undefined, number, INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(INT_VECTOR, [0] * LANES))


def lane_sum(builder, value):
    """Add the lanes pairwise: (lane k + lane k+8), then 4, 2, 1. One fixed order on every CPU.

    The fence keeps LLVM from contracting a product with the first addition, as it does where a vector fills two
    registers, and only there.
    """
    value = call_llvm(builder, "llvm.arithmetic.fence", value)
    undefined = ir.Constant(VECTOR, ir.Undefined)
    for step in (8, 4, 2, 1):
        mask = ir.Constant(INT_VECTOR, [(lane + step) % LANES for lane in range(LANES)])
        value = builder.fadd(value, builder.shuffle_vector(value, undefined, mask))
    return builder.extract_element(value, INT32(0))


def lane_sums(builder, values):
    """Return the vector of the lane sums of 16 vectors, each added as :func:`lane_sum` does, with a third of the work.

    Two vectors that are half added fill one: of its halves (then quarters, …) each belongs to another.
    """
    values = [call_llvm(builder, "llvm.arithmetic.fence", value) for value in values]
    owners = [[k] for k in range(LANES)]
    step = LANES // 2
    while len(values) > 1:
        half = len(values) // 2
        low = [lane + LANES * k for k in range(2) for lane in range(LANES) if not lane & step]
        high = [lane + step for lane in low]
        pairs = [(values[k], values[k + half]) for k in range(half)]
        owners = [owners[k] + owners[k + half] for k in range(half)]
        masks = [ir.Constant(INT_VECTOR, mask) for mask in (low, high)]
        values = [builder.fadd(*(builder.shuffle_vector(*pair, mask) for mask in masks)) for pair in pairs]
        step //= 2
    return builder.shuffle_vector(
        values[0],
        ir.Constant(VECTOR, ir.Undefined),
        ir.Constant(INT_VECTOR, [owners[0].index(k) for k in range(LANES)]),
    )


@intrinsic
def sum_lanes(context, a):
    """Return the sum over the 16 lanes as a float32, pairwise in a fixed order."""
    return types.float32(a), lambda cx, builder, sig, args: lane_sum(builder, args[0])


# ------------------------------------------------------------------------------------------------------- memory


@intrinsic
def at(context, pointer, offset):
    """Return `pointer` moved on by `offset` elements."""
    return pointer(pointer, types.intp), lambda cx, builder, sig, args: builder.gep(args[0], [args[1]])


@intrinsic
def load(context, pointer, index):
    """Load vector number `index` behind a float pointer."""
    return vector(pointer, types.intp), lambda cx, builder, sig, args: vector_at(builder, *args)


@intrinsic
def store(context, pointer, index, value):
    """Store `value` as vector number `index` behind a float pointer."""

    def codegen(context, builder, sig, args):
        pointer, index, value = args
        put_vector(builder, value, pointer, index)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, value), codegen


@intrinsic
def prefetch(context, pointer, offset):
    """Ask for the cache line of float number `offset`, before it is needed; any address will do."""

    def codegen(context, builder, sig, args):
        place = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, all_levels, data = INT32(0), INT32(3), INT32(1)
        builder.call(function, [place, read, all_levels, data])
        return context.get_dummy_value()

    return types.void(pointer, types.intp), codegen
