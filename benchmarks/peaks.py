"""Check the profiler's peaks against hand-written C, compiled with gcc -O3 -march=native, both in turn in one run."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef float vector __attribute__((vector_size(64)));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static double fma_peak(void) {
    double best = 1e9;
    for (int round = 0; round < 20; round++) {
        vector a[CHAINS], x;
        for (int i = 0; i < 16; i++) x[i] = 0.5f;
        for (int i = 0; i < CHAINS; i++) a[i] = x;
        double start = now();
        for (int k = 0; k < 200000; k++) {
#pragma GCC unroll 32
            for (int i = 0; i < CHAINS; i++) a[i] = a[i] * x + x;
        }
        double took = now() - start;
        volatile float sink = 0;
        for (int i = 0; i < CHAINS; i++) sink += a[i][0];
        if (took < best) best = took;
    }
    return 2.0 * 16 * CHAINS * 200000 / best / 1e9;
}

static double triad(long size) {
    long n = size / 12 / 128 * 128, repeats = 50000000 / n + 1;
    float *a = aligned_alloc(64, 4 * n), *b = aligned_alloc(64, 4 * n), *c = aligned_alloc(64, 4 * n);
    double best = 1e9;
    for (long i = 0; i < n; i++) a[i] = b[i] = c[i] = 1;
    for (int round = 0; round < 8; round++) {
        double start = now();
        for (long k = 0; k < repeats; k++) {
            for (long i = 0; i < n; i++) a[i] = b[i] + 3.0f * c[i];
            __asm__ volatile("" ::"r"(a) : "memory");
        }
        double took = (now() - start) / repeats;
        if (took < best) best = took;
    }
    free(a), free(b), free(c);
    return 12.0 * n / best / 1e9;
}

int main(int count, char **sizes) {
    printf("%f", fma_peak());
    for (int k = 1; k < count; k++) printf(" %f", triad(atol(sizes[k])));
    return 0;
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that both sides take turns  [3]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    args = parser.parse_args()
    if not (compiler := shutil.which("gcc")):
        sys.exit("error: expected gcc in PATH, found none; install it")
    from lenumba.engine.machine import bandwidth, fma_peak, measured_spans
    from lenumba.kernels.peaks import fma_source

    spans = measured_spans(1)
    ratios: dict[str, list[float]] = {name: [] for name in ("multiply-adds", *spans)}
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "peaks.c"), os.path.join(folder, "peaks")
        source.write_text(C)
        options = ["-O3", "-march=native", f"-DCHAINS={fma_source()[1]}"]
        subprocess.run([compiler, *options, str(source), "-o", program], check=True)
        for _ in range(args.rounds):
            peers = subprocess.run([program, *map(str, spans.values())], capture_output=True, text=True, check=True)
            ours = [fma_peak(1), *(bandwidth(1, size) for size in spans.values())]
            for name, own, peer in zip(ratios, ours, map(float, peers.stdout.split()), strict=True):
                ratios[name].append(own / peer)
                print(f"{name:14} lenumba {own:7.1f}   C {peer:7.1f}   {own / peer:.3f}")
    for name, values in ratios.items():
        print(f"{name:14} median ratio {median(values):.3f}, from {min(values):.3f} to {max(values):.3f}")
    if args.json:
        args.json.write_text(json.dumps(ratios, indent=2) + "\n")


if __name__ == "__main__":
    main()
