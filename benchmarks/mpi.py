"""Measure ranks against threads, in turns: mpirun -n 2 python benchmarks/mpi.py, in place of one process's 2 threads.

With LENUMBA_RANKS_PER_MACHINE=1 in the environment the ranks share no memory and exchange through MPI, as machines do.
"""

import argparse
import time
from typing import Any

import numpy as np
from common import (
    NETWORKS,
    RATE,
    Steps,
    arguments_of,
    calibrate,
    finish,
    lenumba_network,
    lenumba_optimizer,
    markdown_table,
    ratio_spread,
    report_of,
    spread,
)

SIZES = [4 << (2 * k) for k in range(11)]  # bytes of a message


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["lenet", "conv98k"])
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--images", type=int, default=4096, help="random images in memory  [4096]")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one measurement  [0.3]")
    parser.add_argument("--repeats", type=int, default=9, help="pairs of measurements  [9]")
    return arguments_of(parser)


def compared(name: str, batch: int, team: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Return the speeds of all ranks with a thread each, and of one process with as many threads."""
    from lenumba.engine.ranks.team import ALONE

    shape, layers, _ = NETWORKS[name]
    network, optimizer = lenumba_network(name, layers, shape, batch_size=batch), lenumba_optimizer("sgd", RATE)
    together = Steps(network, optimizer, batch, 1, args.images, team=team)
    alone = Steps(network, optimizer, batch, team.size, args.images, team=ALONE) if team.leads else None
    steps = team.told(calibrate(alone, args.seconds) if alone else 0)
    speeds: dict[str, list[float]] = {"ranks": [], "threads": []}
    together(steps, fresh=False)  # the ranks share their parameters: none begins anew while others train
    for _ in range(args.repeats):
        team.barrier()
        speeds["ranks"].append(steps * batch / together(steps, fresh=False))
        if alone:
            speeds["threads"].append(steps * batch / alone(steps, fresh=False))
        team.wait()
    return {"network": name, "batch": batch, "images_per_second": speeds}


def exchanged(team: Any, size: int) -> float:
    """Return the seconds of an allreduce of so many bytes."""
    array, result = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    count = max(3, min(300, (1 << 24) // size))
    team.comm.Allreduce(array, result)
    best = float("inf")
    for _ in range(5):
        team.barrier()
        start = time.perf_counter()
        for _ in range(count):
            team.comm.Allreduce(array, result)
        best = min(best, (time.perf_counter() - start) / count)
    return best


def main() -> None:
    from lenumba.engine.ranks.team import current

    args, team = parse(), current()
    if team.size == 1:
        raise SystemExit("run it with several ranks: mpirun -n 2 python benchmarks/mpi.py")
    rows = [compared(name, batch, team, args) for name in args.networks for batch in args.batches]
    times = {size: exchanged(team, size) for size in SIZES}
    if not team.leads:
        return
    cells = []
    for row in rows:
        ranks, threads = row["images_per_second"]["ranks"], row["images_per_second"]["threads"]
        middle, low, high = ratio_spread(ranks, threads)
        ratio = f"{middle:.2f}× ({low:.2f}–{high:.2f})"
        cells.append([row["network"], row["batch"], spread(ranks, ",.0f"), spread(threads, ",.0f"), ratio])
    size = f"{team.size} ranks" + f" on {team.machines} machines" * (team.machines > 1)
    table = markdown_table(["network", "batch", f"{size} (images/s)", f"{team.size} threads", "ratio"], cells)
    messages = [[f"{size:,}", f"{1e6 * seconds:.1f}"] for size, seconds in times.items()]
    table += "\n\n" + markdown_table(["bytes", "allreduce (µs)"], messages)
    finish(report_of("mpi", args, {"trainings": rows, "allreduce_s": times}, ranks=team.size), table, args)


if __name__ == "__main__":
    main()
