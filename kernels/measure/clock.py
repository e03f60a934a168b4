"""A clock inside a compiled program: every lap adds the cycles since the lap before to one slot.

Laps are chained, so nothing between the first and the last one is lost, and one reading of the counter (about 12 ns)
serves both the step that ends and the one that begins. The processor may read the counter some hundred cycles early
or late; as one slot's loss is the next one's gain, sums are right.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.measure.profiled import CAPACITY, EVENTS, FIRST, HEADER, LAST, SLOTS
from lenumba.kernels.vector.parallel import X86
from lenumba.kernels.vector.simd import INT64

# Elsewhere the cycle counter may trap outside the kernel (ARM's PMCCNTR does); the steady counter never does.
COUNTER = "llvm.readcyclecounter" if X86 else "llvm.readsteadycounter"


@intrinsic
def read_counter(context):
    """Return the processor's counter; LLVM moves no access to memory across it."""

    def codegen(context, builder, sig, args):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(INT64, []), COUNTER)
        return builder.call(function, [])

    return types.int64(), codegen


@intrinsic
def clock_at(context, work, offset):
    """Return the int64 numbers that begin `offset` floats behind `work`."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(builder.gep(args[0], [args[1]]), INT64.as_pointer())

    return types.CPointer(types.int64)(work, types.intp), codegen


@kernel
def start_clock(work, CLOCK):
    """Begin to measure on this thread."""
    clock = clock_at(work, CLOCK)
    clock[FIRST] = read_counter()
    clock[LAST] = clock[FIRST]


@kernel
def lap(work, CLOCK, SLOT):
    """Add one call and the cycles since the last lap to a slot; note the lap while there is room for events."""
    clock = clock_at(work, CLOCK)
    now = read_counter()
    clock[HEADER + 2 * SLOT] += 1
    clock[HEADER + 2 * SLOT + 1] += now - clock[LAST]
    clock[LAST] = now
    event = clock[EVENTS]
    if event < clock[CAPACITY]:
        clock[HEADER + 2 * SLOTS + 2 * event] = SLOT
        clock[HEADER + 2 * SLOTS + 2 * event + 1] = now
        clock[EVENTS] = event + 1
