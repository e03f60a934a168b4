"""Where do more machines stop gaining? A model on paper, from the step of one core and published times of allreduce.

A step on R machines takes the largest share of its shards, ⌈S/R⌉/S of what one takes, and the exchange: the gradients'
shards one way, the parameters the other, the results, and two small messages for each norm. What a collective waits
for grows with log₂ R; what it carries passes at the network's rate.
"""

import argparse
from math import ceil, log2
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
    report_of,
)

RANKS = (1, 2, 4, 8, 16, 32, 64)
BYTES = 32 << 10  # of the published allreduce
# By network between machines: seconds of an allreduce of BYTES between two of them, and bytes a second.
FABRICS = {"InfiniBand, 100 Gbit/s": (83e-6, 12.5e9), "Ethernet, 10 Gbit/s": (1.3e-3, 1.25e9)}
CASES = [
    ("lenet", 64), ("lenet", 1024), ("lenet5", 64), ("lenet5", 1024), ("ic-resnet8", 32), ("ic-resnet8", 512),
    ("conv98k", 256), ("conv98k", 1024), ("conv976k", 256), ("conv976k", 1024),
]  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of each machine  [1]")
    parser.add_argument(
        "--speeds", nargs="+", default=[], metavar="NETWORK=N", help="images/s of one machine, in place of measuring"
    )
    parser.add_argument("--images", type=int, default=2048, help="random images in memory  [2048]")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of one measurement  [0.2]")
    parser.add_argument("--repeats", type=int, default=3, help="measurements, of which the fastest counts  [3]")
    return arguments_of(parser)


def step_seconds(network: Any, batch: int, args: argparse.Namespace) -> float:
    run = Steps(network, lenumba_optimizer("sgd", RATE), batch, args.threads, args.images)
    steps = calibrate(run, args.seconds)
    return min(run(steps) for _ in range(args.repeats)) / steps


def modelled(step: float, shards: int, parameters: int, norms: int, ranks: int, fabric: tuple[float, float]) -> float:
    """Return the seconds of a step on so many machines."""
    if ranks == 1:
        return step
    allreduce, rate = fabric
    waiting = (allreduce - 2 * BYTES / rate) / 2 * log2(ranks)  # of a collective: an allreduce is two of them
    collectives = 3 + 2 * norms
    others = (ranks - 1) / ranks
    carried = 4 * parameters * others * (shards / ranks + 1)
    return step * ceil(shards / ranks) / shards + collectives * waiting + carried / rate


def main() -> None:
    args, rows, cells = parse(), [], []
    known = {name: float(speed) for name, speed in (each.split("=") for each in args.speeds)}
    for name, batch in CASES:
        if known and name not in known:
            continue
        shape, layers, parameters = NETWORKS[name]
        network = lenumba_network(name, layers, shape, batch_size=batch)
        step = batch / known[name] if known else step_seconds(network, batch, args)
        shards = min(ceil(batch / network.unit), network.max_shards)
        norms = sum(unit.layer.kind == "batch_norm" for unit in network.units)
        for label, fabric in FABRICS.items():
            gains = [step / modelled(step, shards, parameters, norms, ranks, fabric) for ranks in RANKS]
            best = RANKS[int(np.argmax(gains))]
            rows.append({"network": name, "batch": batch, "fabric": label, "step_s": step, "gains": gains})
            cells.append(
                [
                    name,
                    batch,
                    f"{1e3 * step:.2f}",
                    shards,
                    label.split(",")[0],
                    *(f"{gain:.2f}" for gain in gains),
                    best,
                ]
            )
    head = ["network", "batch", "step (ms)", "shards", "between", *(f"{ranks}×" for ranks in RANKS), "best"]
    finish(report_of("mpi_model", args, rows), markdown_table(head, cells), args)


if __name__ == "__main__":
    main()
