"""Where a step's time goes on each of several ranks: computing, waiting for one another, communicating."""

import platform
import time
from typing import Any

from lenumba.engine.common.text import table
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.sharing import load_shared
from lenumba.engine.profile.machine import read_counter
from lenumba.engine.profile.profiling import Clocks, batches_for, profiled_source, time_batches
from lenumba.engine.ranks.team import Alone
from lenumba.engine.training.trainer import Trainer
from lenumba.kernels.compile.native import get_program
from lenumba.kernels.constants import WAIT
from lenumba.kernels.measure import peaks, profiled


def profile_ranks(loaded: LoadedConfig, team: Alone, seconds: float) -> dict[str, Any]:
    """Train for about so many seconds on all ranks; every one of them calls this.

    Returns
    -------
    dict
        Plain values: ``ranks``, one dict for each with ``computing_ms``, ``waiting_ms`` and ``communicating_ms`` of a
        step, means over its threads.
    """
    loaded = team.told(loaded)
    dataset = load_shared(loaded, team)
    trainer = Trainer(loaded, dataset, team=team)
    _, source = profiled_source(trainer.network, trainer.optimizer)
    program, threads = get_program(source), trainer.executor.threads
    executor = trainer.make_executor(program, threads, 2 * profiled.CLOCK_SIZE, team)
    clocks, ticks = Clocks(executor), get_program(peaks.counter_source())
    first, start = read_counter(ticks), time.perf_counter()
    batches = team.told(batches_for(trainer, executor, seconds))
    count = max(1, min(100, int(seconds / team.told(time_batches(trainer, executor, batches)))))
    clocks.reset()
    before, taken = executor.exchange.seconds if executor.exchange else 0.0, 0.0
    for _ in range(count):
        taken += time_batches(trainer, executor, batches)
    ghz = (read_counter(ticks) - first) / (time.perf_counter() - start) / 1e9
    epoch, steps = clocks.read(taken), count * batches
    cycles = epoch.ticks[:, :, 1].sum(axis=1).mean() if len(epoch.ticks) else 0.0
    idle = epoch.ticks[:, WAIT, 1].mean() if len(epoch.ticks) else 0.0
    step = 1e3 * taken / steps
    communicating = 1e3 * ((executor.exchange.seconds if executor.exchange else 0.0) - before) / steps
    computing = float(cycles - idle) / ghz / 1e6 / steps
    here = {"rank": team.rank, "machine": team.machine, "host": platform.node(), "threads": threads}
    here |= {"step_ms": step, "computing_ms": computing, "communicating_ms": communicating}
    here |= {"waiting_ms": max(0.0, step - computing - communicating)}
    facts = {"kind": "ranks", "name": loaded.name, "batch_size": loaded.config.data.batch_size, "steps": steps}
    return facts | {"ranks": team.every(here)}


def ranks_table(facts: dict[str, Any]) -> str:
    """Return what :func:`profile_ranks` found as a table."""
    head = ("rank", "machine", "host", "threads", "computing ms", "waiting ms", "communicating ms")
    rows = []
    for rank in facts["ranks"]:
        figures = (f"{rank[f'{name}_ms']:.3f}" for name in ("computing", "waiting", "communicating"))
        rows.append([*(str(rank[name]) for name in ("rank", "machine", "host", "threads")), *figures])
    step = max(rank["step_ms"] for rank in facts["ranks"])
    return f"{facts['name']}: a step of {facts['batch_size']} images takes {step:.3f} ms\n{table(head, rows)}"
