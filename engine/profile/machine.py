"""The machine as its own kernels measure it: peak of multiply-adds, bandwidth of each cache level, the counter."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.host import available_threads, cpu_name
from lenumba.engine.training.buffers import aligned
from lenumba.kernels.compile import native, target
from lenumba.kernels.constants import LANES
from lenumba.kernels.measure import peaks

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
FALLBACK = {"L1": 32 << 10, "L2": 512 << 10, "L3": 8 << 20}  # bytes, where the system does not tell
MEMORY_LIMIT = 192 << 20  # bytes of all threads' arrays together: four times a common last cache, quick to fill


def cache_sizes() -> dict[str, int]:
    """Return the bytes of the first core's data caches, L1 to L3, as Linux tells them (else common sizes)."""
    sizes = {}
    for folder in sorted(CACHES.glob("index*")):
        try:
            kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size[-1:] in "KM":
            sizes[f"L{level}"] = int(size[:-1]) << (10 if size[-1] == "K" else 20)
    return sizes or FALLBACK


def at_once(threads: int, call: Callable[[int], None]) -> float:
    """Run ``call(thread)`` on several threads at the same time; return the least seconds that one of them ran.

    A thread's own clock does not count the time that other processes take away from it.
    """
    seconds = [0.0] * threads
    gate = threading.Barrier(threads)

    def work(k: int) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            gate.wait()
        if gate.broken:
            return
        start = time.thread_time()
        call(k)
        seconds[k] = time.thread_time() - start

    workers = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(threads)]
    try:
        for worker in workers:
            worker.start()
    except RuntimeError as error:
        gate.abort()
        raise DataError(f"threads: expected {threads}, found no more to be had ({error}); lower --threads") from None
    for worker in workers:
        worker.join()
    return min(seconds)


def best_time(threads: int, call: Callable[[int, int], None], seconds: float, rounds: int = 9) -> float:
    """Return the least seconds of one repeat of ``call(thread, repeats)``, over rounds of about `seconds`."""

    def timed(repeats: int) -> float:
        return at_once(threads, lambda k: call(k, repeats))

    repeats = 1
    while (took := timed(repeats)) < seconds / 2:
        repeats = max(2 * repeats, int(repeats * seconds / max(took, seconds / 100)))
    return min([took, *(timed(repeats) for _ in range(rounds))]) / repeats


def fma_peak(threads: int, seconds: float = 0.01, program: Callable[..., Any] | None = None) -> float:
    """Return GFLOP/s of one core while `threads` cores compute multiply-adds in registers.

    `program` stands in for that of :func:`lenumba.kernels.measure.peaks.fma_source`, with its arguments and work.
    """
    source, chains = peaks.fma_source()
    run = program or native.get_program(source)
    works = [aligned((chains + 2) * LANES) for _ in range(threads)]
    for work in works:
        work[chains * LANES :] = 0.5  # sums of quarters: neither denormal nor infinite within a run
    one = best_time(threads, lambda k, repeats: run(repeats, works[k].ctypes.data), seconds)
    return 2 * LANES * chains / one / 1e9


