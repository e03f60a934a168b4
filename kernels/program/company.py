"""Evaluating in company: threads that wait for a short while inside the program, where a call finds them in 0.3 µs.

To wake a thread takes about 50 µs, in which a LeNet answers dozens of images. So a thread that was woken for an
evaluation stays, and joins all that begin before `patience` nanoseconds have passed without one. Who evaluates says
where its arguments lie, opens the run to others, takes blocks as they do, and closes it when none is left; it ends when
all who have joined have left. Nobody waits for a thread that is still asleep, or gone.
"""

from time import CLOCK_MONOTONIC

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lenumba.kernels.compile.jit import TYPES, kernel
from lenumba.kernels.constants import (
    ADDRESS,
    CLAIMED,
    CLOSED,
    DONE,
    JOINED,
    LEFT,
    NUMBER,
    SENT_AWAY,
    SPINNING,
    TICKET,
    TURN,
)
from lenumba.kernels.program.arguments import Run, types_of
from lenumba.kernels.program.loop import evaluate_loop
from lenumba.kernels.vector.parallel import (
    FLUSH_DENORMALS,
    atomic_add,
    atomic_exchange,
    atomic_exchange_if,
    atomic_load,
    atomic_store,
    get_float_mode,
    pause,
    set_float_mode,
)
from lenumba.kernels.vector.simd import INT32, INT64

TURNS = 1 << 26
PAUSES = 4  # between two looks, and readings of the clock


@intrinsic(prefer_literal=True)
def read_run(context, arguments, mine, PIXELS, LABELS):
    """Return the :class:`Run` whose fields are the 64-bit numbers `arguments`; the memory `work` is that of `mine`.

    PIXELS and LABELS say what its images and labels are made of.
    """
    if not all(isinstance(argument, types.StringLiteral) for argument in (PIXELS, LABELS)):
        return None
    kinds = [TYPES[name] for name in types_of(PIXELS.literal_value, LABELS.literal_value).values()]
    run = types.NamedTuple(kinds, Run)

    def codegen(context, builder, sig, args):
        values = []
        for index, (name, kind) in enumerate(zip(Run._fields, kinds, strict=True)):
            row = args[1] if name == "work" else args[0]
            value = builder.load(builder.gep(row, [INT64(index)]))
            if isinstance(kind, types.CPointer):
                value = builder.inttoptr(value, context.get_value_type(kind))
            elif kind == types.float64:
                value = builder.bitcast(value, ir.DoubleType())
            values.append(value)
        return context.make_tuple(builder, run, values)

    return run(arguments, mine, PIXELS, LABELS), codegen


@intrinsic
def address_of(context, pointer):
    """Return a pointer's address."""

    def codegen(context, builder, sig, args):
        return builder.ptrtoint(args[0], INT64)

    return types.int64(pointer), codegen


@intrinsic
def numbers_at(context, address):
    """Return the int64 numbers at an address."""

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], INT64.as_pointer())

    return types.CPointer(types.int64)(address), codegen


