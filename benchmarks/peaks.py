"""Check the profiler's peaks against hand-written C, compiled with gcc -O3 -march=native.

Both are measured alike and in turn in one process: the same arrays' sizes and pages, threads, clock and count of bytes.
"""

import argparse
import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

C = r"""
typedef float vector __attribute__((vector_size(64)));

void fma_peak(long repeats, vector *work) {
    vector a[CHAINS], x = work[CHAINS];
    for (int i = 0; i < CHAINS; i++) a[i] = work[i];
    for (long k = 0; k < repeats; k++) {
#pragma GCC unroll 32
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * x + x;
    }
    for (int i = 0; i < CHAINS; i++) work[i] = a[i];
}

void triad(long repeats, long *flag, long vectors, float *restrict a, float *restrict b, float *restrict c) {
    for (long k = 0; k < repeats; k++) {
        for (long i = 0; i < 16 * vectors; i++) a[i] = b[i] + 3.0f * c[i];
        __asm__ volatile("" ::"r"(a) : "memory");
    }
}
"""


def c_programs(compiler: str, chains: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compile the C above; return its functions."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peaks.c"), Path(folder, "peaks.so")
        source.write_text(C)
        options = ["-O3", "-march=native", "-shared", "-fPIC", f"-DCHAINS={chains}"]
        subprocess.run([compiler, *options, str(source), "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.fma_peak.argtypes = [ctypes.c_long, ctypes.c_void_p]
    loaded.triad.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_long, *[ctypes.c_void_p] * 3]
    return loaded.fma_peak, loaded.triad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="times that both sides take turns  [9]")
    parser.add_argument("--threads", type=int, default=1, help="cores that work at once  [1]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    args = parser.parse_args()
    if not (compiler := shutil.which("gcc")):
        sys.exit("error: expected gcc in PATH, found none; install it")
    from lenumba.engine.profile.machine import bandwidth, fma_peak, measured_spans
    from lenumba.kernels.measure.peaks import fma_source

    spans = measured_spans(args.threads)
    c_fma, c_triad = c_programs(compiler, fma_source()[1])

    def measure(name: str, in_c: bool) -> float:
        if name in spans:
            return bandwidth(args.threads, spans[name], program=c_triad if in_c else None)
        return fma_peak(args.threads, program=c_fma if in_c else None)

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("multiply-adds", *spans)}
    for k in range(args.rounds):
        for name, pairs in found.items():
            first, second = measure(name, k % 2 == 1), measure(name, k % 2 == 0)
            pairs.append((second, first) if k % 2 else (first, second))
    for name, pairs in found.items():
        own, peer, ratio = (median(values) for values in zip(*((a, b, a / b) for a, b in pairs), strict=True))
        ratios = sorted(a / b for a, b in pairs)
        print(
            f"{name:14} lenumba {own:7.1f}   C {peer:7.1f}   median ratio {ratio:.3f}, from {ratios[0]:.3f} to "
            f"{ratios[-1]:.3f}   {'GB/s' if name in spans else 'GFLOP/s'}"
        )
    if args.json:
        args.json.write_text(json.dumps({name: [a / b for a, b in pairs] for name, pairs in found.items()}) + "\n")


if __name__ == "__main__":
    main()
