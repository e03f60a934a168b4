"""The machine's peaks: multiply-adds in registers, and a triad over arrays of a given size.

Both are programs as networks are: compiled for the same CPU with the same flags, and cached.
"""

from lenumba.kernels.compile.native import Source
from lenumba.kernels.compile.target import vector_registers

TRIAD_BYTES = 3 * 4  # a, b and c of one float: STREAM's count, without the read before the write of a
UNROLL = 8


def fma_source() -> tuple[Source, int]:
    """Return a program of independent chains of multiply-adds in registers, and the chains' number.

    Arguments: repeats, and floats: a vector of ones for each chain, then those for the factors. Chains must cover
    the latency (4 cycles) of both units: 24 where there are 32 registers, else all but those for the two factors.
    """
    registers = vector_registers()
    chains = 24 if registers >= 32 else max(1, registers - 2)
    text = f'''"""Multiply-adds in registers."""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.tile import load_tile, outer_fma, store_tile


@kernel
def run(repeats, work):
    tile = load_tile(work, 0, 1, {chains}, 1)
    for _ in range(repeats):
        tile = outer_fma(tile, work, {16 * chains}, 0, work, {chains + 1}, 0, {chains}, 1)
    store_tile(work, 0, 1, tile, {chains}, 1)
'''
    return Source("peak-fma", text, "run", ["i64", "f32*"]), chains


def triad_source() -> Source:
    """Return a program that computes a = b + s · c, `repeats` times over `vectors` vectors, a multiple of UNROLL."""
    body = "\n".join(
        f"            store(a, k + {j}, fma(s, load(c, k + {j}), load(b, k + {j})))" for j in range(UNROLL)
    )
    text = f'''"""STREAM's triad."""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.parallel import atomic_load
from lenumba.kernels.vector.simd import fma, load, splat, store


@kernel
def run(repeats, flag, vectors, a, b, c):
    s = splat(3.0)
    for _ in range(repeats):
        atomic_load(flag, 0)  # without it LLVM would keep one of the repeats
        for k in range(0, vectors, {UNROLL}):
{body}
'''
    return Source("peak-triad", text, "run", ["i64", "i64*", "i64", "f32*", "f32*", "f32*"])


def chain_source() -> Source:
    """Return a program of `repeats` dependent products and exclusive ors: 3 + 1 cycles each on common processors."""
    text = '''"""A chain of dependent products."""

from lenumba.kernels.compile.jit import kernel


@kernel
def run(repeats, place):
    x = place[0]
    for k in range(repeats):
        x = (x * 6364136223846793005) ^ k
    place[0] = x
'''
    return Source("peak-chain", text, "run", ["i64", "i64*"])


def counter_source() -> Source:
    """Return a program that stores the clock's counter."""
    text = '''"""The counter of the clock."""

from lenumba.kernels.measure.clock import read_counter
from lenumba.kernels.compile.jit import kernel


@kernel
def run(place):
    place[0] = read_counter()
'''
    return Source("counter", text, "run", ["i64*"])