@intrinsic
def nanoseconds(context):
    """Return the time on a clock that never goes back."""

    def codegen(context, builder, sig, args):
        place = cgutils.alloca_once(builder, ir.ArrayType(INT64, 2))
        kind = ir.FunctionType(INT32, [INT32, INT64.as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        seconds = builder.bitcast(place, INT64.as_pointer())
        builder.call(function, [INT32(CLOCK_MONOTONIC), seconds])
        rest = builder.load(builder.gep(seconds, [INT64(1)]))
        return builder.add(builder.mul(builder.load(seconds), INT64(1_000_000_000)), rest)

    return types.int64(), codegen


@kernel
def share(run, evaluate_piece, work, theta, first, STAGE, PIECES):
    """Compute a stage's pieces; of a single image, together with those who have joined.

    They take pieces from both ends, so that each finds in its caches what it left there a stage before. A ticket tells
    which are taken: its bytes are those taken from the front, from the back, and all of them; then come the stage, and
    a number that lets nobody take a ticket for an earlier one.
    """
    company = run.company
    if run.count > 1 or atomic_load(company, JOINED) <= 0:
        for piece in range(PIECES):
            evaluate_piece(run, work, run.work, theta, first, STAGE, piece)
    else:
        company[TURN] = (company[TURN] + 1) % TURNS
        atomic_store(company, DONE, 0)
        atomic_store(company, TICKET, (company[TURN] << 36) + (STAGE << 24) + (PIECES << 16))
        own, taken = 0, 0
        while taken < PIECES:
            ticket = atomic_load(company, TICKET)
            taken = (ticket & 255) + ((ticket >> 8) & 255)
            if taken < PIECES and atomic_exchange_if(company, TICKET, ticket, ticket + 1):
                evaluate_piece(run, work, run.work, theta, first, STAGE, ticket & 255)
                own += 1
        while atomic_load(company, DONE) != PIECES - own:
            pause()


@kernel
def assist(run, own, evaluate_piece):
    """Compute pieces of another thread's image until it is done, with memory of one's `own` for what lasts a step."""
    mode = get_float_mode()
    set_float_mode(mode | FLUSH_DENORMALS)
    company = run.company
    ticket = atomic_load(company, TICKET)
    while ticket != CLOSED:
        back, pieces = (ticket >> 8) & 255, (ticket >> 16) & 255
        if (ticket & 255) + back < pieces and atomic_exchange_if(company, TICKET, ticket, ticket + 256):
            evaluate_piece(run, run.work, own, run.theta, 0, (ticket >> 24) & 4095, pieces - 1 - back)
            atomic_add(company, DONE, 1)
        else:
            pause()
        ticket = atomic_load(company, TICKET)
    set_float_mode(mode)


@kernel
def evaluate_in_company(run, arguments, evaluate_block, WIDTH, OUTPUT, UNIT, evaluate_piece=None):
    """Evaluate as `evaluate_loop` does; who does it as the only worker takes in all that join.

    Then no block is claimed any more when it ends. A program that can compute a single image in pieces gives
    `evaluate_piece`.
    """
    company, open_to_others = run.company, run.workers == 1
    if open_to_others:
        company[ADDRESS] = address_of(arguments)
        atomic_add(company, NUMBER, 1)
        atomic_store(company, LEFT, 0)
        atomic_store(company, TICKET, 0)
        atomic_store(company, JOINED, 0)
    evaluate_loop(run, evaluate_block, WIDTH=WIDTH, OUTPUT=OUTPUT, UNIT=UNIT)
    if open_to_others:
        atomic_store(company, TICKET, CLOSED)
        joined = atomic_exchange(company, JOINED, CLOSED)
        while atomic_load(company, LEFT) != joined:
            pause()
        atomic_store(run.control, CLAIMED, 0)


@kernel
def serve(run, mine, evaluate_block, PIXELS, LABELS, WIDTH, OUTPUT, UNIT, evaluate_piece=None):
    """Join every evaluation until none has come for `patience` nanoseconds, or until SENT_AWAY is set."""
    company, served = run.company, types.int64(0)
    atomic_add(company, SPINNING, 1)
    end = nanoseconds() + run.patience
    while atomic_load(company, SENT_AWAY) == 0:
        joined, number = atomic_load(company, JOINED), atomic_load(company, NUMBER)
        if joined == CLOSED or number == served:
            for _ in range(PAUSES):
                pause()
            if nanoseconds() > end:
                break
        elif atomic_exchange_if(company, JOINED, joined, joined + 1):
            theirs = numbers_at(company[ADDRESS])
            job = read_run(theirs, mine, PIXELS=PIXELS, LABELS=LABELS)
            if evaluate_piece is not None and job.count == 1:
                assist(read_run(theirs, theirs, PIXELS=PIXELS, LABELS=LABELS), job.work, evaluate_piece)
            else:
                evaluate_loop(job, evaluate_block, WIDTH=WIDTH, OUTPUT=OUTPUT, UNIT=UNIT)
            atomic_add(company, LEFT, 1)
            served, end = number, nanoseconds() + run.patience
    atomic_add(company, SPINNING, -1)
