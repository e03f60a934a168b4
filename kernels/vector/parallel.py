"""What threads inside a compiled program need: atomics, a barrier, and the treatment of denormals.

Two threads that meet at this barrier wait about 0.04 µs when both have arrived; an OpenMP fork and join costs
10–50 µs, a Python thread pool 80 µs. A LeNet batch of 64 is about 250 µs of work for two cores.
"""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.simd import INT32, INT64

X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
SPINS_BEFORE_YIELD = 200
FLUSH_DENORMALS = 0x8040  # flush-to-zero and denormals-are-zero in x86's MXCSR

yield_cpu = types.ExternalFunction("sched_yield", types.int32())


def atomic_place(builder, pointer, index):
    """Return the address of int64 number `index`."""
    return builder.gep(pointer, [index])


def changed(operation: str):
    """Return the code that changes an int64 by one of LLVM's atomic operations and returns what it was before."""

    def codegen(context, builder, sig, args):
        pointer, index, value = args
        return builder.atomic_rmw(operation, atomic_place(builder, pointer, index), value, "seq_cst")

    return codegen


@intrinsic
def atomic_add(context, pointer, index, value):
    """Add to an int64 and return what it was before."""
    return types.int64(pointer, types.intp, types.int64), changed("add")


@intrinsic
def atomic_load(context, pointer, index):
    """Read an int64 that other threads write; unlike a plain read, never moved out of a loop."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(atomic_place(builder, *args), ordering="seq_cst", align=8)

    return types.int64(pointer, types.intp), codegen


@intrinsic
def atomic_store(context, pointer, index, value):
    """Write an int64 that other threads read."""

    def codegen(context, builder, sig, args):
        pointer, index, value = args
        builder.store_atomic(value, atomic_place(builder, pointer, index), ordering="seq_cst", align=8)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, types.int64), codegen


@intrinsic
def atomic_exchange(context, pointer, index, value):
    """Write an int64 and return what it was before."""
    return types.int64(pointer, types.intp, types.int64), changed("xchg")


@intrinsic
def atomic_exchange_if(context, pointer, index, before, value):
    """Write an int64 if it is `before`; return whether it was."""

    def codegen(context, builder, sig, args):
        pointer, index, before, value = args
        place = atomic_place(builder, pointer, index)
        return builder.extract_value(builder.cmpxchg(place, before, value, "seq_cst", "seq_cst"), 1)

    return types.boolean(pointer, types.intp, types.int64, types.int64), codegen


def call_x86(builder, name: str, *arguments) -> None:
    """Call an x86 intrinsic that returns nothing; do nothing on other processors."""
    if X86:
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def pause(context):
    """Tell the core that it is waiting."""

    def codegen(context, builder, sig, args):
        call_x86(builder, "llvm.x86.sse2.pause")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def get_float_mode(context):
    """Return the floating-point control word (0 where it is not supported)."""

    def codegen(context, builder, sig, args):
        place = cgutils.alloca_once_value(builder, INT32(0))
        call_x86(builder, "llvm.x86.sse.stmxcsr", place)
        return builder.zext(builder.load(place), INT64)

    return types.int64(), codegen


@intrinsic
def set_float_mode(context, mode):
    """Set the floating-point control word. Denormals cost 70×, so workers flush them to zero."""

    def codegen(context, builder, sig, args):
        place = cgutils.alloca_once_value(builder, builder.trunc(args[0], INT32))
        call_x86(builder, "llvm.x86.sse.ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def call_back(context, address, stage, batch, segment):
    """Call the function of three int64 that lies at an address, and return its int64."""

    def codegen(context, builder, sig, args):
        address, *numbers = args
        kind = ir.FunctionType(INT64, [INT64] * len(numbers))
        return builder.call(builder.inttoptr(address, kind.as_pointer()), numbers)

    return types.int64(*[types.int64] * 4), codegen


@kernel
def barrier(control, ARRIVED, PHASE, workers):
    """Wait until `workers` threads are here. int64 numbers ARRIVED and PHASE of `control` belong to the barrier."""
    phase = atomic_load(control, PHASE)
    if atomic_add(control, ARRIVED, 1) == workers - 1:
        atomic_store(control, ARRIVED, 0)
        atomic_store(control, PHASE, phase + 1)
    else:
        spins = 0
        while atomic_load(control, PHASE) == phase:
            spins += 1
            if spins > SPINS_BEFORE_YIELD:
                yield_cpu()
            else:
                pause()