def bandwidth(threads: int, size: int, seconds: float = 0.01, program: Callable[..., Any] | None = None) -> float:
    """Return GB/s of one core for the triad over three arrays of `size` bytes together, `threads` cores at once.

    `program` stands in for that of :func:`lenumba.kernels.measure.peaks.triad_source`, with its arguments and work.
    NumPy asks for huge pages for large arrays, as it does for a network's; without them memory is a quarter slower.
    """
    run = program or native.get_program(peaks.triad_source())
    vectors = max(1, size // (3 * 4 * LANES) // peaks.UNROLL) * peaks.UNROLL
    flag = np.zeros(8, np.int64)
    arrays: list[list[int]] = []
    kept = []  # the arrays behind the addresses
    for _ in range(threads):
        # A page and a few lines apart, or loads and stores of equal low addresses would wait for one another.
        memory = aligned(3 * (vectors * LANES + 1200))
        memory[:] = 1.0
        kept.append(memory)
        arrays.append([memory.ctypes.data + 4 * k * (vectors * LANES + 1200 // 16 * 16) for k in range(3)])
    one = best_time(threads, lambda k, n: run(n, flag.ctypes.data, vectors, *arrays[k]), seconds)
    return peaks.TRIAD_BYTES * LANES * vectors / one / 1e9


def clock_ghz(seconds: float = 0.005) -> float:
    """Return the processor's clock while it computes: a chain whose links take 4 cycles tells it."""
    program, place = native.get_program(peaks.chain_source()), np.ones(1, np.int64)
    return 4e-9 / best_time(1, lambda _, repeats: program(repeats, place.ctypes.data), seconds)


def read_counter(program: native.Native | None = None) -> int:
    """Return the counter that profiled programs read."""
    place = np.zeros(1, np.int64)
    (program or native.get_program(peaks.counter_source()))(place.ctypes.data)
    return int(place[0])


def measured_spans(count: int, used: int = 0) -> dict[str, int]:
    """Return by level the bytes of one core's arrays that measure its bandwidth while `count` cores work.

    `used`: bytes that all of them go over (0: unknown). A last cache, which other machines of the same host may share,
    is the quicker the less of it is asked for.
    """
    sizes = cache_sizes()
    # Most of the first level, as a pass over little data is short beside its start; half of the others.
    spans = {level: 3 * size // 4 if level == "L1" else size // 2 for level, size in sizes.items()}
    last = max(sizes, key=lambda level: sizes[level])
    if last not in ("L1", "L2"):  # shared by the cores
        spans[last] = min(spans[last], used or spans[last]) // count
        spans[last] = max(spans[last], sizes.get("L2", 0) + sizes.get("L2", 0) // 2)
    spans["memory"] = min(4 * sizes[last], MEMORY_LIMIT) // count
    return spans


def machine_facts(
    threads: int | None = None,
    seconds: float = 0.01,
    progress: Callable[[str, int, int], None] | None = None,
    used: int = 0,
) -> dict[str, Any]:
    """Measure the machine, in rounds of about `seconds`; `progress` is called before each peak.

    `used`: see :func:`measured_spans`.

    Returns
    -------
    dict
        ``gflops`` and ``gbytes`` (by level, ``memory`` the last) of one core while all `threads` work; sizes in
        bytes; ``target``, ``vector_bits``; ``counter_ghz``.
    """
    count = threads or available_threads()
    spans = measured_spans(count, used)
    ticks = native.get_program(peaks.counter_source())
    start, first = time.perf_counter_ns(), read_counter(ticks)
    tell = progress or (lambda *_: None)
    tell("measuring the peak of multiply-adds", 0, 1 + len(spans))
    gflops, gbytes = fma_peak(count, seconds), {}
    for k, (level, size) in enumerate(spans.items(), 1):
        tell(f"measuring the bandwidth of {level}", k, 1 + len(spans))
        gbytes[level] = bandwidth(count, size, seconds)
    facts = {
        "cpu": cpu_name(),
        "target": target.cpu_target()[0],
        "vector_bits": target.vector_bits(),
        "fma": target.fuses(),
        "cores": os.cpu_count(),
        "threads": count,
        "threading": "own threads, one call an epoch each, atomic barriers; no OpenMP, TBB or workqueue",
        "caches": cache_sizes(),
        "gflops": gflops,
        "gbytes": gbytes,
    }
    facts["counter_ghz"] = (read_counter(ticks) - first) / (time.perf_counter_ns() - start)
    return facts


def limits_of(entry: dict[str, Any], work: tuple[int, int] | None, times: float, machine: dict) -> dict[str, Any]:
    """Return a row's work and traffic in an epoch, and how near they come to the machine's peaks.

    `work` is (FLOP, bytes) of one of `times` equal parts. The bandwidth is that of the smallest cache that holds a
    part; `bound` is the limit that would take longer, `limit` its share of the time that passed.
    """
    flops, moved = work or (0, 0)
    seconds = max(entry["thread_s"], 1e-12)
    level = next((name for name, size in machine["caches"].items() if moved <= size), "memory")
    gflops, gbytes = flops * times / seconds / 1e9, moved * times / seconds / 1e9
    shares = {"compute": gflops / machine["gflops"], level: gbytes / machine["gbytes"][level]}
    bound = max(shares, key=lambda name: shares[name]) if work else ""
    return {
        "flops": round(flops * times),
        "bytes": round(moved * times),
        "gflops": gflops,
        "gbytes": gbytes,
        "intensity": flops / moved if moved else 0.0,
        "fma_share": shares["compute"],
        "bandwidth_share": shares[level],
        "level": level if moved else "",
        "bound": bound,
        "limit": shares.get(bound, 0.0),
    }
