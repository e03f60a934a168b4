"""Measure a network's running training step: the time, work and limits of every kernel, in place."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import Optimizer, make_optimizer
from lenumba.engine.profile.machine import limits_of, machine_facts, read_counter
from lenumba.engine.profile.record import Profile
from lenumba.engine.training.build import check_network
from lenumba.engine.training.executor import Executor
from lenumba.engine.training.trainer import Trainer
from lenumba.kernels.compile import native
from lenumba.kernels.constants import UPDATE, WAIT
from lenumba.kernels.measure import peaks, profiled
from lenumba.kernels.measure.inspection import get_inspected
from lenumba.kernels.program.catalogue import work_of
from lenumba.kernels.program.plan import Plan
from lenumba.kernels.program.source import program_source

VERSION = 1  # of the JSON
SECONDS, ROUNDS = 6.0, (3, 15)  # time for the alternating epochs; least and most rounds
LEAST_BATCHES = 16  # of an epoch that takes too long to be measured whole
PYTHON = "Python around it"
Progress = Callable[[str, int, int], None]


@dataclass
class Epoch:
    """One profiled epoch: its wall time, and each thread's calls and cycles by slot.

    `ticks` is int64 [threads, SLOTS, 2]; `spans` the cycles from each thread's first to its last lap.
    """

    seconds: float
    ticks: np.ndarray
    spans: np.ndarray


class Clocks:
    """The clocks that a profiled program keeps behind its workers' memory, in an executor that has room for them."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    @property
    def clocks(self) -> list[np.ndarray]:
        """Each worker's clock, int64 [CLOCK_SIZE], wherever its memory now is."""
        executor = self.executor
        size = executor.network.layout.size
        return [work[size:].view(np.int64) for work in executor.memory[: executor.threads]]

    def reset(self, events: int = 0) -> None:
        """Set the clocks to zero, with room for so many events."""
        for clock in self.clocks:
            clock[:] = 0
            clock[profiled.CAPACITY] = events

    def read(self, seconds: float, share: float = 1.0) -> Epoch:
        """Return the epoch of which the clocks counted a share, in `seconds`."""
        head, end = profiled.HEADER, profiled.HEADER + 2 * profiled.SLOTS
        clocks = [clock for clock in self.clocks if clock[profiled.FIRST]]  # small batches leave some threads out
        ticks = np.array([clock[head:end].reshape(-1, 2) for clock in clocks])
        spans = np.array([clock[profiled.LAST] - clock[profiled.FIRST] for clock in clocks])
        return Epoch(seconds / share, np.rint(ticks / share).astype(np.int64), spans / share)

    def events(self) -> list[list[tuple[int, int, int]]]:
        """Return each thread's noted events: slot, and counter at its begin and end."""
        threads = []
        for clock in self.clocks:
            first = profiled.HEADER + 2 * profiled.SLOTS
            noted = clock[first : first + 2 * int(clock[profiled.EVENTS])].reshape(-1, 2).tolist()
            ends = [int(clock[profiled.FIRST]), *(end for _, end in noted)]
            threads.append([(slot, begin, end) for (slot, end), begin in zip(noted, ends[:-1], strict=True)])
        return threads


def time_batches(trainer: Trainer, executor: Executor, batches: int) -> float:
    """Train for the first batches of the first epoch, from the initial parameters; return the seconds."""
    trainer.restart(executor)
    start = time.perf_counter()
    for _ in trainer.epochs(until=(0, batches)):  # without its validation
        raise AssertionError("no epoch is complete before its validation")
    return time.perf_counter() - start


def batches_for(trainer: Trainer, executor: Executor, seconds: float) -> int:
    """Return how many of an epoch's batches can be measured often enough in `seconds`."""
    most = trainer.steps_per_epoch
    few = min(LEAST_BATCHES, most)
    time_batches(trainer, executor, few)
    each = time_batches(trainer, executor, few) / few
    return int(np.clip(seconds / (2 * ROUNDS[0] * each), few, most))


def profiled_source(network: Network, optimizer: Optimizer, change: Callable[[Plan], Plan] | None = None):
    """Return the profiled program's plan and source; `change` may replace the plan's kernels before (for tests)."""
    plan = network.plan(optimizer)
    plan = profiled.profiled_plan(change(plan) if change else plan, network.layout.size)
    return plan, replace(program_source(plan), name="profiled")


