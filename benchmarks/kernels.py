"""Measure how near each kernel of a network comes to the processor's peak, and what a training step is made of."""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import (
    NETWORKS,
    Steps,
    arguments_of,
    calibrate,
    finish,
    lenumba_network,
    lenumba_optimizer,
    load_data,
    markdown_table,
    report_of,
    target_of,
    timed,
)

BATCH = 64


@dataclass
class Piece:
    """One kernel's share of a block: a step of the program that calls it alone, and its work.

    `per_block` is how often it runs for a block of 16 images: 1, or less for what runs once a batch.
    """

    name: str
    step: Any
    flops: float
    bytes: float
    per_block: float = 1.0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="lenet")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="adamw")
    parser.add_argument("--only", metavar="REGEX", help="measure just the kernels that match")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of one measurement  [0.1]")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each kernel, in turn  [7]")
    parser.add_argument("--asm", type=Path, metavar="FOLDER", help="write each kernel's assembly there, with a summary")
    return arguments_of(parser)


def list_pieces(network: Any, optimizer: Any) -> list[Piece]:
    """Return the pieces of a training step in their order: pack, forward, loss, backward, update."""
    from lenumba.kernels.measure.profiled import profiled_plan
    from lenumba.kernels.program.catalogue import work_of
    from lenumba.kernels.program.plan import Step

    plan, blocks = network.plan(optimizer), BATCH // 16
    pieces = []
    for step in profiled_plan(plan, 0).block("training"):
        kernel = step.calls[0].kernel
        flops, moved = work_of(kernel, [call.numbers for call in step.calls])
        name = f"{step.phase}_{step.layer} · {kernel}" if step.layer else kernel
        pieces.append(Piece(name, step, flops, 0 if flops else moved))
    shapes = {"SIZE": network.size, "SHARDS": blocks, "STATES": optimizer.states}
    moved = work_of(plan.updates[0].kernel, [shapes])[1]
    pieces.append(Piece("update", Step("update", "", plan.updates), 0, moved, 1 / blocks))
    return pieces


def signature() -> dict[str, str]:
    """Return the arguments of a piece's program: all that a step may ask for."""
    from lenumba.kernels.program.arguments import BLOCK, SEGMENT, WORKER, types_of

    more = {"shards": "i64", "size": "i64", "last": "i64"}
    return {"repeats": "i64"} | types_of("uint8") | BLOCK | SEGMENT | WORKER | more


def source_of(piece: Piece, network: Any, optimizer: Any) -> Any:
    """Return a program that runs one piece `repeats` times."""
    from lenumba.kernels.compile.native import Source
    from lenumba.kernels.program.source import imports, memory_map, step_function, used

    plan = replace(network.plan(optimizer), steps=[piece.step], updates=[])
    text = [*imports(plan), "from lenumba.kernels.vector.parallel import atomic_load", "", *memory_map(plan), ""]
    text += step_function(piece.step)
    text += ["", "@kernel", f"def program({', '.join(signature())}):", "    for _ in range(repeats):"]
    text += ["        atomic_load(order, 0)  # without it LLVM would keep one run of what it sees to be idempotent"]
    text += [f"        {piece.step.name}({', '.join(used(piece.step))})"]
    return Source("piece", "\n".join(text) + "\n", "program", list(signature().values()))


def peak_source(registers: int) -> tuple[Any, int]:
    """Return a program of independent chains of multiply-adds in registers, and their number.

    24 chains cover the latency of two units; with fewer registers, all but those for the two factors.
    """
    from lenumba.kernels.compile.native import Source

    chains = 24 if registers >= 32 else max(1, registers - 2)
    text = f"""from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.vector.tile import load_tile, outer_fma, store_tile


@kernel
def program({", ".join(signature())}):
    tile = load_tile(work, 0, 1, {chains}, 1)
    for _ in range(repeats):
        tile = outer_fma(tile, theta, 0, 0, work, 0, 0, {chains}, 1)
    store_tile(work, 0, 1, tile, {chains}, 1)
"""
    return Source("peak", text, "program", list(signature().values())), chains


