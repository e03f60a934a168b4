"""What programs are compiled for: the CPU, and none of Numba's own settings. Importing it does not import Numba."""

import functools
import logging
import os

log = logging.getLogger("lenumba")

# Numba's settings that would reach machine code: :func:`lenumba.kernels.compile.jit.own_options` keeps them from it.
SET_ASIDE = tuple(
    f"NUMBA_{name}"
    for name in (
        "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO", "EXTEND_VARIABLE_LIFETIMES", "DEBUG_JIT",
        "ENABLE_AVX", "ENABLE_PROFILING", "LLVM_REFPRUNE_PASS", "DISABLE_JIT",
    )
)  # fmt: skip
HASWELL = ("+avx", "+avx2", "+fma")  # what that name means without a list of features


def cpu_target() -> tuple[str, str]:
    """Return the name and the feature string of the CPU that Numba compiles for."""
    import llvmlite.binding as llvm

    here = llvm.get_host_cpu_features()
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if name == "generic" else here.flatten()
    for feature in features.split(","):
        if feature[:1] == "+" and not here.get(feature[1:]):
            raise OSError(f"NUMBA_CPU_FEATURES: expected what this CPU has, found {feature}; unset it, or leave it out")
    return name, features


def has(*features: str) -> bool:
    """Return whether the target has one of these features."""
    name, listed = cpu_target()
    known = {f"+{feature}" for feature in features}
    return not known.isdisjoint(listed.split(",")) or (name == "haswell" and not known.isdisjoint(HASWELL))


def fuses() -> bool:
    """Return whether the target multiplies and adds in one instruction, rounding once; others compute other bits."""
    return has("fma", "neon")


def vector_registers() -> int:
    """Return how many 16-float vectors the target's registers hold: 32 with AVX-512, 8 with AVX2 or NEON."""
    return 32 if has("avx512f") else 8 if has("avx", "neon") else 4


def vector_bits() -> int:
    """Return the width of the target's vector registers: 512 with AVX-512, 256 with AVX, 128 with SSE and NEON."""
    return 512 if has("avx512f") else 256 if has("avx") else 128


@functools.cache
def tell_settings() -> None:
    """Warn, once, of Numba's settings that do not apply, and of a target that computes other bits."""
    if found := [name for name in SET_ASIDE if name in os.environ]:
        log.warning("%s: set aside; programs are compiled with Numba's defaults, for the same bits", ", ".join(found))
    if not fuses():
        log.warning("compiled for a CPU without FMA instructions: results differ in their last bits from those with")