def profile_training(
    loaded: LoadedConfig,
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    seconds: float = SECONDS,
    change: Callable[[Plan], Plan] | None = None,
) -> Profile:
    """Profile the training of a configuration.

    Parameters
    ----------
    dataset
        Its data; loaded where it is left out.
    progress
        Called as ``progress(step, done, total)`` while it compiles and measures.
    seconds
        Time for the alternating epochs of the profiled and the usual program.

    Returns
    -------
    dict
        Plain values, as ``--json`` prints them: ``rows`` in the order of a step (times in ms an epoch, summed over
        the threads and divided by their number), ``epoch_ms``, ``overhead``, ``machine``, ``compile``, ``trace``.
    """
    start = time.perf_counter()
    if dataset is None:
        dataset = load_data(loaded)
    loading = time.perf_counter() - start
    network = check_network(loaded, dataset.image_shape, dataset.classes)
    optimizer = make_optimizer(loaded.config.optimizer)
    plan, source = profiled_source(network, optimizer, change)
    rows = profiled.profile_rows(plan)
    extra = [plan.updates[0].kernel]
    # Before the usual program, which shares its kernels: so what compiling costs is each kernel's own.
    program, report = get_inspected(source, extra, progress)
    trainer = Trainer(loaded, dataset, progress)
    usual = trainer.executor
    clocks = Clocks(trainer.make_executor(program, usual.threads, 2 * profiled.CLOCK_SIZE))
    machine = machine_facts(usual.threads, 0.01 if seconds >= 1 else 0.002, progress)
    images, batches = len(trainer.train_indices), trainer.steps_per_epoch
    measured = batches_for(trainer, usual, seconds)
    plain, epochs, ghz = alternate(trainer, usual, clocks, measured, seconds, progress or (lambda *_: None))
    chosen = sorted(epochs, key=lambda epoch: epoch.seconds)[len(epochs) // 2]
    clocks.reset(profiled.MAX_EVENTS)
    time_batches(trainer, clocks.executor, measured)
    shards = min(-(-loaded.config.data.batch_size // network.unit), usual.max_shards)
    update = {"SIZE": network.size, "SHARDS": shards, "STATES": optimizer.states}
    table = []
    for row in rows:
        entry = time_row(row, chosen, epochs, ghz)
        work = row_work(row, network, update)
        times = batches if row.slot == UPDATE else images / network.unit
        table.append(entry | limits_of(entry, work, times, machine) | {"code": report["functions"].get(row.function)})
    table.append(python_row(chosen, epochs, ghz))
    total = sum(entry["ms"] for entry in table)
    for entry in table:
        entry["share"] = entry["ms"] / total
    unprofiled = 1e3 * median(plain)
    facts = {
        "version": VERSION,
        "kind": "training",
        "name": loaded.name,
        "threads": usual.threads,
        "batch_size": loaded.config.data.batch_size,
        "images": images,
        "batches": batches,
        "measured_batches": measured,
        "rounds": len(plain),
        "epoch_ms": unprofiled,
        "epochs_ms": [1e3 * value for value in plain],
        "profiled_epochs_ms": [1e3 * epoch.seconds for epoch in epochs],
        "profiled_ms": 1e3 * chosen.seconds,
        "overhead": median(epoch.seconds / value for epoch, value in zip(epochs, plain, strict=True)) - 1,
        "sum_ms": total,
        "flops": sum(entry["flops"] for entry in table),
        "forward_multiply_adds": network.multiply_adds,
        "rows": table,
        "threads_wait_ms": [float(epoch_ms) for epoch_ms in chosen.ticks[:, WAIT, 1] / ghz / 1e6],
        "machine": machine | {"counter_ghz": ghz},
        "compile": compile_report(report, trainer, loading),
        "trace": trace_events(clocks, rows, ghz),
        "listings": report["folder"],
    }
    return Profile(facts)


def alternate(
    trainer: Trainer, usual: Executor, clocks: Clocks, batches: int, seconds: float, progress: Progress
) -> tuple[list[float], list[Epoch], float]:
    """Run epochs of both programs in turn; return the usual ones' seconds, the profiled ones, and the counter's GHz.

    Of each, so many batches are run; what they take is told of the whole.
    """
    share = min(1.0, batches * trainer.config.data.batch_size / len(trainer.train_indices))
    ticks = native.get_program(peaks.counter_source())
    for each in (usual, clocks.executor):
        time_batches(trainer, each, batches)
    plain: list[float] = []
    epochs: list[Epoch] = []
    start, first = time.perf_counter_ns(), read_counter(ticks)
    while len(plain) < ROUNDS[0] or (len(plain) < ROUNDS[1] and (time.perf_counter_ns() - start) < 1e9 * seconds):
        progress("measuring epochs", len(plain), ROUNDS[1])
        for each in (usual, clocks.executor)[:: 1 if len(plain) % 2 == 0 else -1]:
            clocks.reset()
            took = time_batches(trainer, each, batches)
            if each is usual:
                plain.append(took / share)
            else:
                epochs.append(clocks.read(took, share))
    return plain, epochs, (read_counter(ticks) - first) / (time.perf_counter_ns() - start)


def spread(values: Sequence[float]) -> float:
    """Return half the range of the middle half of the values, relative to their median: the noise of a row."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float((high - low) / 2 / middle) if middle > 0 else 0.0


def time_row(row: profiled.Row, chosen: Epoch, epochs: list[Epoch], ghz: float) -> dict[str, Any]:
    """Return a row's name, calls and times; ms are those of the epoch whose length is the median."""
    scale = 1e-6 / ghz / len(chosen.ticks)
    each = [float(epoch.ticks[:, row.slot, 1].sum()) for epoch in epochs]
    calls, cycles = (int(value) for value in chosen.ticks[:, row.slot].sum(axis=0))
    return {
        "name": row.name,
        "kernel": row.kernel,
        "function": row.function,
        "layer": row.layer,
        "phase": row.phase,
        "calls": calls,
        "ms": cycles * scale,
        "median_ms": scale * median(each),
        "least_ms": scale * min(each),
        "thread_s": cycles / ghz / 1e9,
        "us_per_call": cycles / ghz / 1e3 / max(1, calls),
        "noise": spread(each),
    }


def row_work(row: profiled.Row, network: Network, update: dict[str, int]) -> tuple[int, int] | None:
    """Return a row's floating-point operations and bytes for a block; None where it has no kernel."""
    numbers = [update] if row.slot == UPDATE else [call.numbers for call in row.calls]
    work = work_of(row.kernel, numbers) if numbers else None
    if work and work[0] and network.unit == 1:  # long rows compute more than the layer needs
        return 2 * next(unit.multiply_adds for unit in network.units if unit.name == row.layer), work[1]
    return work


def python_row(chosen: Epoch, epochs: list[Epoch], ghz: float) -> dict[str, Any]:
    """Return the time that threads spent outside the program: shuffling, learning rates, starting and joining."""
    outside = [1e3 * epoch.seconds - float(epoch.spans.mean()) / ghz / 1e6 for epoch in epochs]
    ms = 1e3 * chosen.seconds - float(chosen.spans.mean()) / ghz / 1e6
    nothing: dict[str, Any] = {
        "median_ms": median(outside),
        "least_ms": min(outside),
        "kernel": "",
        "function": "",
        "layer": "",
        "phase": "",
        "calls": 1,
        "noise": spread(outside),
    }
    limits = {"flops": 0, "bytes": 0, "gflops": 0.0, "gbytes": 0.0, "intensity": 0.0, "bound": "", "limit": 0.0}
    limits |= {"fma_share": 0.0, "bandwidth_share": 0.0, "level": "", "code": None}
    return {"name": PYTHON, **nothing, "ms": ms, "thread_s": ms / 1e3, "us_per_call": 1e3 * ms, **limits}


def compile_report(report: dict[str, Any], trainer: Trainer, loading: float) -> dict[str, Any]:
    """Return what compiling cost, by function, and what this start cost."""
    keys = ("typing_s", "lowering_s", "llvm_s", "other_s")
    functions = {name: {key: judged.get(key, 0.0) for key in keys} for name, judged in report["functions"].items()}
    return {
        "cache": report["cache"],
        "usual_program": {"cached": trainer.cached, "load_s": trainer.compile_seconds},
        "data_s": loading,
        "cold_s": report["compile_s"],
        "functions": functions,
        "program": {key: report["program"].get(key, 0.0) for key in keys},
    }


def trace_events(clocks: Clocks, rows: Sequence[profiled.Row], ghz: float) -> list[dict[str, Any]]:
    """Return the first events of an epoch: thread, name, category, begin and duration in µs."""
    names = {row.slot: row for row in rows}
    threads = clocks.events()
    origin = min((events[0][1] for events in threads if events), default=0)
    return [
        {
            "thread": thread,
            "name": names[slot].name,
            "category": names[slot].phase or names[slot].kernel or "wait",
            "begin_us": (begin - origin) / ghz / 1e3,
            "duration_us": (end - begin) / ghz / 1e3,
        }
        for thread, events in enumerate(threads)
        for slot, begin, end in events
    ]