def buffers(network: Any, optimizer: Any) -> dict[str, Any]:
    """Return the programs' arguments: arrays filled with plausible numbers, and whole numbers."""
    from lenumba.engine.training.buffers import aligned

    images, labels = load_data(None, network.image_shape, BATCH)
    generator = np.random.default_rng(0)
    work = aligned(network.layout.size)
    work[:] = generator.standard_normal(len(work))
    network.layout.fill(block := aligned(network.layout.size))
    work[np.isinf(block)] = -np.inf  # margins of maximum pooling
    theta, gradients = aligned(network.size), aligned(BATCH // 16 * network.size)
    theta[:] = network.initial_parameters(0)
    state, decay, hyper = aligned(optimizer.states * network.size), aligned(network.size // 16), aligned(16)
    hyper[:] = optimizer.hyper(np.array([1e-3]), 1)[0]
    scale, shift = np.float32(np.full((2, network.image_shape[2]), [[1 / 74], [-1.7]]))
    order, result = np.arange(BATCH), aligned(8, np.float64)
    gradient, count, first, weight, shards = gradients, 16, 0, 1 / BATCH, BATCH // 16
    size = last = network.size // 16
    blocks, own, stride, batch = work, work, 0, 16
    return {name: value for name, value in locals().items() if name in signature()}


def time_all(runs: dict[str, Callable[[int], float]], seconds: float, repeats: int) -> dict[str, float]:
    """Return the seconds of one run of each: the median over rounds in which all take turns.

    Each function takes a number of runs and returns the seconds that they took.
    """
    counts = {name: calibrate(run, seconds) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, count in counts.items():
            times[name].append(runs[name](count) / count)
    return {name: median(values) for name, values in times.items()}


def runner(program: Any, given: dict[str, Any]) -> Callable[[int], float]:
    """Return the function that times `count` runs of a program."""
    values = [given.get(name, 0) for name in signature() if name != "repeats"]
    arguments = [value.ctypes.data if isinstance(value, np.ndarray) else value for value in values]

    def run(count: int) -> float:
        given["gradient"][:] = 0  # thousands of accumulated gradients must not end in infinities
        return timed(lambda: program(count, *arguments))

    return run


def write_assembly(sources: dict[str, Any], folder: Path) -> list[str]:
    """Write each piece's assembly; return a line on each: multiply-adds, other vector work and spills in it."""
    from lenumba.kernels.compile import jit

    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, source in sources.items():
        module: dict[str, Any] = {}
        exec(compile(source.text, name, "exec"), module)
        assembly = jit.compile_kernel(module["program"], source.signature).library.get_asm_str()
        path = folder / f"{re.sub(r'[^a-z0-9]+', '_', name)}.s"
        path.write_text(assembly)
        fused = len(re.findall(r"\tvfn?m(?:add|sub)\d+ps", assembly))
        scalar = len(re.findall(r"\tv?(?:mul|add|fn?madd\d+)ss", assembly))
        spills = len(
            re.findall(r"\tvmov[au]ps\t[^\n]*(?:rsp|rbp)\)[^\n]*# 64-byte (?:Spill|Folded Reload|Reload)", assembly)
        )
        spills = spills or len(
            re.findall(r"\tvmov[au]ps\t(?:%[xyz]mm\d+, -?\d*\(%rsp\)|-?\d*\(%rsp\), %[xyz]mm\d+)", assembly)
        )
        lines.append(f"{name}: {fused} vector FMA, {scalar} scalar, {spills} vector moves to or from the stack")
    return lines


def tables(report: dict[str, Any]) -> str:
    """Return the report as Markdown, longest time first."""
    peak, step = report["peak_gflops"], report["block_us"]
    rows, total = [], sum(row["us"] for row in report["results"])
    for row in sorted(report["results"], key=lambda row: -row["us"]):
        speed = row["gflops"] or row["gbytes"]
        kind = f"{speed:.0f} GFLOP/s" if row["gflops"] else f"{speed:.0f} GB/s"
        share = f"{100 * row['gflops'] / peak:.0f} %" if row["gflops"] else ""
        rows.append([row["name"], f"{row['us']:.2f}", f"{100 * row['us'] / total:.1f} %", kind, share])
    head = ["kernel", "µs a block", "share", "speed", "of the peak"]
    flops = sum(row["gflops"] * row["us"] for row in report["results"]) * 1e3
    return (
        f"{report['arguments']['network']}, one core, a block of 16 images:\n\n{markdown_table(head, rows)}\n\n"
        f"Measured peak {peak:.0f} GFLOP/s. Sum {total:.1f} µs; a real training step takes {step:.1f} µs a block "
        f"({16e6 / step:,.0f} images/s, {flops / step / 1e3:.0f} GFLOP/s)."
    )


def main() -> None:
    args = parse()
    from lenumba.kernels.compile.native import get_program
    from lenumba.kernels.compile.target import vector_registers

    shape, layers, parameters = NETWORKS[args.network]
    network, optimizer = (
        lenumba_network(args.network, layers, shape, parameters, target=target_of(args.network)),
        lenumba_optimizer(args.optimizer, 1e-3),
    )
    pieces = list_pieces(network, optimizer)
    peak, chains = peak_source(vector_registers())
    if args.only:
        pieces = [piece for piece in pieces if re.search(args.only, piece.name)]
    arrays = buffers(network, optimizer)
    programs = {piece.name: source_of(piece, network, optimizer) for piece in pieces}
    if args.asm:
        print("\n".join(write_assembly(programs, args.asm)))
    runs = {name: runner(get_program(source), arrays) for name, source in ({"peak": peak} | programs).items()}
    times = time_all(runs | {"step": Steps(network, optimizer, BATCH, 1, 4096)}, args.seconds, args.repeats)
    results = []
    for piece in pieces:
        seconds = times[piece.name]
        speed = {"gflops": piece.flops / seconds / 1e9, "gbytes": piece.bytes / seconds / 1e9}
        results.append({"name": piece.name, "us": 1e6 * seconds * piece.per_block, **speed})
    gflops, block_us = 32 * chains / times["peak"] / 1e9, 1e6 * times["step"] / (BATCH / 16)
    report = report_of("kernels", args, results, peak_gflops=gflops, block_us=block_us)
    finish(report, tables(report), args)


if __name__ == "__main__":
    main()
